"""new_mail: looks at the mail sources, and has the days sorted whose mail has changed.

It reports what is new, and automation takes it up. It requests runs itself where that does not
help: on a desk without champion, after a failed run, when code or settings have changed, and for
what automation has passed over.
"""

import functools
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

from ticket_assets.clock import refuse_clock_before_most
from ticket_assets.defs.jobs import UNFINISHED, classify_mail, collect_mail, whole_graph
from ticket_assets.defs.landed_mail import unreported_labels, unreported_mail
from ticket_assets.defs.partitions import DAILY, DESK, run_window
from ticket_assets.desk import Desk
from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.landed_days import (
    DayRange,
    consecutive,
    day_fingerprints,
    labels_fingerprint,
    overall_fingerprint,
)
from ticket_assets.mail.sources import Poll, PollBusyError, SourceReport, poll_sources
from ticket_assets.orchestration.living_runs import end_dead_runs
from ticket_assets.planning.days_to_run import DaysToRun, Failure, days_to_run
from ticket_assets.planning.emptied_days import emptied_days
from ticket_assets.planning.failed_days import write_failed_days
from ticket_assets.planning.recipe import recipe
from ticket_assets.planning.tries import Memory, RunState
from ticket_assets.storage.collection import CollectionError
from ticket_assets.storage.day_origins import read_links, read_origins
from ticket_assets.storage.warehouse import WarehouseError

POLL_SECONDS = 25.0
"""Dagster gives a sensor's evaluation 60 seconds. What is begun in these ends well before."""
OBSERVATIONS_PER_TICK = 100
"""Dagster takes some 10 ms for each."""
REASONS_PER_TICK = 20
REPORTED = "reported"
"""Begins the key under which days are remembered that automation takes up."""
TAKING_UP = timedelta(minutes=2)
"""Automation looks every ten seconds. What it has not taken up after so long it has passed over."""


class SourceFailedError(TicketAssetsError):
    """A mail source failed, or holds something that cannot be used."""


@dg.sensor(
    jobs=[classify_mail, collect_mail, whole_graph],
    minimum_interval_seconds=DESK.settings.poll_seconds,
    # Without a source, mail is imported by a person, who starts the run as well.
    default_status=(
        dg.DefaultSensorStatus.RUNNING if DESK.sources else dg.DefaultSensorStatus.STOPPED
    ),
    description="Lands what is new in the mail sources and reports exactly the days whose mail no"
    " run has read as it is now, whoever landed it, for automation to sort. What failed, or was"
    " passed over, it requests itself.",
)
def new_mail(context: dg.SensorEvaluationContext, desk: dg.ResourceParam[Desk]) -> dg.SensorResult:
    memory = Memory.read(context.cursor)
    notes = _poll(desk)
    landed = _processed_days(desk, day_fingerprints(desk.landing, desk.cursors), notes)
    goal = _goal(desk, landed)
    requests: list[dg.RunRequest] = []
    reported: list[date] = []
    if memory.settled == goal.state:
        requests = _request_filling(desk, notes)
        reason = None if requests else " ".join(["No new mail.", *notes])
        return dg.SensorResult(run_requests=requests, skip_reason=reason)
    try:
        requests, reported = _request_days(context.instance, desk, goal, memory, notes)
    except WarehouseError as error:
        memory.settled = ""
        notes.append(f"{error} The next look requests what is new.")
    if not requests and not reported:
        requests = _request_filling(desk, notes)
    new = f"Automation takes up {_listed(sorted(reported))}." if reported else "No new mail."
    return dg.SensorResult(
        run_requests=requests,
        asset_events=[
            *unreported_labels(context.instance, goal.landed_labels),
            *unreported_mail(context.instance, {day: landed[day] for day in reported}),
        ],
        skip_reason=None if requests else " ".join([new, *notes]),
        cursor=memory.written(),
    )


