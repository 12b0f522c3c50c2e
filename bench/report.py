"""The report: a table for the terminal, the same in markdown, and everything that was seen as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.rounds import Outcome
from bench.verdicts import AGAIN, DIRECT, PROMISER, REFERENCE, Row, Spread, Verdict

FOREIGN_MAX = 0.05  # share of the machine that others may use before the report warns


def table(rows: Sequence[Row]) -> str:
    """A plain-text table with notes under it."""
    lines, notes = _cells(rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [
        " | ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    text.insert(1, "-+-".join("-" * width for width in widths))
    return "\n".join([*text, *notes])


def markdown(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    """The table for a README, with the conditions under which it was made."""
    lines, notes = _cells(rows)
    head, *body = ["| " + " | ".join(line) + " |" for line in lines]
    rule = "|---|" + "--:|" * (len(lines[0]) - 1)
    about = (
        f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, CPython {facts['python']}; "
        f"{facts['rounds']} rounds of {facts['seconds']} s, median (least-greatest); "
        f"ratios to {REFERENCE} within each round."
    )
    versions = "; ".join(text for text in facts["versions"].values() if text)
    return "\n".join([head, rule, *body, "", *(f"{note}  " for note in notes), about, versions, ""])


def document(outcomes: Sequence[Outcome], rows: Sequence[Row], facts: dict[str, Any]) -> str:
    """Everything as JSON: the conditions, the rows, and each sample with its windows."""
    return json.dumps(
        {
            "facts": facts,
            "rows": [
                {
                    "case": row.case.name,
                    "metric": row.metric.key,
                    "title": row.metric.title,
                    "unit": row.metric.unit,
                    "verdicts": {verdict.subject: _plain(verdict) for verdict in row.verdicts},
                }
                for row in rows
            ],
            "samples": [
                {
                    "case": outcome.case.name,
                    "subject": outcome.subject,
                    "round": outcome.round,
                    "refused": outcome.refused,
                    **(vars(outcome.sample) if outcome.sample else {}),
                }
                for outcome in outcomes
            ],
        },
        indent=1,
    )


def conditions(**more: Any) -> dict[str, Any]:
    """What a reader must know about the machine and the run."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **more,
    }


def warnings(outcomes: Sequence[Outcome]) -> list[str]:
    """What a reader of the table must be told about the run as a whole."""
    said = [f"{o.subject}, {o.case.name}, round {o.round + 1}: refused: {o.refused}" for o in outcomes if o.refused]
    foreign = [o.sample.facts["foreign"] for o in outcomes if o.sample and "foreign" in o.sample.facts]
    noisy = sum(share > FOREIGN_MAX for share in foreign)
    if noisy:
        said.append(
            f"other programs used over {FOREIGN_MAX:.0%} of the machine in {noisy} of {len(foreign)} windows "
            f"(most: {max(foreign):.0%})"
        )
    stolen = [o.sample.facts["steal"] for o in outcomes if o.sample and o.sample.facts.get("steal", 0.0) > 0.01]
    if stolen:
        said.append(f"the host took away over 1% of the machine in {len(stolen)} windows (most: {max(stolen):.0%})")
    return said


def brief(outcome: Outcome) -> str:
    """One outcome on one line."""
    if outcome.sample is None:
        return f"refused: {outcome.refused}"
    values = outcome.sample.values
    named = [
        (metric.key, number(values[metric.key]), metric.unit) for metric in outcome.case.metrics if metric.key in values
    ]
    return ", ".join(" ".join(words).rstrip() for words in named)


def caption(facts: dict[str, Any]) -> str:
    """One line under a chart."""
    about = f"{facts['cpu']}, Linux {facts['kernel']}, {facts['rounds']} rounds"
    return f"{about}; bars: median, lines: least to greatest"


def number(value: float) -> str:
    """Three digits that matter, and no more."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return (
        f"{value:.0f}"
        if abs(value) >= 100 or value == int(value)
        else f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
    )


def ratio(spread: Spread) -> str:
    """Median, and in brackets the least and greatest."""
    return f"{spread.median:.2f}× ({spread.low:.2f}-{spread.high:.2f})"


def _cells(rows: Sequence[Row]) -> tuple[list[list[str]], list[str]]:
    """The table's lines, the first its head, and the numbered notes that its cells refer to."""
    notes: dict[str, int] = {}
    head = ["work"]
    for verdict in rows[0].verdicts:
        head += [verdict.subject] if verdict.subject in (DIRECT, REFERENCE) else [verdict.subject, f"× {REFERENCE}"]
    promised = any(verdict.subject == PROMISER for verdict in rows[0].verdicts)
    head += ["promised"] if promised else []
    lines = [head]
    for row in rows:
        line = [f"{row.metric.title} [{row.metric.unit}]" if row.metric.unit else row.metric.title]
        for verdict in row.verdicts:
            line.append(number(verdict.value.median) if verdict.value else "")
            if verdict.why:
                mark = notes.setdefault(verdict.why, len(notes) + 1)
                line[-1] += f" [{mark}]" if verdict.subject in (DIRECT, REFERENCE) or not verdict.value else ""
            if verdict.subject not in (DIRECT, REFERENCE):
                line.append(
                    ratio(verdict.ratio)
                    if verdict.ratio
                    else f"{verdict.why.split(':')[0]} [{notes[verdict.why]}]"
                    if verdict.why
                    else ""
                )
        if promised:
            line.append(_goal(row))
        lines.append(line)
    return lines, [f"[{mark}] {why}" for why, mark in notes.items()]


def _goal(row: Row) -> str:
    """What is promised of a metric, and whether that is kept."""
    goal = row.metric.goal
    if goal is None:
        return ""
    bound = "≥" if row.metric.more_is_better else "≤"
    kept = next((verdict.goal for verdict in row.verdicts if verdict.subject == PROMISER), "")
    return f"{bound} {goal.most:g}{'×' if goal.ratio else ''}" + (f", {kept}" if kept else "")


def _plain(verdict: Verdict) -> dict[str, Any]:
    return {
        "value": vars(verdict.value) if verdict.value else None,
        "ratio": vars(verdict.ratio) if verdict.ratio else None,
        "why_no_ratio": verdict.why,
        "promise": verdict.goal,
        "rounds": verdict.rounds,
        "refused": verdict.refused,
        "control": verdict.subject.endswith(AGAIN),
    }
