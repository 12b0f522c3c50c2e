"""Histograms that cost next to nothing to add to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastanchor._speedups import compiled

if TYPE_CHECKING or not compiled("tally"):
    from fastanchor._speedups._tally_pure import Histogram
else:
    from fastanchor._speedups._tally import Histogram

__all__ = ["Histogram"]