def _poll(desk: Desk) -> list[str]:
    """Land what is new; what a person should know although nothing failed.

    Raises:
        SourceFailedError: a source failed now. What the others have landed is requested by the
            next tick, which leaves the source alone until its next try.
    """
    refuse_clock_before_most(desk.landing)
    desk.record_settings()
    sources = desk.sources
    poll = Poll(
        desk.landing,
        desk.cursors,
        desk.leases,
        max_messages=desk.settings.imap_batch,
        seconds=POLL_SECONDS,
        first_day=desk.settings.first_day,
    )
    try:
        reports = poll_sources(sources, poll) if sources else []
    except PollBusyError as busy:
        return [str(busy)]
    failures = [failure for report in reports for failure in _failures(report)]
    if failures:
        raise SourceFailedError(" ".join(failures))
    return [note for report in reports for note in _notes(report)]


def _first(reasons: Sequence[str]) -> list[str]:
    """Why files cannot be had, as far as a tick's text is to hold it: a folder may hold any number
    of such files."""
    more = len(reasons) - REASONS_PER_TICK
    return [*reasons[:REASONS_PER_TICK], *([f"And {more:,} files more."] if more > 0 else [])]


def _failures(report: SourceReport) -> list[str]:
    failures = _first(report.problems)
    if report.error:
        failures.append(f"{report.error} Next try at {report.next_try:%H:%M} UTC.")
    return failures


def _notes(report: SourceReport) -> list[str]:
    notes = _first(report.refusals)
    notes += _first([note for table in report.tables for note in table.notes])
    notes += report.early_labels
    if report.waits_for:
        notes.append(
            f"Not looked at until {report.next_try:%Y-%m-%d %H:%M} UTC: {report.name}, after:"
            f" {report.waits_for}"
        )
    elif report.remaining:
        notes.append(f"{report.remaining:,} more in {report.name}.")
    return notes


def _processed_days(desk: Desk, landed: Mapping[date, str], notes: list[str]) -> dict[date, str]:
    """The landed days that have a partition; what keeps the others back goes to `notes`."""
    keys = DAILY.get_partition_keys()
    first, last = date.fromisoformat(keys[0]), date.fromisoformat(keys[-1])
    start = desk.landing.first_unpurged_day(desk.first_day) or first
    older = [day for day in landed if start <= day < first]
    if older:
        notes.append(
            f"Mail waits from before the first day that Dagster has loaded: {_listed(older)}."
            " Reload the code location."
        )
    future = [day for day in landed if day > last]
    if future:
        notes.append(f"Mail is dated in the future and waits for its day: {_listed(future)}.")
    first = max(start, first)
    return {day: landed[day] for day in landed if first <= day <= last}


@dataclass(frozen=True)
class Goal:
    """What has to be true in the end."""

    job: str
    """Sorts mail, or collects it as long as there is no champion to sort it."""
    table: str
    """Holds a day when the job has done it."""
    landed: Mapping[date, str]
    recipe: str
    landed_labels: str
    labels: str | None
    """What identifies the labels that a first champion can be learnt from, if there are such."""
    revision: int
    """That of the warehouse: runs change what is done."""

    @property
    def state(self) -> str:
        """What identifies the work to be done, as far as it is seen without the warehouse."""
        return (
            f"{self.job} {overall_fingerprint(self.landed)} {self.recipe} {self.landed_labels}"
            f" {self.labels or ''} {self.revision}"
        )

    def content(self, landed: str, links: str) -> str:
        """What identifies a day's mail with its links, and what the job makes of it."""
        return f"{self.job} {landed} {self.recipe} {links}"


def _goal(desk: Desk, landed: Mapping[date, str]) -> Goal:
    has_champion = _has_champion(desk)
    job = (classify_mail if has_champion else collect_mail).name
    table = "ticket_predictions" if has_champion else "ticket_collection"
    # A failed day is also tried again with a new version of the package, whatever it changed.
    recipe_now = f"{recipe(desk)} {version(__package__.partition('.')[0])}"
    return Goal(
        job,
        table,
        landed,
        recipe_now,
        labels_fingerprint(desk.landing),
        None if has_champion else _labels_to_learn(desk),
        desk.warehouse.revision,
    )


