"""Linear layers of a network with the product of two small matrices added to their weights, which
alone are learnt (LoRA)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ticket_assets.embedding.adapters import Adapters

RANK = 16
SCALE = 2
_CHANGED = (
    *("attention.self.query", "attention.self.key", "attention.self.value"),
    *("attention.output.dense", "intermediate.dense", "output.dense"),
)


class Adapted(nn.Module):
    """A linear layer with the product of two small matrices added to its weights."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Parameter(torch.randn(RANK, layer.in_features) / layer.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, RANK))

    def forward(self, states: Tensor) -> Tensor:
        kind = states.dtype
        added = (states @ self.down.to(kind).T) @ self.up.to(kind).T
        changed: Tensor = self.layer(states) + SCALE * added
        return changed


def adapt(network: Any) -> dict[str, Adapted]:
    """The layers of a BERT that were replaced by adapted ones, by name; all else is frozen."""
    for parameter in network.parameters():
        parameter.requires_grad = False
    adapted = {}
    for number, layer in enumerate(network.encoder.layer):
        for name in _CHANGED:
            parent, _, last = name.rpartition(".")
            module = layer.get_submodule(parent)
            changed = Adapted(getattr(module, last))
            setattr(module, last, changed)
            adapted[f"encoder.layer.{number}.{name}"] = changed
    return adapted


def learnt_adapters(adapted: dict[str, Adapted], share: float = 1.0) -> Adapters:
    """What was learnt, or a share of it."""
    return {
        name: (
            (share * SCALE * layer.up.detach().numpy()).astype(np.float32),
            layer.down.detach().numpy(),
        )
        for name, layer in adapted.items()
    }
