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
from ticket_assets.markdown import plain
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
    """The saved versions, as far as they can be read, that know one of the categories by a name
    that is to be changed."""
    former = set(change.former)
    named = []
    for version in store.names():
        with suppress(ModelError):
            category = store.load_evaluation(version).targets["category"]
            is_named = not former.isdisjoint({*category.labels, *category.excluded_classes})
            if is_named and _note(change) not in store.card(version):
                named.append(version)
    return named


def change_categories(
    store: ModelStore, change: CategoryChange, fingerprints: Mapping[str, str]
) -> list[str]:
    """Change the saved versions; returns those that are damaged and stay as they are.

    Weights, thresholds and figures stay. A version keeps its name and its standing; its card says
    what was changed.

    After a merge the model still tells the categories apart, and says one name for all of them: a
    ticket has the probability of the likeliest, which is less than that of all together, and is
    automatic where that one's threshold allows it. So every automatic ticket was one before, and
    the share of those that are right can only have grown: what was taken for another of the merged
    categories is right now. Adding the probabilities up would make tickets automatic for which no
    threshold was ever tested. The figures of the evaluation stay those of the categories that were
    measured. The next training learns one category.

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
    if not change.is_merge:
        scores = evaluation["targets"]["category"]
        evaluation["targets"]["category"] = _changed_scores(scores, change)
    return {
        MODEL: model_bytes(replace(classifier, targets=targets)),
        EVALUATION: json_bytes(evaluation, indent=1),
        CARD: files[CARD] + f"\n{_note(change)}".encode(),
        **{
            name: table_bytes(_changed_table(read_table(content), change))
            for name, content in files.items()
            if name.endswith(".parquet")
        },
    }


def _note(change: CategoryChange) -> str:
    """What the card of a model says of the change."""
    moment = change.changed_at[:16].replace("T", " ")
    return f"- {moment} UTC: category {plain(str(change))}. The text above is from before.\n"


def _changed_table(table: pd.DataFrame, change: CategoryChange) -> pd.DataFrame:
    for column in table.columns.intersection(["category", "category_predicted"]):
        table[column] = table[column].map(change, na_action="ignore")
    if "target" in table:
        doubts = table["target"] == "category"
        for column in ("given", "predicted"):
            table[column] = table[column].where(~doubts, table[column].map(change))
        table = table[~doubts | (table["given"] != table["predicted"])].reset_index(drop=True)
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
