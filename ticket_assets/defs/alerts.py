"""alerts: tells a person what has gone wrong, once, and once more when it is well again.

One sensor reads what is wrong now and compares it with what was told. Dagster's run failure sensors
would see runs alone, call for each failed run, and not know when things are well.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickStatus,
)
from dagster._core.storage.tags import WILL_RETRY_TAG

from ticket_assets.alerts.delivery import Channel, Log, configured_channels, tell
from ticket_assets.alerts.edges import Problem
from ticket_assets.alerts.memory import Memory
from ticket_assets.defs.new_events import (
    bookmark,
    event_data,
    events_after,
    events_of,
    latest_bookmark,
)
from ticket_assets.defs.new_mail import SourceFailedError, new_mail
from ticket_assets.defs.partitions import run_window
from ticket_assets.desk import Desk
from ticket_assets.mail.back_off import read_back_off
from ticket_assets.mail.landed_days import DayRange
from ticket_assets.planning.failed_days import read_failed_days
from ticket_assets.plural import counted
from ticket_assets.settings import SettingsError

FIRST_LOOK = timedelta(days=14)
FIRST_EVENTS = 2000
"""How far the first look at a desk reaches back, and to how many events of a type."""
PATIENCE = timedelta(minutes=15)
"""For late assets: automation makes them anew by itself, which most often is all."""
ENDED = (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE)
JUDGED = dg.DagsterEventType.ASSET_CHECK_EVALUATION


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells of failed runs, checks and ticks, late assets, refused files and days given"
    " up: once, and once when all is well again. To the log, and to TICKETS_ALERT_WEBHOOK and"
    " TICKETS_ALERT_MAIL_TO where they are set.",
)
def alerts(context: dg.SensorEvaluationContext, desk: dg.ResourceParam[Desk]) -> dg.SkipReason:
    cursors, settings = desk.cursors, desk.settings
    memory = Memory.read(cursors)
    former = memory.content()
    problems = present_problems(context.instance, _repository(context), desk, memory)
    channels, failures = _channels(desk)
    failures += tell(
        memory, problems, channels, settings.ui_url, save=lambda: memory.write(cursors)
    )
    if memory.content() != former:
        memory.write(cursors)
    state = f"{counted(len(problems), 'problem')} known." if problems else "All is well."
    return dg.SkipReason(" ".join([state, *failures]))


def _channels(desk: Desk) -> tuple[tuple[Channel, ...], list[str]]:
    """What is set, or the log alone and why."""
    try:
        return configured_channels(desk.settings, desk.cursors), []
    except SettingsError as error:
        return (Log(),), [str(error)]


def _repository(context: dg.SensorEvaluationContext) -> dg.RepositoryDefinition:
    assert context.repository_def is not None  # noqa: S101  # for the type: Dagster sets it
    return context.repository_def


def present_problems(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, desk: Desk, memory: Memory
) -> set[Problem]:
    """What is wrong now; the memory has then seen all events of runs and checks."""
    _read_checks(instance, memory)
    _read_runs(instance, repository, memory)
    return {
        *memory.problems(),
        *_late_assets(instance, repository),
        *_failing_ticks(instance, repository, desk),
        *_files_and_days(desk),
    }


def _new_events(
    instance: dg.DagsterInstance, memory: Memory, kind: dg.DagsterEventType
) -> list[dg.EventLogRecord]:
    """The events of a type that the memory has not seen, in order; at first, the latest."""
    events: list[dg.EventLogRecord] = []
    if kind.value not in memory.seen:
        since = (datetime.now(UTC) - FIRST_LOOK).timestamp()
        memory.seen[kind.value] = latest_bookmark(instance, kind)
        events = list(reversed(events_of(instance, kind, FIRST_EVENTS, after_timestamp=since)))
    later = list(events_after(instance, kind, memory.seen[kind.value]))
    memory.seen[kind.value] = bookmark(later[-1]) if later else memory.seen[kind.value]
    return [*events, *later]


def _read_checks(instance: dg.DagsterInstance, memory: Memory) -> None:
    for event in _new_events(instance, memory, JUDGED):
        verdict = event_data(event)
        if isinstance(verdict, AssetCheckEvaluation):
            is_warning = verdict.severity == dg.AssetCheckSeverity.WARN
            kind = "warning" if is_warning else "check"
            check = verdict.asset_check_key.to_user_string()
            memory.judged(check, verdict.partition or "", None if verdict.passed else kind)


def _read_runs(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, memory: Memory
) -> None:
    order = [key.to_user_string() for key in repository.asset_graph.toposorted_asset_keys]
    events = [event for kind in ENDED for event in _new_events(instance, memory, kind)]
    ids = {event.run_id for event in events} | memory.failed_runs()
    runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(list(ids)))} if ids else {}
    memory.forget_runs(memory.failed_runs() - runs.keys())
    for event in sorted(events, key=lambda event: event.storage_id):
        run = runs.get(event.run_id)
        # A run that crashed is tried again by Dagster: that one counts.
        if run is None or (run.is_failure and run.tags.get(WILL_RETRY_TAG) == "true"):
            continue
        days = _days(run)
        if run.is_success and not memory.runs.keys() & (days or [""]):
            continue  # nothing to be made good
        made = _assets(instance, run, dg.DagsterEventType.ASSET_MATERIALIZATION) | {run.job_name}
        missing = []
        if run.is_failure:
            planned = _assets(instance, run, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
            missing = [name for name in order if name in planned - made] or [run.job_name]
        memory.run_ended(run.run_id, days, made, missing)


def _assets(
    instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType
) -> set[str]:
    return {key.to_user_string() for key in instance.get_asset_keys_for_run(run.run_id, kind)}


def _days(run: dg.DagsterRun) -> list[str]:
    window = run_window(run.tags)
    days = DayRange(*window).days() if window else []
    return [day.isoformat() for day in days]


def _late_assets(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition
) -> Iterator[Problem]:
    keys = list(repository.asset_graph.materializable_asset_keys)
    for key, record in instance.get_freshness_state_records(keys).items():
        lateness = datetime.now(UTC) - record.updated_at
        if record.freshness_state == FreshnessState.FAIL and lateness > PATIENCE:
            name = key.to_user_string()
            yield Problem("late", name, page=f"/assets/{name}")


def _failing_ticks(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, desk: Desk
) -> Iterator[Problem]:
    """The sensors and schedules whose latest tick failed. One that was stopped, or is in the code
    no more, is no problem."""
    present = {sensor.name for sensor in repository.sensor_defs}
    present |= {schedule.name for schedule in repository.schedule_defs}
    for state in instance.all_instigator_state():
        name = state.instigator_name
        if state.status == InstigatorStatus.STOPPED or name not in present - {alerts.name}:
            continue
        error = _last_error(instance, state)
        failed = error is not None
        if name == new_mail.name and SourceFailedError.__name__ in (
            error or SourceFailedError.__name__
        ):
            # Ticks leave a source that failed alone until its next try, and succeed; a file that
            # cannot be read fails one tick, and is told of by itself.
            failed = _a_source_fails(desk) or (failed and not _refusals(desk))
        if failed:
            yield Problem("tick", name, page="/automation")


def _last_error(instance: dg.DagsterInstance, state: InstigatorState) -> str | None:
    """Why the latest tick that has ended failed; None if it did not."""
    data, ended = state.instigator_data, None
    if isinstance(data, SensorInstigatorData):
        ended = data.last_tick_timestamp
        if data.last_tick_success_timestamp:  # Dagster clears it when a tick fails
            return None
    ticks = instance.get_ticks(
        state.instigator_origin_id,
        state.selector_id,
        after=ended - 1 if ended else None,  # it would sort all there are: 60,000 a week
        limit=1,
        statuses=[TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE],
    )
    errors = [tick.error.to_string() for tick in ticks if tick.error]
    return errors[0] if errors else None


def _a_source_fails(desk: Desk) -> bool:
    return any(read_back_off(desk.cursors, source.name).failures for source in desk.sources)


def _refusals(desk: Desk) -> list[str]:
    return [refusal for source in desk.sources for refusal in source.refusals(desk.cursors)]


def _files_and_days(desk: Desk) -> Iterator[Problem]:
    for refusal in _refusals(desk):
        yield Problem(
            "refused", hashlib.sha256(refusal.encode(errors="surrogateescape")).hexdigest()[:16]
        )
    for failed in read_failed_days(desk.cursors):
        if failed.next_try is None:
            yield Problem("standing", "", failed.day)
