"""Int8 weights for an encoder of the BERT family, and the levels to which its rows are rounded.

Sources: SmoothQuant (Xiao et al. 2023) moves part of the channels' unequal ranges into the weights;
GPTQ (Frantar et al. 2023) rounds the weights one input channel after the other, each time
correcting those that follow for the error made. Each needs to see what the encoder computes for
some texts.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ticket_assets.embedding.fused_bert import Weights, query_key_value, require_bert

if TYPE_CHECKING:
    from torch import Tensor

_SMOOTHING = 0.75
"""The exponent that divides a channel's range between rows and weights. On multilingual-e5-small
0.65 to 0.85 were equally good on tickets; on texts far from them, 0.85 was worse."""
_ROOM = 1.05
"""The levels reach that much beyond the values seen: most of these rows come from a layer norm,
which bounds them."""
_FEED_FORWARD_ROOM = 1.5
"""Nothing bounds the feed-forward network's inner values."""
_OUTLIERS = 12
"""One in so many feed-forward channels, those of the largest values, is left out of the integers.
Without that, multilingual-e5-small's least cosine to fp32 on tickets is 0.985, with it 0.9997."""
_LEAST_GELU = -0.17
_SAMPLED_ROWS = 2048
_DAMPING = 0.01  # of the mean of the Hessian's diagonal, as in GPTQ's own code
_BLOCK = 64


