"""Classifiers on disk: saved whole or not at all, checked before use, one of them the champion."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from ticket_assets.classification.candidates import Expert
from ticket_assets.classification.evaluation import Evaluation
from ticket_assets.classification.features import FeatureSpace
from ticket_assets.classification.model_card import model_card
from ticket_assets.classification.prediction import Classifier, TargetModel
from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.classification.vocabulary import vocabulary_frame, vocabulary_from_frame
from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.whole_file import replace_file
from ticket_assets.storage.whole_folder import (
    clear_remains,
    only_writer,
    remove_folder,
    replacing_folder,
)

FORMAT = 2
"""Raise it when a saved classifier can no longer be read by the code before."""
MODEL, EVALUATION, CARD, MANIFEST = (
    "model.skops",
    "evaluation.json",
    "model_card.md",
    "manifest.json",
)
TABLES = ("reference", "vocabulary", "holdout", "training_tickets", "label_errors")
CHAMPION = "champion.json"
ALLOWED_TYPES: frozenset[str] = frozenset()
"""Types a model file may hold beyond those skops trusts by itself (plain Python, NumPy, SciPy and
scikit-learn). None are needed; one that a library update makes necessary is added here by hand."""
_VERSION = re.compile(r"[0-9a-f]{12}")


class ModelError(TicketAssetsError):
    """A saved classifier is missing, damaged, or not one this code may load."""


@dataclass(frozen=True)
class ModelVersion:
    """A saved classifier: its name, its folder, and its manifest's entries."""

    version: str
    path: Path
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


