"""The story of a request: who asks, may they, where to, which channel answers first, and how the bytes go out."""
