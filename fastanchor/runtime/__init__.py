"""Processes: a supervisor that owns sockets and children, workers, the control process, the demo provider."""