@torch.inference_mode()
def quantise(network: Any, texts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Tensors by layer and name, for `Int8Bert` and for a file; the same on any number of cores.

    Per matrix: `weight` (outputs, inputs) in int8, its `weight_scale` per output, `bias`, and the
    `step` between two levels. Rows x are rounded to the levels x * `multiplier` + `offset`; those
    inside the feed-forward network, whose channels are in `order`, to x / step + `zero_level`.

    Args:
        network: of transformers, in fp32.
        texts: token ids, like those that will come, and unlike them: values outside what is seen
            here are cut off.

    Raises:
        NotFusableError: the architecture is not BERT's.
    """
    require_bert(network.config.to_dict())
    weights, heads = network.state_dict().__getitem__, network.config.num_attention_heads
    quantised: dict[str, Tensor] = {}
    with _one_thread():
        seen = deque(_inputs(network, texts))
        for number in range(len(seen)):
            name = f"encoder.layer.{number}"
            # What a layer has seen, 20 MB, is not needed after it.
            layer = _layer(weights, name, heads, seen.popleft())
            quantised |= {f"{name}.{part}": tensor for part, tensor in layer.items()}
    return quantised


def _layer(weights: Weights, name: str, heads: int, seen: _LayerInputs) -> dict[str, Tensor]:
    def dense(part: str) -> tuple[Tensor, Tensor]:
        return weights(f"{name}.{part}.dense.weight"), weights(f"{name}.{part}.dense.bias")

    order = seen.narrow.high.argsort(descending=True, stable=True)
    others = order[len(order) // _OUTLIERS :]
    widen, widen_bias = dense("intermediate")
    narrow, narrow_bias = dense("output")
    attention = query_key_value(weights, f"{name}.attention.self", heads)
    matrices = {
        "query_key_value": _smoothed(*attention, seen.attention),
        "widen": _smoothed(widen[order], widen_bias[order], seen.widen),
        "narrow": _after_gelu(narrow[:, others], narrow_bias, seen.narrow.of(others)),
    }
    parts = {
        f"{matrix}.{part}": tensor
        for matrix, tensors in matrices.items()
        for part, tensor in tensors.items()
    }
    return {"order": order} | parts


@dataclass
class _Input:
    """What went into a matrix: the range of each channel, and some of the rows."""

    share: float
    """Of the rows that is kept."""
    random: torch.Generator
    low: Tensor = field(default_factory=lambda: torch.tensor(torch.inf))
    high: Tensor = field(default_factory=lambda: torch.tensor(-torch.inf))
    kept: list[Tensor] = field(default_factory=list)

    def __call__(self, _module: Any, arguments: tuple[Tensor, ...]) -> None:
        """Called before the matrix is, with rows of shape (1, tokens, channels)."""
        rows = arguments[0][0]
        self.low = torch.minimum(self.low, rows.amin(0))
        self.high = torch.maximum(self.high, rows.amax(0))
        self.kept.append(rows[torch.rand(len(rows), generator=self.random) < self.share])

    @property
    def rows(self) -> Tensor:
        return torch.cat(self.kept)

    def of(self, channels: Tensor) -> _Input:
        return _Input(
            self.share,
            self.random,
            self.low[channels],
            self.high[channels],
            [self.rows[:, channels]],
        )


@dataclass
class _LayerInputs:
    attention: _Input
    widen: _Input
    narrow: _Input


def _inputs(network: Any, texts: Sequence[Sequence[int]]) -> list[_LayerInputs]:
    share = _SAMPLED_ROWS / sum(map(len, texts))
    seen, hooks = [], []
    for layer in network.encoder.layer:
        matrices = (layer.attention.self.query, layer.intermediate.dense, layer.output.dense)
        inputs = [_Input(share, torch.Generator().manual_seed(0)) for _ in matrices]
        for matrix, layer_input in zip(matrices, inputs, strict=True):
            hooks.append(matrix.register_forward_pre_hook(layer_input))
        seen.append(_LayerInputs(*inputs))
    try:
        for ids in texts:
            network(input_ids=torch.tensor([ids]))
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _smoothed(matrix: Tensor, bias: Tensor, seen: _Input) -> dict[str, Tensor]:
    """For rows of any sign: each channel's levels lie around the middle of its own range."""
    middle = (seen.low + seen.high) / 2
    reach = ((seen.high - seen.low) / 2 * _ROOM).clamp_min(1e-5)
    largest = matrix.abs().amax(0).clamp_min(1e-5)
    smoothing = reach**_SMOOTHING / largest ** (1 - _SMOOTHING)
    step = (reach / smoothing).max() / 127
    multiplier = 1 / (smoothing * step)
    levels = ((seen.rows - middle) * multiplier).round().clamp(-128, 127)
    weight, scale = rounded(matrix * smoothing, levels)
    # Levels are given as 0...255, that is 128 too high.
    correction = matrix @ middle - 128 * step * scale * weight.sum(1)
    return {
        "weight": weight.to(torch.int8),
        "weight_scale": scale,
        "bias": bias + correction,
        "step": step,
        "multiplier": multiplier,
        "offset": -middle * multiplier,
    }


def _after_gelu(matrix: Tensor, bias: Tensor, seen: _Input) -> dict[str, Tensor]:
    """For the rows that GELU leaves, with one step for all channels."""
    top = float(seen.high.max()) * _FEED_FORWARD_ROOM
    bottom = max(float(seen.low.min()), _LEAST_GELU)
    step = torch.tensor(max(top - bottom, 1e-5) / 255)
    zero_level = (-bottom / step).round().clamp(0, 255)
    levels = ((seen.rows / step).round() + zero_level).clamp(0, 255) - zero_level
    weight, scale = rounded(matrix, levels)
    return {
        "weight": weight.to(torch.int8),
        "weight_scale": scale,
        "bias": bias - zero_level * step * scale * weight.sum(1),
        "step": step,
        "zero_level": zero_level,
    }


def rounded(matrix: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers from -127 to 127, and the scale of each output, by GPTQ.

    Args:
        matrix: (outputs, inputs).
        levels: rows that the matrix is multiplied with, (rows, inputs).
    """
    rest = matrix.clone()
    scale = matrix.abs().amax(1).clamp_min(1e-8) / 127
    hessian = levels.T @ levels
    damping = _DAMPING * hessian.diagonal().mean().clamp_min(1e-8)
    hessian.diagonal().add_(damping)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    influence = torch.linalg.cholesky(inverse, upper=True)
    whole = torch.empty_like(rest)
    for start in range(0, rest.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        errors = torch.zeros_like(rest[:, block])
        for column in range(start, start + errors.shape[1]):
            value = rest[:, column]
            whole[:, column] = (value / scale).round().clamp(-127, 127)
            error = (value - whole[:, column] * scale) / influence[column, column]
            errors[:, column - start] = error
            later = slice(column, block.stop)
            rest[:, later] -= error[:, None] * influence[column, later]
        rest[:, block.stop :] -= errors @ influence[block, block.stop :]
    return whole, scale


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sums over another number of threads would be rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
