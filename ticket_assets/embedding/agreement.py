"""Records that an encoder agreed with `transformers`, so that the next load may skip it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ticket_assets.embedding.fingerprint import file_sha256, short_digest
from ticket_assets.embedding.hardware import cpu_features
from ticket_assets.storage.whole_file import replace_file

if TYPE_CHECKING:
    from ticket_assets.embedding.encoder_files import Quantised

_CODE = (
    "encoder.py",
    "encoder_files.py",
    "fused_bert.py",
    "int8_bert.py",
    "quantisation.py",
    "calibration_texts.txt",
)


@dataclass(frozen=True)
class Circumstances:
    """Everything that an agreement depends on; other values need another comparison."""

    encoder: str
    """The key of its vectors: name, revision of the files, precision, tokens."""
    prefix: str
    cpu: str
    libraries: str
    code: str
    """Digest of the modules that are compared and of the one that compares."""

    @classmethod
    def of_this_process(cls, encoder: str, prefix: str) -> Circumstances:
        code = (file_sha256(Path(__file__).with_name(name)) for name in _CODE)
        return cls(
            encoder=encoder,
            prefix=prefix,
            cpu=cpu_features(),
            libraries=" ".join(
                f"{package}=={version(package)}"
                for package in ("torch", "transformers", "tokenizers")
            ),
            code=short_digest(code),
        )

    def path(self, folder: Path) -> Path:
        """Their own file: machines that share a folder do not overwrite each other's."""
        return folder / f"{short_digest(asdict(self).values())}.json"

    def weights_path(self, folder: Path) -> Path:
        """The tensors of an encoder that computes in int8."""
        return self.path(folder).with_suffix(".safetensors")


def is_recorded(circumstances: Circumstances, folder: Path) -> bool:
    """Whether `folder` has the record of an agreement under just these circumstances."""
    try:
        record = json.loads(circumstances.path(folder).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("agreed") == asdict(circumstances)


def record(
    circumstances: Circumstances, folder: Path, cosine: float, quantised: Quantised | None = None
) -> None:
    """Record an agreement with the smallest cosine, and the tensors of an encoder in int8.

    Does nothing where `folder` is read-only: without a record the next load compares again.
    """
    content = json.dumps({"agreed": asdict(circumstances), "least_cosine": cosine}, indent=2)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if quantised is not None:
            from safetensors.torch import save

            replace_file(circumstances.weights_path(folder), save(dict(quantised)))
        replace_file(circumstances.path(folder), content + "\n")
