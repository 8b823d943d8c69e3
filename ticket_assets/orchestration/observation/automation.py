"""Whether automation lives: daemons, ticks of sensors and schedules, the UI and its code."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, TickStatus
from prometheus_client.core import Metric

from ticket_assets.metrics.counters import Counters
from ticket_assets.metrics.families import counter, gauge, gauges

TICKS, UI = "ticks", "webserver"
KINDS = {InstigatorType.SENSOR: "sensor", InstigatorType.SCHEDULE: "schedule"}
STATUSES = {
    TickStatus.SUCCESS: "success",
    TickStatus.SKIPPED: "skipped",
    TickStatus.FAILURE: "failure",
}
UI_PATIENCE_SECONDS = 2.0
QUERY = """{ workspaceOrError { ... on Workspace { locationEntries {
  name locationOrLoadError { __typename } } } } }"""


def daemon_families(instance: dg.DagsterInstance) -> Iterator[Metric]:
    """The signs of life of the daemons; a desk whose daemon never ran has none.

    Those of daemons that the instance needs no longer, after a change of its settings or another
    release of Dagster, stay in its storage for ever.
    """
    now = datetime.now(UTC).timestamp()
    required = instance.get_required_daemon_types()
    yield gauges(
        "dagster_daemon_heartbeat_age_seconds",
        "Since the last sign of life of one of the daemon's parts.",
        ("daemon",),
        {
            (name.lower(),): max(now - heartbeat.timestamp, 0.0)
            for name, heartbeat in instance.get_daemon_heartbeats().items()
            if name in required
        },
    )


def tick_families(
    instance: dg.DagsterInstance, names: set[str], counters: Counters
) -> Iterator[Metric]:
    """Ticks of the sensors and schedules of these names that were not stopped, counted since the
    exporter looked first."""
    ages: dict[tuple[str, ...], float] = {}
    now = datetime.now(UTC).timestamp()
    for state in instance.all_instigator_state():
        kind = KINDS.get(state.instigator_type)
        if kind and state.instigator_name in names and state.status != InstigatorStatus.STOPPED:
            labels = (state.instigator_name, kind)
            _count_ticks(instance, state, labels, counters, now)
            tick_id, last = counters.ticks_seen[state.selector_id]
            if tick_id:
                ages[labels] = max(now - last, 0.0)
    yield gauges(
        "dagster_tick_age_seconds",
        "Since the last tick that has ended.",
        ("name", "kind"),
        ages,
    )


def _count_ticks(
    instance: dg.DagsterInstance,
    state: InstigatorState,
    labels: tuple[str, str],
    counters: Counters,
    now: float,
) -> None:
    storage = instance.schedule_storage
    assert storage is not None  # noqa: S101  # for the type: every instance of ours has one
    for status in STATUSES.values():
        counters.add(TICKS, (*labels, status), 0.0)
    is_first = state.selector_id not in counters.ticks_seen
    last_id, last = counters.ticks_seen.get(state.selector_id, (0, now))
    ticks = storage.get_tick_summaries(
        state.instigator_origin_id,
        state.selector_id,
        # There are 60,000 a week; of those in the second of the last one, only later ones count.
        after=None if is_first else last - 1,
        limit=1 if is_first else None,
        statuses=list(STATUSES),
    )
    for tick in sorted(ticks, key=lambda tick: tick.tick_id):
        if tick.tick_id > last_id:
            last_id, last = tick.tick_id, tick.timestamp
            if not is_first:
                counters.add(TICKS, (*labels, STATUSES[tick.status]))
    counters.ticks_seen[state.selector_id] = (last_id, last)


def counted_tick_families(counters: Counters) -> Iterator[Metric]:
    """What has been counted."""
    yield counter(
        "dagster_ticks_total",
        "Ticks of sensors and schedules that have ended.",
        ("name", "kind", "status"),
        counters.counts.get(TICKS, {}),
    )


def code_location_families(ui_url: str, counters: Counters) -> Iterator[Metric]:
    """Whether the UI answers at `ui_url`, and whether it could load the code.

    Nothing before it has answered once: a desk that is sorted by `tickets run` alone has no UI.
    """
    request = urllib.request.Request(  # noqa: S310 - the setting takes http and https alone
        f"{ui_url.rstrip('/')}/graphql",
        json.dumps({"query": QUERY}).encode(),
        {"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=UI_PATIENCE_SECONDS) as answer:  # noqa: S310
            content = json.load(answer)
        entries = content["data"]["workspaceOrError"]["locationEntries"]
        failed: dict[tuple[str, ...], float] = {
            (entry["name"],): float(
                (entry["locationOrLoadError"] or {}).get("__typename") == "PythonError"
            )
            for entry in entries
        }
    except (OSError, ValueError, KeyError, TypeError):
        if UI in counters.seen:
            yield gauge("dagster_webserver_up", "Whether Dagster's UI answers.", 0)
        return
    counters.seen[UI] = (0, 0.0)
    yield gauge("dagster_webserver_up", "Whether Dagster's UI answers.", 1)
    yield gauges(
        "dagster_code_location_load_error",
        "Whether Dagster's UI could not load a code location: nothing of it runs.",
        ("location",),
        failed,
    )
