"""Runs started from the command line: in this process, on the Dagster instance of the UI."""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date

import dagster as dg
from dagster import AssetCheckSeverity, DagsterEventType
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.api import execute_run
from dagster._core.storage.tags import MAX_RETRIES_TAG
from dagster._core.utils import make_new_run_id

from ticket_assets import definitions
from ticket_assets.defs.jobs import SORT, classify_mail, collect_mail, retrain, whole_graph
from ticket_assets.defs.partitions import DAILY, DESK
from ticket_assets.errors import TicketAssetsError, system_advice
from ticket_assets.orchestration.code_location import job_origin
from ticket_assets.orchestration.instance import (
    SQLITE_CANNOT_OPEN,
    desk_instance,
    refusal_of_sqlite,
)
from ticket_assets.orchestration.living_runs import STARTED_BY_TAG, presence
from ticket_assets.planning.needed_runs import NeededRuns, needed_runs
from ticket_assets.run_summary import RunSummary
from ticket_assets.storage.day_origins import read_origins

OWN_ERROR = re.compile(r"^ticket_assets\.[\w.]+: ")
"""Class name before the message of one of our own errors; the message is for users."""
EventListener = Callable[[dg.DagsterEvent], None]
"""Called with each event of a run as it happens."""
_REPOSITORY = ReconstructableRepository.for_module(definitions.__name__, "defs")
LEARNING_STEPS = ("candidate_classifier", "ticket_classifier")


class RunError(TicketAssetsError):
    """A run cannot be started."""


def materialise(
    first_day: date | None = None,
    last_day: date | None = None,
    assets: Iterable[str] = (),
    listener: EventListener | None = None,
    on_start: Callable[[int], None] | None = None,
    *,
    job_name: str | None = None,
) -> RunSummary:
    """Materialise `assets` (all those of the job when none is named) for the days in one run.

    Args:
        first_day: first day, by default the first processed day whose mail is not purged.
        last_day: last day, by default today (UTC).
        listener: called with each event of the run.
        on_start: called with the number of assets and checks that the run has.
        job_name: a job of `defs/jobs.py`, by default the whole graph.

    Raises:
        RunError: a job, an asset or a day does not exist.
    """
    tags = _day_tags(first_day, last_day)
    name = _existing_job(job_name or whole_graph.name)
    selection = _selection(list(assets))
    job = _REPOSITORY.get_reconstructable_job(name)
    if on_start is not None:
        on_start(len(job.get_definition().get_subset(asset_selection=selection).nodes))
    run_id = make_new_run_id()
    with (
        desk_instance(DESK.folder) as instance,
        presence(instance, run_id) as signs,
        signals_raised(),
        ended(instance, run_id),
    ):
        run = instance.create_run_for_job(
            job.get_definition(),
            run_id=run_id,
            # The command shows its progress itself; the events are in the run's log.
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            # The user sees that the command failed, so the daemon does not try it again.
            tags={**tags, **signs, STARTED_BY_TAG: "the command", MAX_RETRIES_TAG: "0"},
            asset_selection=selection,
            job_code_origin=job.get_python_origin(),
            remote_job_origin=job_origin(name),
            repository_load_data=job.repository.get_definition().repository_load_data,
        )
        summary = RunSummary(run_id=run_id, success=False)

        def listen(entry: EventLogEntry) -> None:
            if (event := entry.dagster_event) is not None:
                _collect(summary, event)
                if listener is not None:
                    listener(event)

        instance.add_event_listener(run_id, listen)
        # In this process, with the definitions' executor; `execute_in_process` would keep every
        # asset's rows in memory until the run's end.
        summary.success = execute_run(job, run, instance).success
    return summary


