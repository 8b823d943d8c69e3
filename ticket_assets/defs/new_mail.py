"""new_mail: looks at the mail sources, and requests runs for the days whose mail has changed."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from datetime import date

import dagster as dg

from ticket_assets.defs.jobs import classify_mail, collect_mail, whole_graph
from ticket_assets.defs.partitions import DAILY, DESK, run_window
from ticket_assets.defs.raw_tickets import fingerprints_read
from ticket_assets.desk import Desk
from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.back_off import PollBusyError
from ticket_assets.mail.landed_days import (
    DayRange,
    changed_days,
    consecutive,
    day_fingerprints,
    overall_fingerprint,
)
from ticket_assets.mail.sources import Poll, SourceReport, poll_sources

POLL_SECONDS = 25.0
"""Dagster gives a sensor's evaluation 60 seconds. What is begun in these ends well before."""
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class SourceFailedError(TicketAssetsError):
    """A mail source failed, or holds something that cannot be used."""


@dg.sensor(
    jobs=[classify_mail, collect_mail, whole_graph],
    minimum_interval_seconds=DESK.settings.poll_seconds,
    # Without a source, mail is imported by a person, who starts the run as well.
    default_status=(
        dg.DefaultSensorStatus.RUNNING if DESK.sources else dg.DefaultSensorStatus.STOPPED
    ),
    description="Lands what is new in the mail sources and requests a run for exactly the days"
    " whose mail no run has read as it is now, whoever landed it.",
)
def new_mail(context: dg.SensorEvaluationContext, desk: dg.ResourceParam[Desk]) -> dg.SensorResult:
    said = _poll(desk)
    landed = day_fingerprints(desk.landing, desk.settings.cursors_dir / "landed_days.json")
    processed = _processed(desk, landed, said)
    cursor = {"state": "", "requested": {}, "learnt": "", **json.loads(context.cursor or "{}")}
    labels = _labels_to_learn(desk)
    state = f"{overall_fingerprint(processed)} {labels or ''}"
    if cursor["state"] == state:
        return dg.SensorResult(skip_reason=" ".join(["No new mail.", *said]))

    read = fingerprints_read(context.instance, processed)
    at_work = _days_at_work(context.instance)
    keys = {key for _, key in cursor["requested"].values() if _was_created(context.instance, key)}
    requested = {
        date.fromisoformat(day): (found, key)
        for day, (found, key) in cursor["requested"].items()
        if key in keys and read.get(date.fromisoformat(day)) != found
    }
    if labels and labels != cursor["learnt"] and processed and not at_work:
        # All days, so that what was collected before is sorted by the first champion as well.
        ranges = [DayRange(min(processed), max(processed))]
        job, cursor["learnt"] = whole_graph.name, labels
    else:
        contents = {day: found for day, (found, _) in requested.items()}
        days = changed_days(processed, read, contents, at_work)
        ranges = consecutive(days)
        job = (classify_mail if _has_champion(desk) else collect_mail).name
    requests = []
    for each in ranges:
        request = _request(job, each, processed, labels if job == whole_graph.name else None)
        requests.append(request)
        requested |= {
            day: (processed[day], request.run_key) for day in each.days() if day in processed
        }
    waiting = changed_days(processed, read, {day: found for day, (found, _) in requested.items()})
    if waiting:
        said.append(f"Changed again while a run is at work on them: {_listed(waiting)}.")
    cursor["requested"] = {day.isoformat(): found for day, found in sorted(requested.items())}
    is_settled = not waiting and not requested and (not labels or labels == cursor["learnt"])
    cursor["state"] = state if is_settled else ""
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else " ".join(["No new mail.", *said]),
        cursor=json.dumps(cursor),
    )


def _poll(desk: Desk) -> list[str]:
    """Land what is new; what a person should know although nothing failed.

    Raises:
        SourceFailedError: a source failed now. What the others have landed is requested by the
            next tick, which leaves the source alone until its next try.
    """
    desk.record_settings()
    sources = desk.sources
    poll = Poll(
        desk.landing,
        desk.settings.cursors_dir,
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


def _failures(report: SourceReport) -> list[str]:
    failures = list(report.problems)
    if report.error:
        failures.append(f"{report.error} Next try at {report.next_try:%H:%M} UTC.")
    return failures


def _notes(report: SourceReport) -> list[str]:
    notes = list(report.refusals)
    if report.waits_for:
        notes.append(
            f"Not looked at until {report.next_try:%Y-%m-%d %H:%M} UTC: {report.name}, after:"
            f" {report.waits_for}"
        )
    elif report.remaining:
        notes.append(f"{report.remaining:,} more in {report.name}.")
    return notes


def _processed(desk: Desk, landed: Mapping[date, str], said: list[str]) -> dict[date, str]:
    """The landed days that have a partition; what keeps the others back goes to `said`."""
    keys = DAILY.get_partition_keys()
    first, last = date.fromisoformat(keys[0]), date.fromisoformat(keys[-1])
    start = desk.landing.first_unpurged_day(desk.first_day) or first
    older = [day for day in landed if start <= day < first]
    if older:
        said.append(
            f"Mail waits from before the first day that Dagster has loaded: {_listed(older)}."
            " Reload the code location."
        )
    future = [day for day in landed if day > last]
    if future:
        said.append(f"Mail is dated in the future and waits for its day: {_listed(future)}.")
    return {day: found for day, found in landed.items() if max(start, first) <= day <= last}


def _days_at_work(instance: dg.DagsterInstance) -> list[DayRange]:
    """The days of this sensor's runs that have not ended."""
    runs = instance.get_runs(
        dg.RunsFilter(statuses=UNFINISHED, tags={"dagster/sensor_name": "new_mail"})
    )
    windows = [run_window(run.tags) for run in runs]
    return [DayRange(*window) for window in windows if window]


def _was_created(instance: dg.DagsterInstance, run_key: str) -> bool:
    """Whether there is such a run. Dagster gives a request up when it cannot be submitted twice, or
    when the daemon was away for a day; the cursor has moved by then."""
    tags = {"dagster/run_key": run_key, "dagster/sensor_name": "new_mail"}
    return bool(instance.get_runs(dg.RunsFilter(tags=tags), limit=1))


def _has_champion(desk: Desk) -> bool:
    return desk.has_models and desk.models.champion() is not None


def _labels_to_learn(desk: Desk) -> str | None:
    """What identifies the labels that a first champion can be learnt from; None when there are too
    few of them, or when a champion was learnt already."""
    files = sorted(path.name for path in (desk.landing.root / "labels").glob("*.jsonl"))
    if not files or _has_champion(desk):
        return None
    found = Counter(label.category for label in desk.landing.labels() if label.category)
    if sum(count >= desk.settings.min_class_tickets for count in found.values()) < 2:
        return None
    return hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]


def _request(
    job: str, days: DayRange, landed: Mapping[date, str], labels: str | None
) -> dg.RunRequest:
    """A run for these days and no other; asked for twice with the same content, it is one run."""
    first, last = days.first.isoformat(), days.last.isoformat()
    content = overall_fingerprint({day: landed[day] for day in days.days() if day in landed})
    run_key = " ".join(filter(None, [job, f"{first}..{last}", content, labels]))
    if first == last:
        return dg.RunRequest(run_key=run_key, job_name=job, partition_key=first)
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return dg.RunRequest(run_key=run_key, job_name=job, tags=tags)


def _listed(days: list[date]) -> str:
    return f"{days[0]}" if len(days) == 1 else f"{len(days):,} days, {days[0]} to {days[-1]}"
