"""Saved classifiers: written whole or not at all, checked before use, one of them the champion."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from ticket_assets.classification.candidates import Expert
from ticket_assets.classification.evaluation import Evaluation
from ticket_assets.classification.familiarity import Familiarity
from ticket_assets.classification.features import FeatureSpace
from ticket_assets.classification.learnt_tickets import LearntTickets
from ticket_assets.classification.likely_labels import LikelyLabels
from ticket_assets.classification.model_card import model_card
from ticket_assets.classification.prediction import Classifier, TargetModel
from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.classification.vocabulary import vocabulary_frame, vocabulary_from_frame
from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.blobs import BlobChangedError, BlobNotFoundError, Blobs

FORMAT = 2
"""Raise it when a saved classifier can no longer be read by the code before."""
MODEL, EVALUATION, CARD, MANIFEST = (
    "model.skops",
    "evaluation.json",
    "model_card.md",
    "manifest.json",
)
TABLES = ("reference", "vocabulary", "holdout", "training_tickets", "label_errors")
LEARNT = "training_tickets.parquet"
CHAMPION = "champion.json"
REPLACEMENT = "replacement"
"""Below a version, files that take the place of its own."""
ALLOWED_TYPES: frozenset[str] = frozenset()
"""Types a model file may hold beyond those skops trusts by itself (plain Python, NumPy, SciPy and
scikit-learn). None are needed; one that a library update makes necessary is added here by hand."""
_VERSION = re.compile(r"[0-9a-f]{12}")


class ModelError(TicketAssetsError):
    """A saved classifier is missing, damaged, or not one this code may load."""


@dataclass(frozen=True)
class ModelVersion:
    """A saved classifier: its name, and its manifest's entries."""

    version: str
    fingerprint: str
    encoder: str
    labels: Mapping[str, tuple[str, ...]]
    training_tickets: int
    created_at: str


@dataclass(frozen=True)
class _Record:
    """champion.json: the champions in turn, the last one in use, and those rolled back."""

    history: list[str]
    rolled_back: list[str]
    blob_version: str | None = None
    """Of the blob that was read; None where there is none yet."""