def materialise_all(
    first_day: date | None = None,
    last_day: date | None = None,
    listener: EventListener | None = None,
    on_start: Callable[[int], None] | None = None,
) -> list[RunSummary]:
    """Materialise the whole graph; sort the mail with the present champion if no candidate passes.

    A failed candidate stops the assets after it, but new mail still has to be sorted: the
    predictions and the drift report then get a run of their own, the second summary.
    """
    whole = materialise(first_day, last_day, (), listener, on_start)
    only_learning_failed = bool(whole.failed_steps) and all(
        step.startswith(LEARNING_STEPS) for step in whole.failed_steps
    )
    if not only_learning_failed or DESK.models.champion() is None:
        return [whole]
    return [whole, materialise(first_day, last_day, SORT, listener, on_start)]


def materialise_needed(
    needed: NeededRuns,
    listener: EventListener | None = None,
    on_start: Callable[[int], None] | None = None,
) -> list[RunSummary]:
    """Materialise the needed runs, then sort anew the days that another model than the champion has
    sorted."""
    summaries = _materialise_days_or_model(needed, listener, on_start)
    rest = needed_runs(DESK)
    # Days whose links to earlier mail these runs have changed, and what links to those.
    while rest.days and rest.days != needed.days and all(done.success for done in summaries):
        needed = rest
        summaries += _materialise_days_or_model(needed, listener, on_start)
        rest = needed_runs(DESK)
    for days in rest.sorting:
        summaries.append(materialise(days.first, days.last, SORT, listener, on_start))
    if needed.delivering and not summaries:
        first, last = needed.delivering.first, needed.delivering.last
        summaries.append(materialise(first, last, ["delivered_tickets"], listener, on_start))
    return summaries


def _materialise_days_or_model(
    needed: NeededRuns,
    listener: EventListener | None,
    on_start: Callable[[int], None] | None,
) -> list[RunSummary]:
    summaries: list[RunSummary] = []
    if needed.lost_tickets and not (needed.everything or needed.days):
        day = max(read_origins(DESK.warehouse, "ticket_collection"))
        summaries.append(materialise(day, day, ["ticket_collection"], listener, on_start))
    if needed.everything:
        summaries += materialise_all(None, None, listener, on_start)
    elif needed.days:
        sort = (classify_mail if DESK.has_models and DESK.models.champion() else collect_mail).name
        for days in needed.days[:-1]:
            summaries.append(
                materialise(days.first, days.last, (), listener, on_start, job_name=sort)
            )
        # The run of the last days also learns, once and from all days.
        last = needed.days[-1]
        summaries += materialise_all(last.first, last.last, listener, on_start)
    elif needed.learning:
        summaries.append(materialise(None, None, (), listener, on_start, job_name=retrain.name))
    return summaries


@contextmanager
def signals_raised() -> Iterator[None]:
    """Raises KeyboardInterrupt after Ctrl-C, and exits with code 143 after SIGTERM.

    Dagster ends the run on either signal, and does not say on which.
    """
    receiver, sender = socket.socketpair()
    with receiver, sender:
        receiver.setblocking(False)
        sender.setblocking(False)
        # The system writes the number of each signal there, whatever handles it.
        former = signal.set_wakeup_fd(sender.fileno())
        try:
            yield
        finally:
            signal.set_wakeup_fd(former)
            with suppress(BlockingIOError):
                if signal.SIGTERM in receiver.recv(100):
                    sys.exit(128 + signal.SIGTERM)
                raise KeyboardInterrupt


