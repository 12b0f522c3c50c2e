"""The chart: for each metric with a ratio, how many times nginx, on a logarithmic scale, as an SVG written by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from bench.report import number
from bench.verdicts import REFERENCE, Row, Verdict

LABEL, PLOT, MARGIN = 330, 460, 130  # widths in pixels: titles, bars, values
BAR, GAP, TOP, BOTTOM = 14, 12, 58, 30
COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#64748b")
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def chart(rows: Sequence[Row], caption: str) -> str:
    """An SVG document; rows without a ratio are left out. Bars end at the median, whiskers at least and greatest."""
    drawn = [(row, found) for row in rows if (found := [v for v in row.verdicts if v.ratio])]
    names = list(dict.fromkeys(verdict.subject for _, found in drawn for verdict in found))
    spreads = [verdict.ratio for _, found in drawn for verdict in found if verdict.ratio]
    low = min([0.8, *(spread.low for spread in spreads)])
    high = max([2.0, *(spread.high for spread in spreads)])
    scale = _Scale(math.log(max(low, 0.01) * 0.9), math.log(high * 1.1))
    body: list[str] = []
    y = TOP
    for row, found in drawn:
        body.append(_text(LABEL - 10, y + len(found) * BAR / 2 + 4, row.metric.title, anchor="end"))
        for verdict in found:
            body.append(_bar(verdict, row, y, scale, COLOURS[names.index(verdict.subject) % len(COLOURS)]))
            y += BAR
        y += GAP
    height = y + BOTTOM
    legend = [
        f'<rect x="{LABEL + 130 * i}" y="30" width="10" height="10" fill="{COLOURS[i % len(COLOURS)]}"/>'
        + _text(LABEL + 130 * i + 15, 39, name)
        for i, name in enumerate(names)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + PLOT + MARGIN}" height="{height}" '
            f'viewBox="0 0 {LABEL + PLOT + MARGIN} {height}" font-family="system-ui, sans-serif" font-size="12">',
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            _text(10, 20, f"Times {REFERENCE} (bare reverse proxy)", size=15),
            *legend,
            *_grid(scale, y),
            *body,
            _text(10, height - 10, caption, size=10),
            "</svg>",
            "",
        ]
    )


class _Scale:
    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    def at(self, value: float) -> float:
        """The x of a ratio."""
        return LABEL + PLOT * (math.log(max(value, 1e-3)) - self._low) / (self._high - self._low)

    def shows(self, value: float) -> bool:
        return self._low <= math.log(value) <= self._high


def _grid(scale: _Scale, bottom: float) -> list[str]:
    lines = []
    for tick in TICKS:
        if scale.shows(tick):
            x, colour = scale.at(tick), "#111827" if tick == 1 else "#e5e7eb"
            lines.append(f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="{colour}"/>')
            lines.append(_text(x, bottom + 13, f"{tick:g}×", anchor="middle", size=10))
    return lines


def _bar(verdict: Verdict, row: Row, y: float, scale: _Scale, colour: str) -> str:
    assert verdict.ratio is not None
    assert verdict.value is not None
    one, end = scale.at(1.0), scale.at(verdict.ratio.median)
    low, high, middle = scale.at(verdict.ratio.low), scale.at(verdict.ratio.high), y + BAR / 2
    return (
        f'<rect x="{min(one, end):.1f}" y="{y + 2:.1f}" width="{max(abs(end - one), 1.5):.1f}" '
        f'height="{BAR - 4}" fill="{colour}"/>'
        f'<line x1="{low:.1f}" y1="{middle:.1f}" x2="{high:.1f}" y2="{middle:.1f}" stroke="#111827"/>'
        + _text(
            max(high, one) + 6,
            middle + 4,
            f"{verdict.ratio.median:.2f}×  {number(verdict.value.median)} {row.metric.unit}",
            size=10,
        )
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="#111827">{escape(text)}</text>'
    )
