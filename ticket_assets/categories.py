"""Renames and merges categories in all that a desk holds, its routing file too.

Landed labels stay as they came and are read by the present names (`mail/category_changes.py`). Once
a change is recorded, nothing else begins to work on the desk until it has ended. Every step may be
repeated, so that the same command completes what was interrupted at any point.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ticket_assets.classification.decisions import AUDIT
from ticket_assets.desk_record import (
    DeskRecord,
    differences,
    present_record,
    read_record,
    refuse_differences,
    write_record,
)
from ticket_assets.mail.category_changes import CategoryChange, CategoryChangeError
from ticket_assets.planning.recipe import recipe_with
from ticket_assets.routing import merged_text, name_problem, names_alike, renamed_text
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.warehouse import ensure_table
from ticket_assets.storage.whole_file import temporary_file

if TYPE_CHECKING:
    import duckdb

    from ticket_assets.desk import Desk


@dataclass(frozen=True)
class Category:
    """A category with the numbers of its tickets."""

    name: str
    queue: str | None
    """None where the routing file no longer has it."""
    labels: int
    """Tickets that people gave it."""
    predictions: int
    automatic: int
    """The predictions among these that were automatic."""
    former: tuple[str, ...]
    """Names that it had before."""


@dataclass(frozen=True)
class Affected:
    """The numbers of what a change gives another name."""

    labels: int
    predictions: int
    neighbours: int
    """Predictions that show a ticket of one of the categories among the nearest."""
    models: int
    reports: int


def list_categories(desk: Desk) -> list[Category]:
    """The categories of the routing file in its order, then those that only tickets have."""
    routing, landing, warehouse = desk.routing, desk.landing, desk.warehouse
    labels = landing.resolve_labels(routing.categories).labels["category"].value_counts()
    predicted: dict[str, tuple[int, int]] = {}
    if "ticket_predictions" in warehouse.tables():
        predicted = {
            name: (count, automatic)
            for name, count, automatic in warehouse.rows(
                "select category, count(*), count(*) filter (decision = 'auto')"
                " from ticket_predictions where category is not null group by all"
            )
        }
    former = landing.former_categories()
    others = sorted({*labels.index, *predicted} - set(routing.categories))
    return [
        Category(
            name,
            routing.queues.get(name),
            int(labels.get(name, 0)),
            *predicted.get(name, (0, 0)),
            tuple(sorted(one for one, now in former.items() if now == name)),
        )
        for name in (*routing.categories, *others)
    ]


def renaming(desk: Desk, former: str, name: str) -> CategoryChange:
    """The change that gives a category another name, or the one that is to be completed.

    Raises:
        CategoryChangeError: there is no such category, another one has the name, it cannot be a
            category's, or another change has not ended.
        DeskRecordError: other settings differ from those the desk was made with.
    """
    changes = desk.landing.category_changes
    if pending := changes.pending():
        if (pending.former, pending.name, pending.is_merge) != ((former,), name, False):
            changes.refuse_pending()
        return pending
    queues = _record(desk).queues
    _require_known([former], queues)
    if name in queues:
        raise CategoryChangeError(
            f"There is a category {name} already."
            + ("" if name == former else " Two categories become one by tickets categories merge.")
        )
    if problem := name_problem(name):
        raise CategoryChangeError(f"A category cannot be called {name!r}: it {problem}.")
    others = [category for category in queues if category != former]
    if pair := names_alike([*others, name]):
        raise CategoryChangeError(
            f"{pair[0]!r} and {pair[1]!r} differ in case, accents and punctuation alone, by which"
            " labels are not told apart. Choose another name."
        )
    return _change(desk, (former,), name, queues)


def merging(desk: Desk, former: Sequence[str], name: str) -> CategoryChange:
    """The change that makes all tickets of some categories tickets of another one, or the one that
    is to be completed; raises as `renaming`."""
    changes = desk.landing.category_changes
    if pending := changes.pending():
        if (pending.former, pending.name, pending.is_merge) != (tuple(former), name, True):
            changes.refuse_pending()
        return pending
    queues = _record(desk).queues
    _require_known([*former, name], queues)
    if len({*former, name}) <= len(former):
        raise CategoryChangeError("Name each category once; the last one is what they become.")
    if len(queues) - len(former) < 2:
        raise CategoryChangeError("Two categories have to remain: one alone cannot be told apart.")
    return _change(desk, tuple(former), name, queues)


def _change(
    desk: Desk, former: tuple[str, ...], name: str, queues: dict[str, str]
) -> CategoryChange:
    return CategoryChange(
        number=len(desk.landing.category_changes.made()) + 1,
        former=former,
        name=name,
        is_merge=name in queues,
        queues=queues,
        label_files=frozenset(desk.landing.label_files()),
        changed_at=datetime.now(UTC).isoformat(),
    )


def affected(desk: Desk, change: CategoryChange) -> Affected:
    """What the change will give another name."""
    warehouse, tables = desk.warehouse, desk.warehouse.tables()
    predictions = neighbours = models = 0
    if "ticket_predictions" in tables:
        named = " or ".join("contains(nearest, ?)" for _ in change.former)
        predictions, neighbours = warehouse.row(
            f"select count(*) filter (category in (select unnest(?))), count(*) filter ({named})"  # noqa: S608
            " from ticket_predictions",
            [list(change.former), *map(_in_json, change.former)],
        )
    if desk.has_models:
        from ticket_assets.classification.model_categories import models_with

        models = len(models_with(desk.models, change))
    labels = desk.landing.resolve_labels(list(change.queues)).labels["category"]
    return Affected(
        labels=int(labels.isin(change.former).sum()),
        predictions=predictions,
        neighbours=neighbours,
        models=models,
        reports=desk.reports.change_category(change, dry_run=True),
    )


def begin(desk: Desk, change: CategoryChange) -> None:
    """Record the change, if it is none that was begun already.

    Call it inside `removing`, while no run is at work; what began meanwhile has to end before
    `apply` is called.

    Raises:
        CategoryChangeError: the routing file does not have the new names and cannot be changed.
        DeskRecordError: other settings differ from those the desk was made with.
    """
    _new_routing(desk, change)
    desk.landing.category_changes.begin(change)


def apply(
    desk: Desk, change: CategoryChange, on_step: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Give everything the new name; returns the models that are damaged and stay as they are.

    The change has ended once `desk.landing.category_changes.end` says so.

    Raises:
        CategoryChangeError: the routing file cannot be changed.
        WarehouseError, CollectionError: a store cannot be opened; the same again goes on there.
    """
    desk.remove_unfinished()
    on_step("routing file")
    if routing := _new_routing(desk, change):
        path, text = routing
        with temporary_file(path, text.encode()) as file:
            shutil.copymode(path, file)
            file.replace(path)
    damaged: list[str] = []
    on_step("models")
    if desk.has_models:
        from ticket_assets.classification.model_categories import (
            change_categories,
            changed_fingerprint,
        )

        with desk.changing_models():
            # Before the tables: they tell the fingerprint from which the models are called so.
            damaged = change_categories(desk.models, change, changed_fingerprint(desk, change))
    on_step("tables")
    _change_tables(desk, change)
    on_step("collection")
    _change_collection(desk)
    on_step("reports")
    desk.reports.change_category(change)
    _change_review_queue(desk)
    record, version = read_record(desk.files)
    if record and record.queues != change.new_queues:
        write_record(desk.files, replace(record, queues=change.new_queues), version)
    return damaged


