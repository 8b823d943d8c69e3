"""Removes erased tickets from the tables and figures saved beside a classifier."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from ticket_assets.classification.model_store import EVALUATION, MANIFEST, ModelError, ModelStore
from ticket_assets.classification.vocabulary import (
    build_vocabulary,
    vocabulary_frame,
    vocabulary_from_frame,
)
from ticket_assets.storage.whole_folder import finish_replacing, only_writer, replacing_folder

VOCABULARY = "vocabulary.parquet"
LEARNT = "training_tickets.parquet"


def learnt_from(store: ModelStore, ticket_ids: Collection[str]) -> dict[str, int]:
    """By version, how many of the tickets the saved classifier learnt from; no version with none.

    Raises:
        ModelError: a version cannot be searched.
    """
    for folder in store.root.glob(".*.complete"):
        finish_replacing(store.root / folder.name.removeprefix(".").removesuffix(".complete"))
    counts = {}
    for version in store.names():
        folder = store.root / version
        try:
            learnt = pd.read_parquet(folder / LEARNT, columns=["ticket_id"])["ticket_id"]
        except (OSError, ValueError):
            raise ModelError(
                f"The classifier {version} in {store.root} is damaged and cannot be searched for"
                " the tickets. Delete its folder, then give the command again."
            ) from None
        if count := int(learnt.isin(set(ticket_ids)).sum()):
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
        folder = store.root / version
        with only_writer(folder), replacing_folder(folder) as draft:
            shutil.copytree(folder, draft, dirs_exist_ok=True)
            manifest = json.loads((draft / MANIFEST).read_text("utf-8"))
            digests = manifest["files"]
            # A damaged file keeps its old SHA-256: a new one would hide the damage.
            sound = [name for name in digests if _sha256(draft / name) == digests[name]]
            _erase_from_folder(draft, erased, tokens)
            digests |= {name: _sha256(draft / name) for name in sound}
            text = json.dumps(manifest, indent=2, ensure_ascii=False)
            (draft / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return learnt


def _erase_from_folder(folder: Path, erased: set[str], tokens: Mapping[str, str]) -> None:
    learnt = pd.read_parquet(folder / LEARNT)["ticket_id"]
    vocabulary = vocabulary_from_frame(pd.read_parquet(folder / VOCABULARY))
    _write(folder / VOCABULARY, vocabulary_frame(_without(vocabulary, learnt, erased, tokens)))
    for path in sorted(folder.glob("*.parquet")):
        table = pd.read_parquet(path)
        if "ticket_id" in table:
            _write(path, table[~table["ticket_id"].isin(erased)].reset_index(drop=True))
    evaluation = json.loads((folder / EVALUATION).read_text("utf-8"))
    for target in evaluation["targets"].values():
        target["confident_mistakes"] = [
            mistake
            for mistake in target["confident_mistakes"]
            if mistake["ticket_id"] not in erased
        ]
    text = json.dumps(evaluation, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / EVALUATION).write_text(text + "\n", encoding="utf-8")


def _without(
    vocabulary: Mapping[str, int], learnt: pd.Series, erased: set[str], tokens: Mapping[str, str]
) -> dict[str, int]:
    """The vocabulary without the texts that no other training ticket has."""
    texts = {tokens[ticket] for ticket in learnt if ticket in erased and ticket in tokens}
    texts -= {tokens[ticket] for ticket in learnt if ticket not in erased and ticket in tokens}
    return dict(Counter(vocabulary) - Counter(build_vocabulary(list(texts))))


def _write(path: Path, table: pd.DataFrame) -> None:
    table.to_parquet(path, index=False, compression="zstd")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