def _request_days(
    instance: dg.DagsterInstance, desk: Desk, goal: Goal, memory: Memory, notes: list[str]
) -> tuple[list[dg.RunRequest], list[date]]:
    """The runs to request, and the days to report for automation; what it knows goes to `memory`,
    what a person should know to `notes`.

    Raises:
        WarehouseError: the warehouse is being written.
    """
    contents, done, changed = _contents(desk, goal)
    at_work = _days_at_work(instance)
    memory.forget(
        day for day in memory.tries if day not in contents or contents[day] == done.get(day)
    )
    run_state = functools.cache(functools.partial(_run_state, instance))
    pending = consecutive(memory.pending(run_state))
    failed = memory.failures(run_state)
    plan = days_to_run(contents, done, [*at_work, *pending], failed, datetime.now(UTC))
    write_failed_days(desk.cursors, goal.landed, failed)
    notes += _explanations(plan, failed)
    learning = _learning(instance, goal, memory)
    # Where several runs share the days, they encode them first: learning takes one run.
    collects_first = bool(desk.settings.run_days and plan.ranges)
    if learning and contents and not at_work and not collects_first:
        requests, new = [_request_learning(contents, learning, memory)], []
    else:
        to_run = [day for days in plan.ranges for day in days.days()]
        new = [day for day in to_run if day in changed and day not in failed]
        requests = [
            _request_range(goal.job, part, contents, memory)
            for days in plan.ranges
            for together in consecutive(day for day in days.days() if day not in new)
            for part in together.parts(desk.settings.run_days)
        ]
    reported = _report(new[:OBSERVATIONS_PER_TICK], contents, memory)
    is_settled = not (plan.ranges or plan.busy or plan.waiting or plan.standing or learning)
    memory.settled = goal.state if is_settled else ""
    return requests, reported


def _report(new: list[date], contents: Mapping[date, str], memory: Memory) -> list[date]:
    """The same days, remembered as what automation takes up as soon as their mail is reported."""
    now = datetime.now(UTC).isoformat()
    for days in consecutive(new):
        tries = {day: (contents[day], 1) for day in days.days()}
        memory.remember(tries, f"{REPORTED} {days.first} {days.last} {now}", days)
    return new


def _contents(desk: Desk, goal: Goal) -> tuple[dict[date, str], dict[date, str], set[date]]:
    """What identifies the content of each day that has mail, or rows of mail that is gone; the
    content that each day has run with; and the days that automation sorts once their mail is
    reported: those whose mail itself has changed.

    Raises:
        WarehouseError: the warehouse is being written.
    """
    warehouse = desk.for_ticks.warehouse
    links, origins = read_links(warehouse), read_origins(warehouse, goal.table)
    mails = {**goal.landed, **_processed_days(desk, emptied_days(goal.landed, origins), [])}
    contents = {day: goal.content(mail, links.get(day, "")) for day, mail in mails.items()}
    done = {day: goal.content(origin.landed, origin.links) for day, origin in origins.items()}
    changed = set()
    if goal.job == classify_mail.name:
        seen = {day: origin.landed for day, origin in origins.items()}
        changed = {day for day, mail in goal.landed.items() if seen.get(day) != mail}
    return contents, done, changed


def _request_learning(contents: Mapping[date, str], learning: str, memory: Memory) -> dg.RunRequest:
    """A run for all days, so that the first champion also sorts what was collected before."""
    days = DayRange(min(contents), max(contents))
    request = _request(whole_graph.name, days, f"{overall_fingerprint(contents)} {learning}")
    memory.learning = (learning, str(request.run_key))
    return request


def _request_range(
    job: str, days: DayRange, contents: Mapping[date, str], memory: Memory
) -> dg.RunRequest:
    """A run whose key holds the number of each day's try: a failed day is requested anew."""
    tries = {
        day: (contents[day], memory.next_try(day, contents[day]))
        for day in days.days()
        if day in contents
    }
    content = overall_fingerprint(
        {day: f"{content} {number}" for day, (content, number) in tries.items()}
    )
    request = _request(job, days, content)
    memory.remember(tries, str(request.run_key), days)
    return request


def _request_filling(desk: Desk, notes: list[str]) -> list[dg.RunRequest]:
    """A run for a collection that has lost tickets: one that collects any day fills all of it."""
    warehouse = desk.for_ticks.warehouse
    try:
        if not desk.for_ticks.lost_tickets():
            return []
        last = max(read_origins(warehouse, "ticket_collection")).isoformat()
    except WarehouseError:  # it is being written
        return []
    except CollectionError as error:
        notes.append(str(error))
        return []
    # A run that did not help is not repeated at once, and another loss has a run of its own.
    run_key = f"fill the collection {datetime.now(UTC):%Y-%m-%d %H}"
    return [
        dg.RunRequest(
            run_key,
            job_name=collect_mail.name,
            partition_key=last,
            asset_selection=[dg.AssetKey("ticket_collection")],
        )
    ]


