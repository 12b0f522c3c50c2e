"""The control plane: what operators look at and change. It never sees a stream."""
