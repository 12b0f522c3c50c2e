"""The Prometheus page: the workers' counters added up and written in the exposition format.

Workers count in plain dictionaries (`engine.meters`); here their dumps become metric families at scrape time. Names and
buckets never change once published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fastanchor import __version__
from fastanchor.control.memory import Dump, added_counts, added_histograms

COUNTERS = (
    # key of the dump, metric name, help, labels, divisor
    ("requests", "fastanchor_requests", "Requests ended", ("endpoint", "model", "provider", "code"), 1),
    ("attempts", "fastanchor_upstream_attempts", "Tries at channels", ("channel", "outcome"), 1),
    ("tokens", "fastanchor_tokens", "Tokens", ("model", "type"), 1),
    ("cost", "fastanchor_cost_usd", "Cost in dollars", ("model",), 1_000_000),
)
HISTOGRAMS = (
    ("duration", "fastanchor_request_duration_seconds", "Whole requests", "endpoint"),
    ("first_token", "fastanchor_time_to_first_token_seconds", "Time to the first content", "provider"),
    ("overhead", "fastanchor_overhead_seconds", "Time spent before the upstream was asked", ""),
)


BOOKS = (
    # key of the standing, metric name, help
    ("records", "fastanchor_ledger_records", "Records folded into the ledger"),
    ("damaged", "fastanchor_ledger_damaged_records", "Records of journals that did not verify"),
    ("lost", "fastanchor_ledger_lost_requests", "Requests of dead workers, settled by rule"),
    ("restart", "fastanchor_process_restarts", "Processes that ended without being told to"),
    ("reload", "fastanchor_config_reloads", "Configurations taken over"),
    ("refusal", "fastanchor_config_refusals", "Configurations refused at a reload"),
)
JOURNAL = (
    # key of a worker's journal, metric name, help
    ("failures", "fastanchor_journal_failures", "Writes or syncs of a journal that failed"),
    ("dropped", "fastanchor_journal_dropped_records", "Records that were lost because a journal could not be written"),
)


Rows = list[dict[str, Any]]
CHANNELS: tuple[tuple[str, str, Callable[[Rows], float]], ...] = (
    # name, text, and what the rows of a channel, one of each worker, come to
    ("fastanchor_channel_in_flight", "Requests at a channel", lambda rows: sum(r["in_flight"] for r in rows)),
    ("fastanchor_channel_limit", "Requests a channel is given at once", lambda rows: sum(r["limit"] for r in rows)),
    ("fastanchor_channel_first_token_seconds", "Time to first content, peak-sensitive, in the slowest worker",
     lambda rows: max(r["first_token"] for r in rows)),
    ("fastanchor_channel_resting", "Workers that do not ask a channel, or only to find out whether it is back",
     lambda rows: sum(r["breaker"] != "closed" for r in rows)),
    ("fastanchor_channel_keys_parked", "Keys of a channel that rest, in the worker that has most of them",
     lambda rows: max(len(r["keys_parked"]) for r in rows)),
)  # fmt: skip


class Page(Collector):
    """One scrape: the states of all workers that answered, how the books are, and all that was ever counted."""

    def __init__(self, states: list[Dump], standing: dict[str, int], dumps: list[Dump]) -> None:
        self.states = states
        self.standing = standing
        self.dumps = dumps

    def collect(self) -> Iterable[Metric]:
        """All families."""
        yield from self._counters()
        yield from self._histograms()
        yield from self._books()
        in_flight = sum(state["meters"]["in_flight"] for state in self.states)
        yield _gauge("fastanchor_in_flight", "Requests being served", in_flight)
        held = sum(state["body_bytes"] for state in self.states)
        yield _gauge("fastanchor_request_body_bytes", "Bytes of request bodies that are held", held)
        yield _gauge("fastanchor_workers_up", "Workers that answered this scrape", len(self.states))
        yield from self._channels()
        dropped = sum(state.get("log_dropped", 0) for state in self.states)
        yield _counter("fastanchor_log_lines_dropped", "Access lines that were not written", dropped)
        yield self._limit_hits()
        info = GaugeMetricFamily("fastanchor_build_info", "Version", labels=("version",))
        info.add_metric((__version__,), 1)
        yield info

    def _channels(self) -> Iterator[Metric]:
        """What the workers know of the channels that they have used."""
        rows: dict[str, Rows] = {}
        for state in self.states:
            for row in state["channels"]:
                rows.setdefault(row["channel"], []).append(row)
        for name, text, together in CHANNELS:
            family = GaugeMetricFamily(name, text, labels=("channel",))
            for channel, found in sorted(rows.items()):
                family.add_metric((channel,), together(found))
            yield family

    def _limit_hits(self) -> Metric:
        hits: Counter[str] = Counter()
        for state in self.states:
            hits.update(state["limit_hits"])
        text = "Peers that ran into a bound of the wire"
        family = CounterMetricFamily("fastanchor_limit_hits", text, labels=("limit",))
        for limit, count in sorted(hits.items()):
            family.add_metric((limit,), count)
        return family

    def _books(self) -> Iterator[Metric]:
        """Journals and ledger."""
        journals = [state["journal"] for state in self.states]
        for key, name, text in JOURNAL:
            yield _counter(name, text, sum(journal[key] for journal in journals))
        for key, name, text in BOOKS:
            yield _counter(name, text, self.standing[key])
        failed, kept = (sum(journal[key] for journal in journals) for key in ("failed", "kept"))
        yield _gauge("fastanchor_journals_failed", "Workers whose journal cannot be written", failed)
        yield _gauge("fastanchor_journal_kept_records", "Records that wait in memory for a journal", kept)
        stale = sum(journal.get("keys_stale", 0) for journal in journals)
        yield _gauge("fastanchor_keys_stale", "Workers that cannot read the key store: keys are as they were", stale)
        yield _gauge("fastanchor_ledger_up", "Whether the ledger can be used", not self.standing["trouble"])
        yield _gauge("fastanchor_ledger_behind_bytes", "Journals not folded yet", self.standing["behind"])

    def _counters(self) -> Iterator[Metric]:
        for key, name, text, labels, divisor in COUNTERS:
            family = CounterMetricFamily(name, text, labels=labels)
            for label_values, value in added_counts(dump[key] for dump in self.dumps).items():
                family.add_metric(label_values, value / divisor)
            yield family

    def _histograms(self) -> Iterator[Metric]:
        for key, name, text, label in HISTOGRAMS:
            family = HistogramMetricFamily(name, text, labels=(label,) if label else ())
            for value, (bounds, counts, total) in added_histograms(dump[key] for dump in self.dumps).items():
                family.add_metric((value,) if label else (), _cumulative(bounds, counts), total)
            yield family


def render(states: list[Dump], standing: dict[str, int], dumps: list[Dump]) -> bytes:
    """The page of one scrape (text format 0.0.4)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Page(states, standing, dumps))
    return generate_latest(registry)


def _counter(name: str, text: str, value: float) -> Metric:
    family = CounterMetricFamily(name, text)
    family.add_metric((), value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric((), value)
    return family


def _cumulative(bounds: list[float], counts: list[int]) -> list[tuple[str, float]]:
    lines, running = [], 0
    for bound, count in zip([*bounds, float("inf")], counts, strict=True):
        running += count
        lines.append(("+Inf" if bound == float("inf") else str(float(bound)), float(running)))
    return lines
