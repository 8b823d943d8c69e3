"""Small changes of a network's linear layers, kept apart from its weights (LoRA).

Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (arXiv 2106.09685).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Adapters = Mapping[str, tuple[Floats, Floats]]
"""By the name of a linear layer, as in `encoder.layer.0.output.dense`, two matrices, of the shapes
(outputs, rank) and (rank, inputs): their product is added to its weights."""


def as_arrays(adapters: Adapters) -> dict[str, npt.NDArray[np.float16]]:
    """The matrices under `<layer>.up` and `<layer>.down`, in the 16 bits in which they are kept."""
    return {
        f"{name}.{part}": matrix.astype(np.float16)
        for name, pair in adapters.items()
        for part, matrix in zip(("up", "down"), pair, strict=True)
    }


def from_arrays(arrays: Mapping[str, npt.NDArray[np.float16]]) -> Adapters:
    """The adapters that `as_arrays` wrote."""
    names = sorted({name.rpartition(".")[0] for name in arrays})
    return {
        name: (
            arrays[f"{name}.up"].astype(np.float32),
            arrays[f"{name}.down"].astype(np.float32),
        )
        for name in names
    }