def _record(desk: Desk) -> DeskRecord:
    record, _ = read_record(desk.files)
    if record is None:
        raise CategoryChangeError(
            "This desk holds nothing yet: change the names in its routing file, TICKETS_ROUTING."
        )
    return record


def _require_known(names: Sequence[str], queues: dict[str, str]) -> None:
    if unknown := [name for name in names if name not in queues]:
        raise CategoryChangeError(
            f"There is no category {unknown[0]!r}. The desk has {', '.join(queues)}."
        )


def _new_routing(desk: Desk, change: CategoryChange) -> tuple[Path, str] | None:
    """The routing file and the text it has to get; None where it has the new names already."""
    record = _record(desk)
    present = present_record(desk.settings_in_use, desk.routing)
    if not differences(replace(record, queues=change.new_queues), present):
        return None
    refuse_differences(replace(record, queues=change.queues), present)
    path = desk.settings.routing
    names = ", ".join(change.former)
    edit = f"take out {names}" if change.is_merge else f"call {names} {change.name}"
    advice = f"In {path or 'it'}, {edit}, change nothing else, and give the same command again."
    if path is None:
        raise CategoryChangeError(
            "The categories are those of the routing file that comes with the product, which cannot"
            f" be changed. Copy it and set TICKETS_ROUTING to the copy. {advice}"
        )
    path = path.resolve()
    former, queues = path.read_bytes().decode(), change.new_queues
    if change.is_merge:
        text = merged_text(former, change.former, queues)
    else:
        text = renamed_text(former, names, change.name, queues)
    if text is None:
        raise CategoryChangeError(
            f"The routing file has {names} in a way that only a person can change. {advice}"
        )
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise CategoryChangeError(f"The routing file cannot be written. {advice}")
    return path, text


