"""Asset checks: which of them do not pass, how severely, and since when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster import DagsterEventType
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord
from prometheus_client.core import Metric

from ticket_assets.defs.drift_report import realised_precision_is_within_target
from ticket_assets.defs.new_events import (
    START,
    bookmark,
    event_data,
    events_after,
    events_of,
    latest_bookmark,
)
from ticket_assets.metrics.counters import CheckState, Counters
from ticket_assets.metrics.families import gauges
from ticket_assets.metrics.mail import DAYS, recent_days

JUDGED = DagsterEventType.ASSET_CHECK_EVALUATION
SEVERITIES = {dg.AssetCheckSeverity.ERROR: "error", dg.AssetCheckSeverity.WARN: "warn"}


def read_verdicts(
    instance: dg.DagsterInstance, keys: list[dg.AssetCheckKey], counters: Counters
) -> None:
    """Remember the verdicts since the last look; at first the latest of each check, and those of
    the days that have figures of their own."""
    if JUDGED.value not in counters.seen:
        last = latest_bookmark(instance, JUDGED)
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
        for record in latest.values():
            if record.event and not (verdict := _verdict(record)).partition:
                _judge(counters, verdict, record.create_timestamp)
        since = (datetime.now(UTC) - timedelta(days=DAYS)).timestamp()
        recent = events_of(instance, JUDGED, 1, ascending=True, after_timestamp=since)
        counters.seen[JUDGED.value] = last
        if recent:
            before = events_of(instance, JUDGED, 1, before_cursor=recent[0].storage_id)
            counters.seen[JUDGED.value] = bookmark(before[0]) if before else START
    for event in events_after(instance, JUDGED, counters.seen[JUDGED.value]):
        counters.seen[JUDGED.value] = bookmark(event)
        _judge(counters, event_data(event), event.timestamp)
    _forget(counters, {_label(key) for key in keys})


def check_families(keys: list[dg.AssetCheckKey], counters: Counters) -> Iterator[Metric]:
    """The state of every check of the graph."""
    now = datetime.now(UTC).timestamp()
    states = {key: counters.checks.get(_label(key)) for key in keys}
    yield gauges(
        "dagster_asset_check_failing",
        f"Days among the last {DAYS} whose latest verdict is not good; 0 or 1 where a check judges"
        " no day.",
        ("asset", "check", "severity"),
        {
            (key.asset_key.to_user_string(), key.name, severity): sum(
                failed == severity for failed in (state.failed.values() if state else ())
            )
            for key, state in states.items()
            for severity in SEVERITIES.values()
        },
    )
    yield gauges(
        "dagster_asset_check_state_age_seconds",
        "Since a check began to fail, to warn or to pass on all those days.",
        ("asset", "check"),
        {
            (key.asset_key.to_user_string(), key.name): max(now - state.since, 0.0)
            for key, state in states.items()
            if state
        },
    )


def realised_precision(instance: dg.DagsterInstance) -> Mapping[str, Any]:
    """The figures of the latest verdict on the precision that people's labels show; empty before
    the first."""
    key = realised_precision_is_within_target.check_key
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
    record = latest.get(key)
    if record is None or record.event is None:
        return {}
    return {name: value.value for name, value in _verdict(record).metadata.items()}


def _verdict(record: AssetCheckExecutionRecord) -> AssetCheckEvaluation:
    assert record.event is not None  # noqa: S101  # for the type: it was asked before
    verdict = record.event.get_dagster_event().event_specific_data
    assert isinstance(verdict, AssetCheckEvaluation)  # noqa: S101  # for the type: its event's data
    return verdict


def _judge(counters: Counters, verdict: Any, timestamp: float) -> None:
    if not isinstance(verdict, AssetCheckEvaluation):
        return
    state = counters.checks.setdefault(_label(verdict.asset_check_key), CheckState(since=timestamp))
    former = set(state.failed.values())
    state.failed.pop(verdict.partition or "", None)
    if not verdict.passed:
        state.failed[verdict.partition or ""] = SEVERITIES[verdict.severity]
    if set(state.failed.values()) != former:
        state.since = timestamp


def _forget(counters: Counters, present: set[str]) -> None:
    """Forget checks that the graph has no longer, and days that have no figures any more."""
    now = datetime.now(UTC)
    days = {"", *recent_days(now)}
    counters.checks = {name: it for name, it in counters.checks.items() if name in present}
    for state in counters.checks.values():
        kept = {day: severity for day, severity in state.failed.items() if day in days}
        if set(kept.values()) != set(state.failed.values()):
            state.since = now.timestamp()
        state.failed = kept


def _label(key: dg.AssetCheckKey) -> str:
    return f"{key.asset_key.to_user_string()}:{key.name}"