class ModelStore:
    """The folder `root` with one folder per saved classifier, and the champion's name."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def save(self, trained: TrainedClassifier, created_at: datetime) -> ModelVersion:
        """The version this classifier is saved as: the first 12 digits of its fingerprint.

        The same training gives the same version and the same bytes (but for `created_at`, kept
        from the first time); a sound version that exists already is left as it is.
        """
        version = trained.evaluation.fingerprint[:12]
        folder = self.root / version
        with only_writer(folder):
            try:
                return self._verified(version)
            except ModelError:
                with replacing_folder(folder) as draft:
                    _write(draft, trained, version, created_at)
        return self.version(version)

    def load(self, version: str) -> Classifier:
        """The classifier of this version.

        Raises:
            ModelError: the version or one of its files is missing, a file is not the one that was
                saved, or the model holds a type that may not be loaded.
        """
        self._verified(version)
        return _classifier((self.root / version / MODEL).read_bytes(), version)

    def load_trained(self, version: str) -> TrainedClassifier:
        """Everything that was saved for this version; raises like `load`."""
        folder = self._verified(version).path
        tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES}
        return TrainedClassifier(
            classifier=_classifier((folder / MODEL).read_bytes(), version),
            evaluation=self.load_evaluation(version),
            vocabulary=vocabulary_from_frame(tables.pop("vocabulary")),
            **tables,
        )

    def find_trained(self, fingerprint: str) -> TrainedClassifier | None:
        """The classifier saved with this fingerprint; None when it is missing or damaged."""
        try:
            trained = self.load_trained(fingerprint[:12])
        except ModelError:
            return None
        return trained if trained.evaluation.fingerprint == fingerprint else None

    def load_evaluation(self, version: str) -> Evaluation:
        """The evaluation of this version; raises like `load`."""
        content = (self._verified(version).path / EVALUATION).read_text("utf-8")
        return Evaluation.from_dict(json.loads(content))

    def learnt_tickets(self, version: str) -> pd.Series:
        """Ids of the tickets that this version was fitted on; raises like `load`."""
        path = self._verified(version).path / "training_tickets.parquet"
        return pd.read_parquet(path, columns=["ticket_id"])["ticket_id"]

    def card(self, version: str) -> str:
        """The model card of this version, as markdown; raises like `load`."""
        return (self._verified(version).path / CARD).read_text("utf-8")

    def version(self, version: str) -> ModelVersion:
        """A saved version, from its manifest; its other files are not read.

        Raises:
            ModelError: there is no such version, or its manifest cannot be read.
        """
        manifest = self._manifest(version)
        try:
            return ModelVersion(
                version=version,
                path=self.root / version,
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
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if _is_version(path.name))

    def remove(self, versions: Iterable[str]) -> None:
        """Remove saved versions whole, and what is left of those that a killed process removed."""
        for version in versions:
            folder = self.root / version
            with only_writer(folder):
                if folder.exists():
                    remove_folder(folder)
        clear_remains(self.root)

    def champion_name(self) -> str | None:
        """The name of the version in use; None before the first promotion. Reads no model file.

        Raises:
            ModelError: it cannot be read.
        """
        history = self._record().history
        return history[-1] if history else None

    def champion(self) -> ModelVersion | None:
        """The version in use, or None before the first promotion.

        Raises:
            ModelError: the champion's name cannot be read, or its folder is gone.
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
                f"There is no champion model in {self.root.absolute()} yet. Materialise"
                " ticket_classifier: tickets run."
            )
        return champion

    def promote(self, version: str) -> ModelVersion:
        """Checks this version's files and makes it the champion; remembers the former one."""
        promoted = self._verified(version)
        record = self._record()
        if not record.history or record.history[-1] != version:
            self._write(
                _Record(
                    [*record.history, version],
                    [name for name in record.rolled_back if name != version],
                )
            )
        return promoted

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
                f"There is no former champion in {self.root} to go back to: "
                f"{'only ' + history[0] if history else 'none'} was ever promoted."
            )
        former = self._verified(history[-2])
        self._write(_Record(history[:-1], [*record.rolled_back, history[-1]]))
        return former

    def _record(self) -> _Record:
        path = self.root / CHAMPION
        try:
            content = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return _Record([], [])
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{path} cannot be read ({type(error).__name__}). Delete it and materialise"
                " ticket_classifier: tickets run."
            ) from None
        record = content if isinstance(content, dict) else {}
        # `rolled_back` came later: without it, nothing was rolled back.
        lists = [record.get("history"), record.get("rolled_back", [])]
        if not all(isinstance(names, list) and all(map(_is_version, names)) for names in lists):
            raise ModelError(f"{path} does not list versions. Delete it and promote one again.")
        return _Record(*lists)

    def _write(self, record: _Record) -> None:
        content = json.dumps({"champion": record.history[-1], **asdict(record)}, indent=2)
        replace_file(self.root / CHAMPION, content + "\n")

    def _manifest(self, version: str) -> dict[str, Any]:
        if not _VERSION.fullmatch(version):
            raise ModelError(f"{version!r} is not a model version: 12 hexadecimal digits expected.")
        path = self.root / version / MANIFEST
        try:
            manifest = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise ModelError(
                f"There is no classifier {version} in {self.root}. Materialise "
                "candidate_classifier to train one."
            ) from None
        except (OSError, ValueError) as error:
            raise self._damaged(version, f"{MANIFEST} cannot be read ({error})") from None
        if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
            raise self._damaged(version, f"{MANIFEST} does not say its format")
        if manifest["format"] != FORMAT:
            raise ModelError(
                f"The classifier {version} in {self.root} was saved in format"
                f" {manifest['format']}, and this release reads format {FORMAT}. Delete the folder"
                f" {self.root} and train again: tickets run."
            )
        return manifest

    def _verified(self, version: str) -> ModelVersion:
        files = self._manifest(version).get("files")
        if not isinstance(files, dict):
            raise self._damaged(version, f"{MANIFEST} lacks the files' SHA-256")
        for name in _file_names():
            path = self.root / version / name
            try:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                raise self._damaged(version, f"{name}: {error.strerror}") from None
            if digest != files.get(name):
                raise self._damaged(version, f"the SHA-256 of {name} is not the one recorded")
        return self.version(version)

    def _damaged(self, version: str, reason: str) -> ModelError:
        return ModelError(
            f"The classifier {version} in {self.root} is damaged: {reason}. Roll back to the "
            "former champion, or delete its folder and materialise candidate_classifier."
        )


def _is_version(name: object) -> bool:
    return isinstance(name, str) and bool(_VERSION.fullmatch(name))


def _file_names() -> tuple[str, ...]:
    return (MODEL, EVALUATION, CARD, *(f"{name}.parquet" for name in TABLES))


def _write(folder: Path, trained: TrainedClassifier, version: str, created_at: datetime) -> None:
    (folder / MODEL).write_bytes(_model_bytes(trained.classifier))
    evaluation = json.dumps(
        trained.evaluation.to_dict(), indent=1, ensure_ascii=False, allow_nan=False
    )
    (folder / EVALUATION).write_text(evaluation + "\n", encoding="utf-8")
    (folder / CARD).write_text(model_card(trained, version), encoding="utf-8")
    for name in TABLES:
        is_vocabulary = name == "vocabulary"
        table = vocabulary_frame(trained.vocabulary) if is_vocabulary else getattr(trained, name)
        table.to_parquet(folder / f"{name}.parquet", index=False, compression="zstd")
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
        "files": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _file_names()
        },
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


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


def _model_bytes(classifier: Classifier) -> bytes:
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