def _learning(instance: dg.DagsterInstance, goal: Goal, memory: Memory) -> str | None:
    """The labels to learn a first champion from; None when a run has tried these."""
    labels, run_key = memory.learning
    if goal.labels == labels and _run_state(instance, run_key) is not None:
        return None
    return goal.labels


def _run_state(instance: dg.DagsterInstance, run_key: str) -> RunState | None:
    """The run that was requested with this key, its latest repetition if it crashed."""
    if run_key.startswith(REPORTED):
        return _taken_up(instance, *run_key.split()[1:])
    tags = {"dagster/run_key": run_key, "dagster/sensor_name": new_mail.name}
    for run in instance.get_run_records(dg.RunsFilter(tags=tags), limit=1):
        return _state(run)
    return None


def _taken_up(instance: dg.DagsterInstance, first: str, last: str, reported: str) -> RunState:
    """The latest run for one of these days since they were reported.

    Without any, it is still to come for a while, then it counts as ended: the days are requested.
    """
    reported_at = datetime.fromisoformat(reported)
    for run in instance.get_run_records(dg.RunsFilter(created_after=reported_at)):
        window = run_window(run.dagster_run.tags)
        if window and window[0].isoformat() <= last and first <= window[1].isoformat():
            return _state(run)
    # A clock that was put back must not keep a day for ever.
    is_recent = abs(datetime.now(UTC) - reported_at) < TAKING_UP
    backfills = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])
    waits = is_recent or bool(instance.get_backfills(filters=backfills, limit=1))
    return RunState(None if waits else reported_at)


def _state(run: dg.RunRecord) -> RunState:
    finished = run.dagster_run.is_finished
    return RunState(datetime.fromtimestamp(run.end_time or 0, UTC) if finished else None)


def _request(job: str, days: DayRange, content: str) -> dg.RunRequest:
    """A run for these days and no other; asked for twice with the same content, it is one run."""
    first, last = days.first.isoformat(), days.last.isoformat()
    run_key = f"{job} {first}..{last} {content}"
    if first == last:
        return dg.RunRequest(run_key=run_key, job_name=job, partition_key=first)
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return dg.RunRequest(run_key=run_key, job_name=job, tags=tags)


def _explanations(plan: DaysToRun, failed: Mapping[date, Failure]) -> list[str]:
    """What keeps days back, for the person who looks at the tick."""
    notes = []
    if plan.busy:
        notes.append(f"A run is at work, or about to be, on {_listed(plan.busy)}.")
    if plan.waiting:
        first = min(plan.waiting.values())
        days = _listed(sorted(plan.waiting))
        notes.append(f"Failed and tried again from {first:%Y-%m-%d %H:%M} UTC on: {days}.")
    if plan.standing:
        tries = max(failed[day].tries for day in plan.standing)
        notes.append(
            f"Failed {tries} times, and not tried again until mail, code or settings change:"
            f" {_listed(plan.standing)}. `tickets run` tries at once."
        )
    return notes


def _days_at_work(instance: dg.DagsterInstance) -> list[DayRange]:
    """The days of the runs that have not ended, whoever started them.

    A run whose process is gone is ended first: it would keep its days back for ever.
    """
    end_dead_runs(instance)
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    windows = [run_window(run.tags) for run in runs]
    return [DayRange(*window) for window in windows if window]


def _has_champion(desk: Desk) -> bool:
    return desk.has_models and desk.models.champion() is not None


def _labels_to_learn(desk: Desk) -> str | None:
    """What identifies the labels that a first champion can be learnt from; None when there are too
    few of them, or when a champion was learnt already."""
    files = desk.landing.label_files()
    if not files or _has_champion(desk):
        return None
    labelled = Counter(label.category for label in desk.landing.labels() if label.category)
    if sum(count >= desk.settings.min_class_tickets for count in labelled.values()) < 2:
        return None
    return hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]


def _listed(days: list[date]) -> str:
    return f"{days[0]}" if len(days) == 1 else f"{len(days):,} days, {days[0]} to {days[-1]}"
