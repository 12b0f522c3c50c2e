"""Decisions without I/O: time, chance and measurements are arguments."""
