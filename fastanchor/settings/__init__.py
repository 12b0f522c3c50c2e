"""Text becomes the configured world: a TOML file, checked against one schema, compiled into a `core.Snapshot`.

Nothing here reads a clock, draws a random number or opens a socket; the environment and the reader of secret files are
passed in.
"""