class ModelStore:
    """`<version>/<file>` for each saved classifier, and the champion's name.

    A version counts once its manifest is there, which is written last and removed first. Who saves,
    replaces or removes versions holds the desk's lease of its models.
    """

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs

    def save(self, trained: TrainedClassifier, created_at: datetime) -> ModelVersion:
        """The version this classifier is saved as: the first 12 digits of its fingerprint, or of
        the one that it had before its categories were renamed.

        The same training gives the same version and the same bytes (but for `created_at`, kept
        from the first time); a sound version that exists already is left as it is.
        """
        version = self._version_of(trained.evaluation.fingerprint)
        try:
            self.require_sound(version)
        except ModelError:
            files = _contents(trained, version)
            manifest = _manifest(trained, version, created_at, files)
            self._discard_replacement(version)
            self.blobs.write((f"{version}/{name}", content) for name, content in files.items())
            self.blobs.replace(f"{version}/{MANIFEST}", manifest)
        return self.version(version)

    def load(self, version: str) -> Classifier:
        """The classifier of this version.

        Raises:
            ModelError: the version or one of its files is missing, a file is not the one that was
                saved, or the model holds a type that may not be loaded.
        """
        return _classifier(self._files(version)[MODEL], version)

    def load_trained(self, version: str) -> TrainedClassifier:
        """Everything that was saved for this version; raises like `load`."""
        files = self._files(version)
        tables = {name: read_table(files[f"{name}.parquet"]) for name in TABLES}
        return TrainedClassifier(
            classifier=_classifier(files[MODEL], version),
            evaluation=_evaluation(files[EVALUATION]),
            vocabulary=vocabulary_from_frame(tables.pop("vocabulary")),
            **tables,
        )

    def load_familiarity(self, version: str, classifier: Classifier) -> Familiarity:
        """What this version has learnt from, to compare new tickets with; raises like `load`."""
        names = "reference.parquet", "vocabulary.parquet"
        files = self._files(version, *names)
        reference, vocabulary = (read_table(files[name]) for name in names)
        if "unlearnt_words" not in reference:
            # Of a training that compared each ticket with all others.
            reference = reference.assign(
                wording=range(len(reference)),
                unlearnt_words=reference["oov_share"],
                unlearnt_pairs=1.0,
            )
        return Familiarity.of(reference, vocabulary_from_frame(vocabulary), classifier.space)

    def load_likely_labels(self, version: str, classifier: Classifier) -> LikelyLabels:
        """The likely categories of tickets that a person has to look at; raises like `load`."""
        holdout = "holdout.parquet"
        columns = ["category", "category_automatic", "category_probabilities"]
        return LikelyLabels.of(
            read_table(self._files(version, holdout)[holdout], columns),
            classifier.targets["category"].labels,
        )

    def load_learnt_tickets(self, version: str, classifier: Classifier) -> LearntTickets:
        """What was recorded of the tickets that it has learnt from; raises like `load`."""
        return LearntTickets.of(
            read_table(self._files(version, LEARNT)[LEARNT]), classifier.targets
        )

    def find_trained(self, fingerprint: str) -> TrainedClassifier | None:
        """The classifier saved with this fingerprint; None when it is missing or damaged."""
        try:
            trained = self.load_trained(self._version_of(fingerprint))
        except ModelError:
            return None
        return trained if trained.evaluation.fingerprint == fingerprint else None

    def _version_of(self, fingerprint: str) -> str:
        for version in self.names():
            with suppress(ModelError):
                if self.version(version).fingerprint == fingerprint:
                    return version
        return fingerprint[:12]

    def load_evaluation(self, version: str) -> Evaluation:
        """The evaluation of this version; raises like `load`, and reads no other file."""
        return _evaluation(self._files(version, EVALUATION)[EVALUATION])

    def card(self, version: str) -> str:
        """The model card of this version, as markdown; raises like `load_evaluation`."""
        return self._files(version, CARD)[CARD].decode()

    def require_sound(self, version: str) -> None:
        """Raises like `load` where it would, except for the types in the model."""
        self._files(version)

    def version(self, version: str) -> ModelVersion:
        """A saved version, from its manifest; its other files are not read.

        Raises:
            ModelError: there is no such version, or its manifest cannot be read.
        """
        manifest = self.manifest(version)
        try:
            return ModelVersion(
                version=version,
                labels={name: tuple(labels) for name, labels in manifest["labels"].items()},
                **{
                    name: manifest[name]
                    for name in ("fingerprint", "encoder", "training_tickets", "created_at")
                },
            )
        except (KeyError, AttributeError, TypeError):
            raise self._damaged(version, f"{MANIFEST} lacks entries") from None

    def names(self) -> list[str]:
        """The names of all saved versions, readable or not."""
        return [name for name in self.blobs.folders() if _is_version(name)]

    def remove(self, versions: Iterable[str]) -> None:
        """Remove saved versions whole; after a crash, what is left is removed by the next."""
        for version in versions:
            self.blobs.delete([f"{version}/{MANIFEST}"])
            self.blobs.delete([blob.name for blob in self.blobs.list(version)])

    def files(self, version: str, *names: str) -> dict[str, bytes]:
        """The unchecked contents of these files of the version, or of all; no missing ones."""
        return self._read(version, names or _file_names())

    def replace(self, version: str, files: Mapping[str, bytes], manifest: bytes) -> None:
        """Replace some files of a version and its manifest, all or none.

        They are written beside the version first, then its new manifest; from then on readers see
        them, and `finish_replacements` does the rest after a crash.
        """
        self._discard_replacement(version)
        self.blobs.write((f"{version}/{REPLACEMENT}/{name}", files[name]) for name in files)
        self.blobs.replace(f"{version}/{REPLACEMENT}/{MANIFEST}", manifest)
        self._finish_replacement(version)

    def finish_replacements(self) -> None:
        """Complete the replacements that a dead process left, or undo those that had not begun."""
        for version in {
            blob.name.partition("/")[0]
            for blob in self.blobs.list()
            if blob.name.split("/")[1:2] == [REPLACEMENT]
        }:
            self._finish_replacement(version)

    def champion_name(self) -> str | None:
        """The name of the version in use; None before the first promotion. Reads no model file.

        Raises:
            ModelError: it cannot be read.
        """
        history = self._record().history
        return history[-1] if history else None

    def champion_changed_at(self) -> datetime | None:
        """When the champion was changed last, by promotion or rollback; None before the first."""
        return next((blob.modified_at for blob in self.blobs.list() if blob.name == CHAMPION), None)

    def champion(self) -> ModelVersion | None:
        """The version in use, or None before the first promotion.

        Raises:
            ModelError: the champion's name cannot be read, or its files are gone.
        """
        name = self.champion_name()
        return self.version(name) if name else None

    def require_champion(self) -> ModelVersion:
        """The version in use.

        Raises:
            ModelError: there is none yet, or it cannot be read.
        """
        champion = self.champion()
        if champion is None:
            raise ModelError(
                f"There is no champion model in {self.blobs.location} yet. Materialise"
                " ticket_classifier: tickets run."
            )
        return champion

    def promote(self, version: str) -> ModelVersion:
        """Checks this version's files and makes it the champion; remembers the former one."""
        self.require_sound(version)
        record = self._record()
        if not record.history or record.history[-1] != version:
            self._write(
                _Record(
                    [*record.history, version],
                    [name for name in record.rolled_back if name != version],
                    record.blob_version,
                )
            )
        return self.version(version)

    def forget_champions(self) -> None:
        """There is no champion until the next promotion, as before the first one. What a person
        took back stays taken back."""
        self._write(replace(self._record(), history=[]))

    def former_champions(self) -> tuple[str, ...]:
        """Versions that `rollback` would go back to, the latest last."""
        return tuple(self._record().history[:-1])

    def rolled_back(self) -> tuple[str, ...]:
        """Versions that were champion until `rollback` took them back, the latest last."""
        return tuple(self._record().rolled_back)

    def rollback(self) -> ModelVersion:
        """Makes the former champion the champion again, and remembers which one it took back.

        Raises:
            ModelError: there is no former champion, or it is damaged.
        """
        record = self._record()
        history = record.history
        if len(history) < 2:
            raise ModelError(
                f"There is no former champion in {self.blobs.location} to go back to: "
                f"{'only ' + history[0] if history else 'none'} was ever promoted."
            )
        self.require_sound(history[-2])
        self._write(_Record(history[:-1], [*record.rolled_back, history[-1]], record.blob_version))
        return self.version(history[-2])

    def _record(self) -> _Record:
        try:
            content, blob_version = self.blobs.read_version(CHAMPION)
            record = json.loads(content)
        except BlobNotFoundError:
            return _Record([], [])
        except ValueError as error:
            raise ModelError(
                f"{CHAMPION} in {self.blobs.location} cannot be read ({type(error).__name__})."
                " Delete it and materialise ticket_classifier: tickets run."
            ) from None
        record = record if isinstance(record, dict) else {}
        # `rolled_back` came later: without it, nothing was rolled back.
        lists = [record.get("history"), record.get("rolled_back", [])]
        if not all(isinstance(names, list) and all(map(_is_version, names)) for names in lists):
            raise ModelError(
                f"{CHAMPION} in {self.blobs.location} does not list versions. Delete it and promote"
                " one again."
            )
        return _Record(lists[0], lists[1], blob_version)

    def _write(self, record: _Record) -> None:
        """Write the champions unless another process has changed them since they were read."""
        entries = asdict(record)
        former = entries.pop("blob_version")
        entries = {"champion": next(reversed(record.history), None), **entries}
        text = json.dumps(entries, indent=2) + "\n"
        try:
            if former is not None:
                self.blobs.replace(CHAMPION, text.encode(), former)
                return
            is_written = self.blobs.create(CHAMPION, text.encode())
        except BlobChangedError:
            is_written = False
        if not is_written:
            raise ModelError(
                f"Another process has changed the champion in {self.blobs.location} meanwhile, and"
                " nothing was changed here. Look at `tickets model list`, then do the same again."
            )

    def manifest(self, version: str) -> dict[str, Any]:
        """The manifest of a version.

        Raises:
            ModelError: there is no such version, its manifest cannot be read, or another release
                wrote it.
        """
        if not _VERSION.fullmatch(version):
            raise ModelError(f"{version!r} is not a model version: 12 hexadecimal digits expected.")
        where = self.blobs.location
        try:
            manifest = json.loads(self.blobs.read(f"{version}/{MANIFEST}"))
        except BlobNotFoundError:
            raise ModelError(
                f"There is no classifier {version} in {where}. Materialise candidate_classifier to"
                " train one."
            ) from None
        except ValueError as error:
            raise self._damaged(version, f"{MANIFEST} cannot be read ({error})") from None
        if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
            raise self._damaged(version, f"{MANIFEST} does not say its format")
        if manifest["format"] != FORMAT:
            raise ModelError(
                f"The classifier {version} in {where} was saved in format {manifest['format']}, and"
                f" this release reads format {FORMAT}. Delete what is in {where} and train again:"
                " tickets run."
            )
        return manifest

    def _files(self, version: str, *names: str) -> dict[str, bytes]:
        """The contents of these files of the version, or of all, each compared with its SHA-256."""
        digests = self.manifest(version).get("files")
        if not isinstance(digests, dict):
            raise self._damaged(version, f"{MANIFEST} lacks the files' SHA-256")
        names = names or _file_names()
        files = self._read(version, names)
        try:
            self._require_intact(version, names, files, digests)
        except ModelError:
            # A replacement may be under way, or have died when its files were all there.
            replacement = self._read(f"{version}/{REPLACEMENT}", (MANIFEST, *names))
            if MANIFEST not in replacement:
                raise
            files |= replacement
            digests = json.loads(files.pop(MANIFEST))["files"]
            self._require_intact(version, names, files, digests)
        return files

    def _require_intact(
        self,
        version: str,
        names: Iterable[str],
        files: Mapping[str, bytes],
        digests: Mapping[str, str],
    ) -> None:
        for name in names:
            if name not in files:
                raise self._damaged(version, f"{name} is missing")
            if sha256(files[name]) != digests.get(name):
                raise self._damaged(version, f"the SHA-256 of {name} is not the one recorded")

    def _read(self, folder: str, names: Iterable[str]) -> dict[str, bytes]:
        start = f"{folder}/"
        blobs = self.blobs.read_many(start + name for name in names)
        return {name.removeprefix(start): content for name, content in blobs}

    def _finish_replacement(self, version: str) -> None:
        files = self._read(f"{version}/{REPLACEMENT}", (MANIFEST, *_file_names()))
        if manifest := files.pop(MANIFEST, None):
            self.blobs.write((f"{version}/{name}", content) for name, content in files.items())
            self.blobs.replace(f"{version}/{MANIFEST}", manifest)
        self._discard_replacement(version)

    def _discard_replacement(self, version: str) -> None:
        start = f"{version}/{REPLACEMENT}"
        # Without its manifest nobody takes what is left for a whole replacement.
        self.blobs.delete([f"{start}/{MANIFEST}"])
        self.blobs.delete([blob.name for blob in self.blobs.list(start)])

    def _damaged(self, version: str, reason: str) -> ModelError:
        return ModelError(
            f"The classifier {version} in {self.blobs.location} is damaged: {reason}. Roll back to"
            " the former champion, or delete its folder and materialise candidate_classifier."
        )


