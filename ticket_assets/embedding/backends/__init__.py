"""What computes hidden states: OpenVINO on CPUs, transformers on GPUs and for what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Backend(Protocol):
    """A loaded encoder. Several threads may call it at once."""

    path: str
    """Its name, with the reason where it is not OpenVINO."""
    streams: int
    """The number of batches that it computes at the same time."""
    padding_id: int

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text's tokens, special ones included, cut at the longest text."""

    def hidden_states(self, ids: Integers, mask: Integers) -> Floats:
        """Shape (texts, tokens, width); valid until the same thread's next call.

        Args:
            ids: token ids, shape (texts, tokens), padded at the end.
            mask: 1 at each text's own tokens, else 0.
        """

    def reload(self) -> None:
        """Load what computes anew."""
