"""Takes erased tickets out of what is saved beside a classifier."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from ticket_assets.classification.model_store import EVALUATION, MANIFEST, ModelError, ModelStore
from ticket_assets.classification.vocabulary import vocabulary_frame, vocabulary_from_frame
from ticket_assets.storage.whole_file import replace_file
from ticket_assets.storage.whole_folder import finish_replacing, only_writer, replacing_folder

VOCABULARY = "vocabulary.parquet"
LEARNT = "training_tickets.parquet"


def learnt_from(store: ModelStore, ticket_ids: Collection[str]) -> dict[str, int]:
    """By version, how many of the tickets the saved classifier was trained on, where it was.

    Raises:
        ModelError: a version cannot be searched.
    """
    for left in store.root.glob(".*.complete"):
        finish_replacing(store.root / left.name.removeprefix(".").removesuffix(".complete"))
    found = {}
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
            found[version] = count
    return found


def erase_from_models(
    store: ModelStore, ticket_ids: Collection[str], tokens: Mapping[str, str]
) -> dict[str, int]:
    """Remove the tickets' rows, words and ids from the saved versions; what `learnt_from` says.

    The classifier itself stays: its weights are of hashed words and hold no text. Its figures stay
    those of the tickets it was judged on.

    Args:
        tokens: `clean_tickets.tokens` of every ticket that is still there, by ticket id.
    """
    gone = set(ticket_ids)
    learnt = learnt_from(store, gone)
    for version in learnt:
        folder = store.root / version
        with only_writer(folder), replacing_folder(folder) as draft:
            shutil.copytree(folder, draft, dirs_exist_ok=True)
            manifest = json.loads((draft / MANIFEST).read_text("utf-8"))
            # A file that is damaged stays so: a new SHA-256 would hide it.
            sound = [
                name
                for name, digest in manifest["files"].items()
                if _sha256(draft / name) == digest
            ]
            _forget(draft, gone, tokens)
            manifest["files"] |= {name: _sha256(draft / name) for name in sound}
            replace_file(
                draft / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
            )
    return learnt


def _forget(folder: Path, gone: set[str], tokens: Mapping[str, str]) -> None:
    learnt = pd.read_parquet(folder / LEARNT)["ticket_id"]
    vocabulary = vocabulary_from_frame(pd.read_parquet(folder / VOCABULARY))
    _write(folder / VOCABULARY, vocabulary_frame(_without(vocabulary, learnt, gone, tokens)))
    for path in sorted(folder.glob("*.parquet")):
        table = pd.read_parquet(path)
        if "ticket_id" in table:
            _write(path, table[~table["ticket_id"].isin(gone)].reset_index(drop=True))
    evaluation = json.loads((folder / EVALUATION).read_text("utf-8"))
    for target in evaluation["targets"].values():
        target["confident_mistakes"] = [
            mistake for mistake in target["confident_mistakes"] if mistake["ticket_id"] not in gone
        ]
    replace_file(
        folder / EVALUATION,
        json.dumps(evaluation, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    )


def _without(
    vocabulary: Mapping[str, int], learnt: pd.Series, gone: set[str], tokens: Mapping[str, str]
) -> dict[str, int]:
    """The vocabulary without the texts that no other training ticket has."""
    texts = {tokens[ticket] for ticket in learnt if ticket in gone and ticket in tokens}
    texts -= {tokens[ticket] for ticket in learnt if ticket not in gone and ticket in tokens}
    left = dict(vocabulary)
    for text in texts:
        for word in set(text.split()):
            left[word] = left.get(word, 0) - 1
    return {word: count for word, count in left.items() if count > 0}


def _write(path: Path, table: pd.DataFrame) -> None:
    table.to_parquet(path, index=False, compression="zstd")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
