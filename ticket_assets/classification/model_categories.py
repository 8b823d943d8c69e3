"""Gives the categories of saved classifiers their new names, without learning anything anew."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ticket_assets.classification.labelled_tickets import labelled_tickets
from ticket_assets.classification.model_store import (
    CARD,
    EVALUATION,
    MODEL,
    ModelError,
    ModelStore,
    json_bytes,
    model_bytes,
    read_table,
    sha256,
    table_bytes,
)
from ticket_assets.classification.training_set import (
    MixedEncodersError,
    NotEnoughLabels,
    fingerprint,
    training_options,
)
from ticket_assets.storage.warehouse import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from ticket_assets.classification.prediction import Classifier
    from ticket_assets.desk import Desk
    from ticket_assets.mail.category_changes import CategoryChange


def changed_fingerprint(desk: Desk, change: CategoryChange) -> dict[str, str]:
    """The fingerprint of the present labelled tickets, and the one they have after a renaming;
    empty where they cannot be learnt from. A merge makes them others, to be learnt anew."""
    if change.is_merge:
        return {}
    options = training_options(desk.settings, desk.routing.priorities)
    try:
        training_set = labelled_tickets(desk.warehouse, options.max_tickets)
    except (NotEnoughLabels, MixedEncodersError, WarehouseError):
        return {}
    tickets = training_set.tickets.assign(category=training_set.tickets["category"].map(change))
    changed = replace(training_set, tickets=tickets)
    return {fingerprint(training_set, options): fingerprint(changed, options)}


def models_with(store: ModelStore, change: CategoryChange) -> list[str]:
    """The saved versions, as far as they can be read, that name one of the categories."""
    named = []
    for version in store.names():
        with suppress(ModelError):
            category = store.load_evaluation(version).targets["category"]
            if not set(change.former).isdisjoint({*category.labels, *category.excluded_classes}):
                named.append(version)
    return named


def change_categories(
    store: ModelStore, change: CategoryChange, fingerprints: Mapping[str, str]
) -> list[str]:
    """Change the saved versions; returns those that are damaged and stay as they are.

    Weights, thresholds and figures stay. A version keeps its name and its standing; its card says
    what was changed.

    Args:
        fingerprints: the new one of a version that has such a fingerprint.
    """
    store.finish_replacements()
    damaged = []
    named = models_with(store, change)
    for version in store.names():
        try:
            store.require_sound(version)
            classifier = store.load(version)
        except ModelError:
            damaged.append(version)
            continue
        if version not in named:
            continue
        files, manifest = store.files(version), store.manifest(version)
        changed = _changed(classifier, files, change, fingerprints)
        manifest["labels"]["category"] = list(map(change, manifest["labels"]["category"]))
        manifest["fingerprint"] = fingerprints.get(manifest["fingerprint"], manifest["fingerprint"])
        manifest["files"] |= {name: sha256(content) for name, content in changed.items()}
        store.replace(version, changed, json_bytes(manifest, indent=2))
    return damaged


def _changed(
    classifier: Classifier,
    files: Mapping[str, bytes],
    change: CategoryChange,
    fingerprints: Mapping[str, str],
) -> dict[str, bytes]:
    """The new contents of the files that may name the categories."""
    category = classifier.targets["category"]
    labels = tuple(change(label) or label for label in category.labels)
    targets = {**classifier.targets, "category": replace(category, labels=labels)}
    evaluation: dict[str, Any] = json.loads(files[EVALUATION])
    evaluation["fingerprint"] = fingerprints.get(
        evaluation["fingerprint"], evaluation["fingerprint"]
    )
    evaluation["targets"]["category"] = _changed_scores(evaluation["targets"]["category"], change)
    moment = change.changed_at[:16].replace("T", " ")
    note = f"- {moment} UTC: the category {change}. The text above says the former name.\n"
    return {
        MODEL: model_bytes(replace(classifier, targets=targets)),
        EVALUATION: json_bytes(evaluation, indent=1),
        CARD: files[CARD] + f"\n{note}".encode(),
        **{
            name: table_bytes(_changed_table(read_table(content), change))
            for name, content in files.items()
            if name.endswith(".parquet")
        },
    }


def _changed_table(table: pd.DataFrame, change: CategoryChange) -> pd.DataFrame:
    for column in table.columns.intersection(["category", "category_predicted"]):
        table[column] = table[column].map(change, na_action="ignore")
    if "target" in table:
        doubts = table["target"] == "category"
        for column in ("given", "predicted"):
            table[column] = table[column].where(~doubts, table[column].map(change))
    return table


def _changed_scores(scores: dict[str, Any], change: CategoryChange) -> dict[str, Any]:
    """The evaluation of the category with the new names."""

    def changed(rows: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
        return [row | {name: change(row[name]) for name in names} for row in rows]

    return {
        **scores,
        "labels": list(map(change, scores["labels"])),
        "per_class": changed(scores["per_class"], "label"),
        "confident_mistakes": changed(scores["confident_mistakes"], "label", "predicted"),
        "excluded_classes": {
            change(name): count for name, count in scores["excluded_classes"].items()
        },
    }
