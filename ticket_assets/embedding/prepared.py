"""Encoders converted beforehand, for places that have neither their weights nor PyTorch.

`python -m ticket_assets.embedding.prepared FOLDER NAME...` prepares those encoders in FOLDER, which
TICKETS_ENCODERS_DIR then names: an image holds them so, read-only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ticket_assets.embedding.conversion import reason_against
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.presets import EncoderModel, description_of, resolve_model
from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.whole_file import replace_file

if TYPE_CHECKING:
    from ticket_assets.embedding.hardware import Precision

FIELDS = ("name", "revision", "prefix", "pooling", "max_tokens", "hidden_size")
"""What is kept of an `EncoderModel`; the rest follows from where it is."""


def prepare(model: EncoderModel, name: str, encoders_dir: Path) -> dict[Precision, str | None]:
    """Converts an encoder, for fp32 and bf16 and in int8, and keeps what `name` stands for.

    Returns, for fp32 and int8, why the encoder is not computed so; None where it is.

    Raises:
        EncoderError: OpenVINO cannot compute it in fp32, or its files cannot be written.
    """
    if reason := reason_against(model, "fp32"):
        raise EncoderError(f"{model.name} cannot be computed by OpenVINO: {reason}")
    reasons: dict[Precision, str | None] = {"fp32": None, "int8": reason_against(model, "int8")}
    path = description_of(name, encoders_dir)
    path.parent.mkdir(exist_ok=True)
    replace_file(path, json.dumps({field: getattr(model, field) for field in FIELDS}) + "\n")
    return reasons


def _prepare_all(encoders_dir: Path, names: list[str]) -> None:
    for name in names:
        model = resolve_model(name, encoders_dir=encoders_dir, allow_download=True)
        for precision, reason in prepare(model, name, encoders_dir).items():
            print(f"{name} in {precision}: {reason or 'ready'}", flush=True)


if __name__ == "__main__":
    try:
        _prepare_all(Path(sys.argv[1]), sys.argv[2:])
    except TicketAssetsError as error:
        sys.exit(str(error))
