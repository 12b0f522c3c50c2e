"""The words of FastAnchor: plain types from the standard library, with no I/O and no clock.

Bytes arrive, become a Call, get a Lease, follow a Route, win an answer from a Channel, flow out through a Dialect, and
leave a Receipt.
"""