def _change_tables(desk: Desk, change: CategoryChange) -> None:
    """One transaction; the days stay done, since their rows are those of the new names."""
    tables = desk.warehouse.tables()
    if not tables:
        return
    former = list(change.former)
    settings, routing = desk.settings_in_use, desk.routing
    recipes = [
        recipe_with(settings, replace(routing, queues=queues))
        for queues in (change.new_queues, change.queues)
    ]
    with desk.warehouse.transaction() as connection:

        def update(table: str, column: str, parameters: Sequence[object], condition: str) -> None:
            if table in tables:
                connection.execute(
                    f"update {SCHEMA}.{table} set {column} = ? where {condition}",  # noqa: S608
                    list(parameters),
                )

        is_former = "in (select unnest(?::varchar[]))"
        if change.is_merge and {"suspended_labels", "ticket_predictions"} <= tables:
            _keep_resets(connection, [*former, change.name])
        queue = replace(routing, queues=change.new_queues).destinations[change.name]
        update(
            "ticket_predictions",
            "queue",
            [queue, former],
            f"category {is_former} and decision <> 'review'",
        )
        # What a receiver was told stays; what it is still to be told goes to the new queue.
        update(
            "delivered_tickets",
            "queue",
            [change.new_queues[change.name], former],
            f"category {is_former} and outcome not in ('delivered', 'already_there')",
        )
        for table, column in (
            ("ticket_labels", "category"),
            ("ticket_predictions", "category"),
            ("ticket_predictions", "model_category"),
            ("delivered_tickets", "category"),
            ("ticket_predictions", "former_category"),
            ("suspended_labels", "label"),
        ):
            update(table, column, [change.name, former], f"{column} {is_former}")
        for column in ("given", "predicted"):
            update(
                "suspected_label_errors",
                column,
                [change.name, former],
                f"{column} {is_former} and target = 'category'",
            )
        if "suspected_label_errors" in tables:
            connection.execute(
                f"delete from {SCHEMA}.suspected_label_errors"  # noqa: S608
                " where target = 'category' and given = predicted"
            )
        if change.is_merge and "suspended_labels" in tables:
            # One of them that is suspended suspends the merged category; one run may have suspended
            # two of them for as many errors.
            connection.execute(
                "create temp table suspended as"
                f" from {SCHEMA}.suspended_labels qualify row_number() over (partition by label"
                " order by (reset_at is null) desc, tripped_at desc, evidence desc) = 1"
            )
            connection.execute(f"delete from {SCHEMA}.suspended_labels")  # noqa: S608
            connection.execute(f"insert into {SCHEMA}.suspended_labels by name from suspended")
        if change.is_merge and "threshold_simulation" in tables:
            # Shares cannot be added up; the next simulation has those of the merged category.
            connection.execute(
                f"delete from {SCHEMA}.threshold_simulation where label = ? or label {is_former}",  # noqa: S608
                [change.name, former],
            )
        update("threshold_simulation", "label", [change.name, former], f"label {is_former}")
        update("day_origins", "recipe", recipes, "recipe = ?")
        if "ticket_predictions" in tables:
            for name in former:
                connection.execute(
                    f"update {SCHEMA}.ticket_predictions set nearest = replace(nearest, ?, ?)"  # noqa: S608
                    " where contains(nearest, ?)",
                    [_in_json(name), _in_json(change.name), _in_json(name)],
                )
        for table in tables & {"ticket_predictions", "delivered_tickets", "review_queue"}:
            # Each once: of categories that are merged several may be likely.
            connection.execute(
                f"update {SCHEMA}.{table} set likely = ("  # noqa: S608
                "select to_json(list_filter(names, (name, place) ->"
                " list_position(names, name) = place)) from (select list_transform("
                """from_json(likely, '["VARCHAR"]'),"""
                " name -> if(list_contains(?::varchar[], name), ?, name)) as names))"
                " where likely is not null",
                [former, change.name],
            )


def _keep_resets(connection: duckdb.DuckDBPyConnection, labels: Sequence[str]) -> None:
    """What a person forgave one of these labels stays forgiven, and nothing of the others is: a
    moment of their common label could not tell whose audits came before it."""
    ensure_table(connection, TABLES["ticket_labels"])
    connection.execute(
        f"update {SCHEMA}.ticket_predictions as p set former_model_version = null"  # noqa: S608
        f" from {SCHEMA}.suspended_labels s, {SCHEMA}.ticket_labels l"
        " where s.label = p.former_category and l.ticket_id = p.ticket_id"
        " and former_decision = ? and s.reset_by = 'person' and l.labelled_at <= s.reset_at"
        " and s.label in (select unnest(?::varchar[]))",
        [AUDIT, labels],
    )
    connection.execute(
        f"delete from {SCHEMA}.suspended_labels where reset_by = 'person'"  # noqa: S608
        " and label in (select unnest(?::varchar[]))",
        [labels],
    )


def _in_json(category: str) -> str:
    """A category in the column `nearest` of ticket_predictions."""
    return f'"category": {json.dumps(category, ensure_ascii=False)}'


def _change_review_queue(desk: Desk) -> None:
    """The CSV that people fill in, where there is one, with the new names of the tables."""
    from ticket_assets.drift.store import REVIEW_QUEUE
    from ticket_assets.review_queue import ReviewError, publish_queue

    if any(True for _ in desk.reports.blobs.read_many([REVIEW_QUEUE])):
        with suppress(ReviewError):  # the tables are lost: former names go on working in it
            publish_queue(desk)


def _change_collection(desk: Desk) -> None:
    from ticket_assets.storage.collected_tickets import collected_tickets, fill

    for model in collected_tickets(desk.warehouse):
        with desk.collection(model) as collection:
            fill(collection, desk.warehouse)
