"""BERT's forward pass with most products in 8-bit integers, for CPUs with AVX512-VNNI.

A product of bytes takes about half as long as one in bf16. Rows are rounded to 256 levels that
`quantisation` has fixed beforehand, so that a text's vector does not depend on its neighbours.
Attention, its output, and the few feed-forward channels whose range would spoil the others' levels
are computed as in `FusedBert`; sums, residuals and layer norms in fp32.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from ticket_assets.embedding.fused_bert import (
    FusedBert,
    Layer,
    Linear,
    Norm,
    Shape,
    Weights,
    packing,
)

if TYPE_CHECKING:
    from torch import Tensor


class Int8Bert(FusedBert):
    """The hidden states, in fp32, of an encoder of the BERT or RoBERTa family."""

    def __init__(
        self, config: Mapping[str, Any], weights: Weights, quantised: Mapping[str, Tensor]
    ) -> None:
        """Like `FusedBert`.

        Args:
            config: what config.json says.
            weights: by name, bf16 or fp32: of everything that is not computed in integers.
            quantised: what `quantise` returned for this encoder.

        Raises:
            NotFusableError: as for `FusedBert`, or something in `quantised` is missing.
        """
        super().__init__(config, weights, functools.partial(_Int8Layer, quantised))


class _Int8Layer(Layer):
    def __init__(
        self,
        quantised: Mapping[str, Tensor],
        weights: Weights,
        name: str,
        heads: int,
        epsilon: float,
    ) -> None:
        def norm(of: str) -> Norm:
            return Norm(lambda part: weights(part).float(), f"{name}.{of}.LayerNorm", epsilon)

        self._heads = heads
        projections = _part(quantised, f"{name}.query_key_value")
        self._projection_levels = _Levels(projections)
        self._projections = _Int8Linear(projections)
        self._attention_output = Linear.of(weights, f"{name}.attention.output.dense")
        self._attention_norm = norm("attention.output")

        widen, narrow = _part(quantised, f"{name}.widen"), _part(quantised, f"{name}.narrow")
        # The feed-forward channels, those that stay out of the integers first.
        order = quantised[f"{name}.order"]
        outliers = len(order) - narrow["weight"].shape[1]
        self._widen_levels = _Levels(widen)
        self._widen_outliers = _Int8Linear(widen, slice(outliers))
        self._widen_others = _Int8Linear(widen, slice(outliers, None))
        matrix = weights(f"{name}.output.dense.weight")
        self._narrow_outliers = Linear(matrix[:, order[:outliers]], matrix.new_zeros(len(matrix)))
        self._narrow_others = _Int8Linear(narrow)
        self._between = float(narrow["step"]), int(narrow["zero_level"])
        self._norm = norm("output")
        self._kind = matrix.dtype

    def __call__(self, hidden: Tensor, shape: Shape) -> Tensor:
        hidden = hidden.float()
        projected = self._projections(self._projection_levels(hidden), self._kind)
        mixed = self._attention_output(self._attend(projected, shape))
        hidden = self._attention_norm(hidden.add_(mixed))
        levels = self._widen_levels(hidden)
        outliers = self._widen_outliers(levels, self._kind, "gelu")
        others = self._widen_others(levels, torch.uint8, "gelu", *self._between)
        fed = hidden.add_(self._narrow_outliers(outliers))
        return self._norm(self._narrow_others.add(others, fed))


class _Levels:
    """Rounds each column of fp32 rows to the 256 levels of its own range."""

    def __init__(self, quantised: Mapping[str, Tensor]) -> None:
        self._multiplier, self._offset = quantised["multiplier"], quantised["offset"]

    def __call__(self, rows: Tensor) -> Tensor:
        levels = torch.addcmul(self._offset, rows, self._multiplier).round_().clamp_(-128, 127)
        # From -128...127 to 0...255 by turning the sign bit: oneDNN wants them unsigned.
        return levels.to(torch.int8).view(torch.uint8).bitwise_xor_(128)


class _Int8Linear:
    """A linear layer of unsigned levels with signed weights, of the output channels `rows`."""

    def __init__(self, quantised: Mapping[str, Tensor], rows: slice = slice(None)) -> None:
        with packing():
            self._weight = torch.ops.onednn.qlinear_prepack(
                quantised["weight"][rows].contiguous(), None
            )
        self._step = float(quantised["step"])
        self._scales = quantised["weight_scale"][rows].contiguous()
        self._zeros = torch.zeros(len(self._scales), dtype=torch.int64)
        self._bias = quantised["bias"][rows].contiguous()

    def __call__(
        self,
        levels: Tensor,
        kind: torch.dtype,
        activation: str = "none",
        step: float = 1.0,
        zero_level: int = 0,
    ) -> Tensor:
        """Rows of `kind`; for uint8, levels of width `step`."""
        # The levels' own zero is in the bias: oneDNN would compute it anew for each product.
        weight = (levels, self._step, 0, self._weight, self._scales, self._zeros, self._bias)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            *weight, step, zero_level, kind, activation, [], "none"
        )
        return product

    def add(self, levels: Tensor, rows: Tensor) -> Tensor:
        """The product added to `rows`, fp32, in place."""
        weight = (self._weight, self._scales, self._zeros, rows, self._bias)
        total: Tensor = torch.ops.onednn.qlinear_pointwise.binary(
            *(levels, self._step, 0, *weight, 1.0, 0, torch.float32),
            *(1.0, 0, "sum", 1.0, "none", [], "none"),
        )
        return total


def _part(quantised: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    start = f"{name}."
    return {
        key.removeprefix(start): tensor
        for key, tensor in quantised.items()
        if key.startswith(start)
    }