@contextmanager
def ended(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Marks the run as canceled if an interruption escapes Dagster."""
    try:
        yield
    finally:
        run = instance.get_run_by_id(run_id)
        if run and not run.is_finished:
            instance.report_run_canceled(run, "Interrupted by Ctrl-C or SIGTERM.")


def _day_tags(first_day: date | None, last_day: date | None) -> dict[str, str]:
    """The run's tags for the days from `first_day` to `last_day`."""
    days = DAILY.get_partition_keys()
    first_day = first_day or DESK.landing.first_unpurged_day(DAILY.start.date())
    first = first_day.isoformat() if first_day else days[0]
    last = last_day.isoformat() if last_day else days[-1]
    for day in (first, last):
        if day not in days:
            raise RunError(
                f"{day} is not a processed day: they go from {days[0]} to {days[-1]} (UTC)."
                " Move the first one with TICKETS_FIRST_DAY."
            )
    if first > last:
        raise RunError(f"The first day {first} comes after the last day {last}.")
    if first == last:
        return {"dagster/partition": first}
    return {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }


def _existing_job(name: str) -> str:
    names = definitions.defs.get_repository_def().job_names
    # Dagster's own jobs, like the one behind ad-hoc materialisations, begin with underscores.
    jobs = sorted(job for job in names if not job.startswith("_"))
    if name not in jobs:
        raise RunError(f"There is no job {name}. Jobs: {', '.join(jobs)}.")
    return name


def _selection(assets: list[str]) -> set[dg.AssetKey] | None:
    """Keys of the named assets and of those that are written together with them; None for all."""
    if not assets:
        return None
    graph = definitions.defs.resolve_asset_graph()
    names = sorted(key.to_user_string() for key in graph.materializable_asset_keys)
    if unknown := [name for name in assets if name not in names]:
        raise RunError(f"There is no asset {', '.join(unknown)}. Assets: {', '.join(names)}.")
    named = dg.AssetSelection.assets(*assets).required_multi_asset_neighbors()
    return set(named.resolve(graph))


def _for_people(reason: str) -> str:
    """An error's text without the name of our own class; one of the system with what to do."""
    if OWN_ERROR.match(reason):
        return OWN_ERROR.sub("", reason)
    if SQLITE_CANNOT_OPEN in reason:
        return str(refusal_of_sqlite(DESK.folder / "dagster", SQLITE_CANNOT_OPEN))
    advice = system_advice(reason)
    return f"{reason.rstrip('.')}. {advice}" if advice else reason


def _broken_promises(summary: RunSummary) -> str:
    """A sentence with the promise of the blocking check that failed last."""
    failed = [failed for failed in summary.failed_checks if failed.blocking][-1:]
    graph = definitions.defs.resolve_asset_graph()
    keys = [dg.AssetCheckKey(dg.AssetKey(check.asset), check.check) for check in failed]
    promises = [graph.get(key).description or key.name for key in keys]
    return " ".join(["This does not hold:", *promises])


def _collect(summary: RunSummary, event: dg.DagsterEvent) -> None:
    kind = event.event_type
    if kind == DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
        name = event.asset_key.to_user_string()
        if name not in summary.materialised:
            summary.materialised.append(name)
        summary.figures.setdefault(name, {}).update(
            {
                key: float(entry.value)
                for key, entry in event.step_materialization_data.materialization.metadata.items()
                if isinstance(entry, (dg.IntMetadataValue, dg.FloatMetadataValue))
                and entry.value is not None
            }
        )
    elif kind == DagsterEventType.ASSET_CHECK_EVALUATION:
        evaluation = event.asset_check_evaluation_data
        summary.record_check(
            evaluation.asset_key.to_user_string(),
            evaluation.check_name,
            evaluation.partition,
            passed=evaluation.passed,
            blocking=bool(evaluation.blocking) and evaluation.severity == AssetCheckSeverity.ERROR,
        )
    elif kind == DagsterEventType.STEP_FAILURE and event.step_key is not None:
        error = event.step_failure_data.error
        cause = error.cause if error and error.cause else error
        reason = cause.message.strip() if cause else "unknown error"
        if cause and cause.cls_name == "DagsterAssetCheckFailedError":
            reason = _broken_promises(summary)
        summary.failed_steps[event.step_key] = _for_people(reason)
    elif kind == DagsterEventType.RUN_FAILURE and not summary.failed_steps:
        data = event.event_specific_data
        error = getattr(data, "error", None)
        reason = error.message.strip() if error else str(event.message)
        summary.failed_steps["run"] = _for_people(reason)
    elif kind == DagsterEventType.STEP_SUCCESS and event.step_key is not None:
        summary.step_seconds[event.step_key] = event.step_success_data.duration_ms / 1000
    elif kind == DagsterEventType.STEP_SKIPPED and event.step_key is not None:
        summary.skipped.append(event.step_key)