def read_table(content: bytes, columns: list[str] | None = None) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(content), columns=columns)


def table_bytes(table: pd.DataFrame) -> bytes:
    return table.to_parquet(index=False, compression="zstd")


def json_bytes(content: Any, indent: int) -> bytes:
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_version(name: object) -> bool:
    return isinstance(name, str) and bool(_VERSION.fullmatch(name))


def _file_names() -> tuple[str, ...]:
    return (MODEL, EVALUATION, CARD, *(f"{name}.parquet" for name in TABLES))


def _evaluation(content: bytes) -> Evaluation:
    return Evaluation.from_dict(json.loads(content))


def _contents(trained: TrainedClassifier, version: str) -> dict[str, bytes]:
    """The content of each file but the manifest."""
    tables = {name: getattr(trained, name) for name in TABLES}
    tables["vocabulary"] = vocabulary_frame(trained.vocabulary)
    return {
        MODEL: model_bytes(trained.classifier),
        EVALUATION: json_bytes(trained.evaluation.to_dict(), indent=1),
        CARD: model_card(trained, version).encode(),
        **{f"{name}.parquet": table_bytes(table) for name, table in tables.items()},
    }


def _manifest(
    trained: TrainedClassifier, version: str, created_at: datetime, files: Mapping[str, bytes]
) -> bytes:
    manifest = {
        "format": FORMAT,
        "version": version,
        "fingerprint": trained.evaluation.fingerprint,
        "encoder": trained.classifier.encoder,
        "labels": {name: list(model.labels) for name, model in trained.classifier.targets.items()},
        "training_tickets": len(trained.training_tickets),
        # Of no use here; the release before refuses a manifest without them.
        "training_from": trained.evaluation.training_from,
        "training_to": trained.evaluation.training_to,
        "created_at": created_at.isoformat(),
        "files": {name: sha256(content) for name, content in files.items()},
    }
    return json_bytes(manifest, indent=2)


