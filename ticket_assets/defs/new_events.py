"""The events of the instance that have come since a reader last looked."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from dagster._core.event_api import EventRecordsFilter
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

EVENTS_AT_ONCE = 1000


def events_of(
    instance: dg.DagsterInstance,
    kind: dg.DagsterEventType,
    limit: int = EVENTS_AT_ONCE,
    *,
    ascending: bool = False,
    **bounds: Any,
) -> Sequence[dg.EventLogRecord]:
    """Events of a type within the bounds of an `EventRecordsFilter`, the latest first; `ascending`:
    in the order in which they came."""
    # In SQLite, Dagster's own method would open the file of every run; the index has them all.
    return SqlEventLogStorage.get_event_records(
        instance.event_log_storage,  # type: ignore[arg-type]
        EventRecordsFilter(kind, **bounds),
        limit,
        ascending=ascending,
    )


Bookmark = tuple[int, float]
"""Storage id and time of the last event that was read; zeros before the first."""
START: Bookmark = (0, 0.0)


def bookmark(event: dg.EventLogRecord) -> Bookmark:
    return event.storage_id, event.timestamp


def latest_bookmark(instance: dg.DagsterInstance, kind: dg.DagsterEventType) -> Bookmark:
    """That of the latest event of a type."""
    latest = events_of(instance, kind, 1)
    return bookmark(latest[0]) if latest else START


def events_after(
    instance: dg.DagsterInstance,
    kind: dg.DagsterEventType,
    last: Bookmark,
    asset_key: dg.AssetKey | None = None,
) -> Iterator[dg.EventLogRecord]:
    """The events of a type that came after that one, in order, a page of them in memory."""
    storage_id = _resumed(instance, kind, last, asset_key)
    page = None
    while page is None or len(page) == EVENTS_AT_ONCE:
        page = events_of(
            instance, kind, ascending=True, after_cursor=storage_id, asset_key=asset_key
        )
        yield from page
        storage_id = page[-1].storage_id if page else storage_id


def _resumed(
    instance: dg.DagsterInstance,
    kind: dg.DagsterEventType,
    last: Bookmark,
    asset_key: dg.AssetKey | None,
) -> int:
    """The storage id after which new events stand.

    With a run, a person deletes its events. SQLite gives the ids of the latest ones to others
    then, so an id alone could lie above those of events that nobody has read.
    """
    storage_id, timestamp = last
    present = events_of(instance, kind, storage_ids=[storage_id]) if storage_id else []
    if last == START or [bookmark(event) for event in present] == [last]:
        return storage_id
    former = events_of(instance, kind, 1, before_timestamp=timestamp, asset_key=asset_key)
    return former[0].storage_id if former else 0


def event_data(event: dg.EventLogRecord) -> Any:
    """What is specific to the event's type; None where there is nothing."""
    dagster_event = event.event_log_entry.dagster_event
    return dagster_event and dagster_event.event_specific_data
