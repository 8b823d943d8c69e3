"""Removes erased tickets from the tables and figures saved beside a classifier."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from ticket_assets.classification.model_store import (
    EVALUATION,
    LEARNT,
    ModelError,
    ModelStore,
    json_bytes,
    read_table,
    sha256,
    table_bytes,
)
from ticket_assets.classification.vocabulary import (
    build_vocabulary,
    vocabulary_frame,
    vocabulary_from_frame,
)

VOCABULARY = "vocabulary.parquet"


def learnt_from(store: ModelStore, ticket_ids: Collection[str]) -> dict[str, int]:
    """By version, how many of the tickets the saved classifier learnt from; no version with none.

    Raises:
        ModelError: a version cannot be searched.
    """
    store.finish_replacements()
    erased = set(ticket_ids)
    counts = {}
    for version in store.names():
        try:
            learnt = read_table(store.files(version, LEARNT)[LEARNT], ["ticket_id"])["ticket_id"]
        except (KeyError, OSError, ValueError):
            raise ModelError(
                f"The classifier {version} in {store.blobs.location} is damaged and cannot be"
                " searched for the tickets. Delete its folder, then give the command again."
            ) from None
        if count := int(learnt.isin(erased).sum()):
            counts[version] = count
    return counts


def erase_from_models(
    store: ModelStore, ticket_ids: Collection[str], tokens: Mapping[str, str]
) -> dict[str, int]:
    """Remove the tickets' rows, words and ids from the saved versions; returns `learnt_from`.

    The classifier itself stays: its weights belong to hashed words and hold no text. Its figures
    stay as they were measured.

    Args:
        tokens: `clean_tickets.tokens` of every ticket that is still there, by ticket id.
    """
    erased = set(ticket_ids)
    learnt = learnt_from(store, erased)
    for version in learnt:
        former, manifest = store.files(version), store.manifest(version)
        files = _without_tickets(former, erased, tokens)
        # A damaged file keeps its old SHA-256: a new one would hide the damage.
        manifest["files"] |= {
            name: sha256(content)
            for name, content in files.items()
            if sha256(former[name]) == manifest["files"][name]
        }
        store.replace(version, files, json_bytes(manifest, indent=2))
    return learnt


def _without_tickets(
    files: Mapping[str, bytes], erased: set[str], tokens: Mapping[str, str]
) -> dict[str, bytes]:
    """The new contents of the files that may name the tickets."""
    tables = {
        name: read_table(content) for name, content in files.items() if name.endswith(".parquet")
    }
    learnt = tables[LEARNT]["ticket_id"]
    vocabulary = vocabulary_from_frame(tables.pop(VOCABULARY))
    evaluation: dict[str, Any] = json.loads(files[EVALUATION])
    for target in evaluation["targets"].values():
        target["confident_mistakes"] = [
            mistake
            for mistake in target["confident_mistakes"]
            if mistake["ticket_id"] not in erased
        ]
    return {
        VOCABULARY: table_bytes(vocabulary_frame(_without(vocabulary, learnt, erased, tokens))),
        EVALUATION: json_bytes(evaluation, indent=1),
        **{
            name: table_bytes(table[~table["ticket_id"].isin(erased)].reset_index(drop=True))
            for name, table in tables.items()
            if "ticket_id" in table
        },
    }


def _without(
    vocabulary: Mapping[str, int], learnt: pd.Series, erased: set[str], tokens: Mapping[str, str]
) -> dict[str, int]:
    """The vocabulary without the texts that no other training ticket has."""
    texts = {tokens[ticket] for ticket in learnt if ticket in erased and ticket in tokens}
    texts -= {tokens[ticket] for ticket in learnt if ticket not in erased and ticket in tokens}
    return dict(Counter(vocabulary) - Counter(build_vocabulary(list(texts))))