def _skops() -> ModuleType:
    """skops.io, loaded without PyTorch.

    For its list of estimators skops imports every package of scikit-learn. The one that adapts
    PyTorch holds none, and costs every process that reads a model 2.5 s.
    """
    adapter = "sklearn.externals.array_api_compat.torch"
    sys.modules.setdefault(adapter, None)  # type: ignore[arg-type]
    try:
        import skops.io
    finally:
        if sys.modules[adapter] is None:
            del sys.modules[adapter]
    return skops.io  # type: ignore[no-any-return]


def model_bytes(classifier: Classifier) -> bytes:
    """The content of the file `MODEL`; equal models give equal bytes."""
    parts = {
        "encoder": classifier.encoder,
        "space": vars(classifier.space),
        "targets": {
            name: {
                **vars(model),
                "labels": list(model.labels),
                "experts": [vars(expert) for expert in model.experts],
            }
            for name, model in classifier.targets.items()
        },
    }
    return _without_traces(_skops().dumps(parts))


def _without_traces(content: bytes) -> bytes:
    """The same skops file without times and memory addresses, so that equal models are equal bytes.

    skops names its members and marks its nodes after `id()`; here they get numbers in their order.
    """
    numbers: dict[int, int] = {}
    members: dict[str, str] = {}

    def numbered(node: Any) -> Any:
        if isinstance(node, list):
            return [numbered(part) for part in node]
        if not isinstance(node, dict):
            return node
        renamed: dict[str, Any] = {}
        for key, value in node.items():
            if key == "__id__":
                renamed[key] = numbers.setdefault(value, len(numbers))
            elif key == "file" and isinstance(value, str):
                renamed[key] = members.setdefault(value, f"{len(members)}{Path(value).suffix}")
            else:
                renamed[key] = numbered(value)
        return renamed

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = numbered(json.loads(archive.read("schema.json")))
        data = {members[name]: archive.read(name) for name in archive.namelist() if name in members}
    data["schema.json"] = json.dumps(schema).encode()
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(data):
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, data[name])
    return output.getvalue()


def _classifier(content: bytes, version: str) -> Classifier:
    skops = _skops()
    try:
        types = set(skops.get_untrusted_types(data=content))
        if refused := sorted(types - ALLOWED_TYPES):
            raise ModelError(
                f"The classifier {version} holds types that may not be loaded: "
                f"{', '.join(refused)}. It was not written by this product; delete its folder."
            )
        return _from_parts(skops.loads(content, trusted=sorted(types)))
    except ModelError:
        raise
    except Exception as error:
        # skops, zipfile and scikit-learn raise errors of any kind for a foreign or older file.
        raise ModelError(
            f"The classifier {version} cannot be loaded: {' '.join(str(error).split())}. "
            "Materialise candidate_classifier to train a new one."
        ) from error


def _from_parts(parts: Mapping[str, Any]) -> Classifier:
    targets = {
        name: TargetModel(
            **{
                **part,
                "labels": tuple(part["labels"]),
                "experts": tuple(Expert(**expert) for expert in part["experts"]),
            }
        )
        for name, part in parts["targets"].items()
    }
    return Classifier(parts["encoder"], FeatureSpace(**parts["space"]), targets)
