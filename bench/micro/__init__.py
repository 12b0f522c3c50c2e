"""Compiled modules against their pure twins, call by call: what each of them buys."""
