"""The trial's table, as text."""

from __future__ import annotations

from fastanchor.lab.trial import Row

HEADINGS = ("fault", "channel", "mode", "seconds", "outcome", "attempts")
WIDTHS = (24, 16, 6, 8, 32)


def heading() -> str:
    """The first line."""
    return _line(HEADINGS)


def told(row: Row) -> list[str]:
    """The line of a row; broken promises stand below it."""
    line = _line((row.fault, row.channel, row.mode, f"{row.seconds:.2f}", row.outcome, row.attempts))
    return [line, *(f"  BROKEN PROMISE: {wrong}" for wrong in row.wrong)]


def _line(cells: tuple[str, ...]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=False)]
    return " ".join([*padded, *cells[len(WIDTHS) :]]).rstrip()
