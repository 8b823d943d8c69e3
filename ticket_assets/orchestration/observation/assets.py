"""Assets: when they were made, whether they are fresh, the days that are missing, failed or late,
and the figures that their materialisations carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
from dagster import DagsterEventType
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.freshness import FreshnessState, TimeWindowFreshnessPolicy
from prometheus_client.core import Metric

from ticket_assets.defs.lateness import FOLLOWERS, days_left_half_way
from ticket_assets.defs.new_events import (
    START,
    Bookmark,
    bookmark,
    events_after,
    latest_bookmark,
)
from ticket_assets.defs.ticket_predictions import COUNTED, TICKETS_BY
from ticket_assets.desk import Desk
from ticket_assets.mail.category_changes import CategoryChange
from ticket_assets.mail.landed_days import LANDED_FINGERPRINT
from ticket_assets.metrics.counters import Counters
from ticket_assets.metrics.families import counter, gauges
from ticket_assets.metrics.mail import PredictedDay, recent_days

PREDICTIONS = "ticket_predictions"
EMBEDDINGS = dg.AssetKey("ticket_embeddings")
FRESHNESS = {
    FreshnessState.PASS: "pass",
    FreshnessState.WARN: "warn",
    FreshnessState.FAIL: "fail",
    FreshnessState.UNKNOWN: "unknown",
}
ROWS = ("dagster/partition_row_count", "dagster/row_count")
TEXTS, SECONDS = "texts_encoded", "encoding_seconds"
SORTED_BY = {
    "category": "category",
    "priority": "priority",
    "language": "language",
    "queue": "queue",
    "review_reason": "reason why a person has to look at them",
    "decided_by": "who decided the category: model, conversation or person",
    "model_decision": "what the model decided, whatever people said",
}


@dataclass(frozen=True)
class _Made:
    """A materialisation or an observation."""

    storage_id: int
    timestamp: float
    metadata: Mapping[str, Any]


@dataclass
class _Days:
    """The latest materialisation, or observation, of each day of an asset; only later ones are read
    again."""

    asset: str
    kind: DagsterEventType = DagsterEventType.ASSET_MATERIALIZATION
    made: dict[str, _Made] = field(default_factory=dict)

    def read(self, instance: dg.DagsterInstance) -> None:
        key = dg.AssetKey(self.asset)
        latest = instance.event_log_storage.get_latest_storage_id_by_partition(key, self.kind)
        self.made = {day: made for day, made in self.made.items() if day in latest}
        later = [
            storage_id
            for day, storage_id in latest.items()
            if day not in self.made or self.made[day].storage_id != storage_id
        ]
        if not later:
            return
        is_observed = self.kind == DagsterEventType.ASSET_OBSERVATION
        fetch = instance.fetch_observations if is_observed else instance.fetch_materializations
        records = fetch(dg.AssetRecordsFilter(key, storage_ids=later), limit=len(later)).records
        for record in records:
            self.made[str(record.partition_key)] = _made(record)


class AssetFigures:
    """Figures of the assets of a graph; what has not changed in the log is not read again."""

    def __init__(self, desk: Desk, graph: BaseAssetGraph[Any], counters: Counters) -> None:
        self._desk, self._graph, self._counters = desk, graph, counters
        self._keys = sorted(graph.materializable_asset_keys)
        self._daily = [key for key in self._keys if graph.get(key).partitions_def is not None]
        self._days = {name: _Days(name) for (name,) in map(_name, self._daily)}
        self._relabelled = _Days(PREDICTIONS, DagsterEventType.ASSET_OBSERVATION)
        self._seen: tuple[Bookmark, ...] = ()
        self._failed: dict[str, int] = {}
        self._changes: list[CategoryChange] = []

    def read(self, instance: dg.DagsterInstance) -> None:
        """Read what is new in the log."""
        _count_encoded_texts(instance, self._counters)
        self._changes = self._desk.landing.category_changes.made()
        seen = tuple(
            latest_bookmark(instance, kind)
            for kind in (
                DagsterEventType.ASSET_MATERIALIZATION,
                DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
                DagsterEventType.ASSET_OBSERVATION,
                DagsterEventType.RUN_FAILURE,
            )
        )
        if seen != self._seen:
            for days in (*self._days.values(), self._relabelled):
                days.read(instance)
            self._failed = {name: _failed_days(instance, dg.AssetKey(name)) for name in self._days}
            self._seen = seen

    def predicted_days(self) -> dict[date, PredictedDay]:
        """The days that have predictions, and the mail that these were made from."""
        return {
            date.fromisoformat(day): PredictedDay(
                str(made.metadata[LANDED_FINGERPRINT]), datetime.fromtimestamp(made.timestamp, UTC)
            )
            for day, made in self._days[PREDICTIONS].made.items()
            if LANDED_FINGERPRINT in made.metadata
        }

    def latest_drift_day(self) -> date | None:
        """The latest day with mail that has a drift report."""
        days = [
            str(made.metadata["latest_day_with_mail"])
            for made in self._days["drift_report"].made.values()
            if "latest_day_with_mail" in made.metadata
        ]
        return date.fromisoformat(max(days)) if days else None

    def ticket_families(self) -> Iterator[Metric]:
        """The tickets of the latest days, as their materialisations counted them."""
        recent = recent_days(datetime.now(UTC))
        rejected, predicted = self._days["rejected_messages"].made, self._days[PREDICTIONS].made
        yield gauges(
            "tickets_rejected_messages",
            "Messages of a day that could not be read as a ticket.",
            ("day",),
            {(day,): _rows(rejected[day]) or 0 for day in recent if day in rejected},
        )
        decisions: dict[tuple[str, ...], float] = {}
        for day in recent:
            if day in predicted:
                counts = self._present_counts(day, "decision")
                decisions |= {
                    (day, name): counts.get(name, 0) for name in ("auto", "review", "labelled")
                }
        yield gauges(
            "tickets_predictions",
            "Tickets of a day, by the decision: auto, review by a person, or labelled by one.",
            ("day", "decision"),
            decisions,
        )
        for name, description in SORTED_BY.items():
            yield gauges(
                f"tickets_predictions_by_{name}",
                f"Tickets of a day, by {description}.",
                ("day", name),
                {
                    (day, label): count
                    for day in recent
                    if day in predicted
                    for label, count in self._present_counts(day, name).items()
                },
            )

    def _present_counts(self, day: str, name: str) -> Mapping[str, int]:
        """The counts of a day's tickets since people labelled some, by the names that categories
        have now."""
        made, relabelled = self._days[PREDICTIONS].made[day], self._relabelled.made.get(day)
        if relabelled and relabelled.storage_id > made.storage_id and name in COUNTED:
            made = relabelled
        counts = _counts(made, name)
        for change in self._changes if name == "category" else ():
            if datetime.fromisoformat(change.changed_at).timestamp() > made.timestamp:
                present: Counter[str] = Counter()
                for category, count in counts.items():
                    present[change(category) or category] += count
                counts = present
        return counts

    def asset_families(self, instance: dg.DagsterInstance) -> Iterator[Metric]:
        """Age, rows and freshness of each asset."""
        now = datetime.now(UTC).timestamp()
        latest = {
            record.asset_entry.asset_key: record.asset_entry.last_materialization_record
            for record in instance.get_asset_records(self._keys)
        }
        made = {key: _made(record) for key, record in latest.items() if record}
        yield gauges(
            "dagster_asset_materialization_age_seconds",
            "Since an asset was made last, of whichever day.",
            ("asset",),
            {_name(key): max(now - it.timestamp, 0.0) for key, it in made.items()},
        )
        yield gauges(
            "dagster_asset_rows",
            "Rows of an asset, of all its days together.",
            ("asset",),
            {
                _name(key): rows
                for key, it in made.items()
                if (rows := self._rows_of(key, it)) is not None
            },
        )
        states = instance.get_freshness_state_records(self._keys)
        windows = {
            key: policy.fail_window.to_timedelta()
            for key in self._keys
            if isinstance(
                policy := self._graph.get(key).freshness_policy, TimeWindowFreshnessPolicy
            )
        }
        yield gauges(
            "dagster_asset_freshness",
            "Freshness of an asset with a policy, as the daemon judged it last: one state is 1.",
            ("asset", "state"),
            {
                (*_name(key), name): float(
                    (states[key].freshness_state if key in states else FreshnessState.UNKNOWN)
                    == state
                )
                for key in windows
                for state, name in FRESHNESS.items()
            },
        )
        yield gauges(
            "dagster_asset_freshness_remaining_seconds",
            "Until an asset is late if it is not made again; negative since then.",
            ("asset",),
            {
                _name(key): made[key].timestamp + window.total_seconds() - now
                for key, window in windows.items()
                if key in made
            },
        )

    def partition_families(
        self, instance: dg.DagsterInstance, landed: Iterable[date]
    ) -> Iterator[Metric]:
        """The state of the days of each asset: it changes with mail and time, without an event.

        Args:
            landed: the days that have mail.
        """
        first, today = self._desk.first_day or date.min, datetime.now(UTC).date()
        processed = {day.isoformat() for day in landed if first <= day <= today}
        patience = timedelta(minutes=self._desk.settings.late_after_minutes)
        left = days_left_half_way(instance, datetime.now(UTC) - patience)
        late = {FOLLOWERS[asset]: len(days) for asset, days in left.items()}
        counts: dict[tuple[str, ...], float] = {}
        for name, days in self._days.items():
            counts |= {
                (name, "materialized"): len(days.made),
                (name, "missing"): len(processed - days.made.keys()),
                (name, "failed"): self._failed[name],
                (name, "late"): late.get(name, 0),
            }
        yield gauges(
            "dagster_asset_partitions",
            "Days of an asset: made, without it although mail has landed, failed in the last run"
            " that was to make it, and left behind what they are made from for longer than"
            " TICKETS_LATE_AFTER_MINUTES.",
            ("asset", "state"),
            counts,
        )

    def _rows_of(self, key: dg.AssetKey, latest: _Made) -> int | None:
        if key not in self._daily:
            return _rows(latest)
        days = self._days[key.to_user_string()].made.values()
        rows = [count for made in days if (count := _rows(made)) is not None]
        return sum(rows) if rows else None


def encoding_families(counters: Counters) -> Iterator[Metric]:
    """What was encoded since the first event that the log knew."""
    yield counter(
        "tickets_texts_encoded_total",
        "Texts that the encoder made a vector of.",
        (),
        {(): counters.counts.get(TEXTS, {}).get((), 0.0)},
    )
    yield counter(
        "tickets_encoding_seconds_total",
        "Time that it took.",
        (),
        {(): counters.counts.get(SECONDS, {}).get((), 0.0)},
    )


def _count_encoded_texts(instance: dg.DagsterInstance, counters: Counters) -> None:
    for event in events_after(
        instance,
        DagsterEventType.ASSET_MATERIALIZATION,
        counters.seen.get(TEXTS, START),
        EMBEDDINGS,
    ):
        counters.seen[TEXTS] = bookmark(event)
        figures = _made(event).metadata
        # Each day of a run carries the figures of the whole run.
        if "run_texts_encoded" in figures and counters.is_new(f"{TEXTS} {event.run_id}"):
            counters.add(TEXTS, (), float(figures["run_texts_encoded"]))
            counters.add(SECONDS, (), float(figures["run_encoding_seconds"]))


def _failed_days(instance: dg.DagsterInstance, key: dg.AssetKey) -> int:
    log = instance.event_log_storage
    unmade = log.get_latest_asset_partition_materialization_attempts_without_materializations(key)
    runs = {run_id for run_id, _ in unmade.values()}
    failed = {
        record.dagster_run.run_id
        for record in (
            instance.get_run_records(
                dg.RunsFilter(run_ids=list(runs), statuses=[dg.DagsterRunStatus.FAILURE])
            )
            if runs
            else ()
        )
    }
    return sum(run_id in failed for run_id, _ in unmade.values())


def _made(record: dg.EventLogRecord) -> _Made:
    entry = record.event_log_entry
    event = entry.asset_materialization or entry.asset_observation
    metadata = event.metadata if event else {}
    return _Made(
        record.storage_id,
        record.timestamp,
        {
            name: value.value
            for name, value in metadata.items()
            if isinstance(
                value,
                dg.IntMetadataValue
                | dg.FloatMetadataValue
                | dg.TextMetadataValue
                | dg.JsonMetadataValue,
            )
        },
    )


def _counts(made: _Made, name: str) -> Mapping[str, int]:
    counts: Mapping[str, Mapping[str, int]] = made.metadata.get(TICKETS_BY, {})
    return counts.get(name, {})


def _rows(made: _Made) -> int | None:
    return next((int(made.metadata[name]) for name in ROWS if name in made.metadata), None)


def _name(key: dg.AssetKey) -> tuple[str]:
    return (key.to_user_string(),)
