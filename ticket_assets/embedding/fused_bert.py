"""BERT's forward pass for one CPU core: the same mathematics as transformers', arranged for speed.

Where it differs, and what that gains (all-MiniLM-L6-v2, bf16, CPU time per ticket):

- Weights are packed for oneDNN once, not at each product; query, key and value are one product;
  GELU runs on the product's result while it is still in registers.
- Attention is two batched products and an exponential. PyTorch's softmax over rows that are not a
  multiple of 32 long took four times as long as the exponential, and its fused attention longer
  still; what is left of the softmax is a division after the second product, on 32 columns a head.
- Padding is there inside attention only, and needs no mask on the scores: padded values are zeros
  and do not count in the divisor.
- No dropout, no optional outputs.

Outside attention, tensors hold the texts' own tokens as rows: (own tokens, width).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional

from ticket_assets.embedding.errors import NotFusableError

if TYPE_CHECKING:
    from torch import Tensor

# exp(60) x 512 tokens x any value a layer norm lets through stays far below bf16's largest number.
_LARGEST_SCORE = 60.0
# A divisor below this has lost digits to underflow.
_SMALLEST_DIVISOR = 1e-30

# Position 0's row in the table of positions; the RoBERTa family starts after its padding row.
_FIRST_POSITION = {"bert": 0, "xlm-roberta": 1, "roberta": 1, "camembert": 1}


Weights = Callable[[str], "Tensor"]
"""The weights of that name; a KeyError, if there are none."""
MakeLayer = Callable[[Weights, str, int, float], "Layer"]
"""Called with the weights, the layer's name, the number of heads, and the layer norms' epsilon."""


class FusedBert:
    """The hidden states of an encoder of the BERT or RoBERTa family."""

    @torch.inference_mode()
    def __init__(
        self,
        config: Mapping[str, Any],
        weights: Weights,
        layer: MakeLayer | None = None,
    ) -> None:
        """Packs the weights, each asked for once, and all of one precision.

        Args:
            config: what config.json says.
            weights: by the names that `transformers.BertModel` gives them.
            layer: makes the layers; None: `Layer`.

        Raises:
            NotFusableError: the architecture differs from BERT's, something is missing, or this
                PyTorch or CPU cannot pack weights of this precision.
        """
        require_bert(config)
        try:
            self._pack(config, weights, layer or Layer)
        except KeyError as error:
            raise NotFusableError(f"no {error.args[0]}") from error

    def _pack(self, config: Mapping[str, Any], weights: Weights, layer: MakeLayer) -> None:
        first = _FIRST_POSITION[config["model_type"]]
        if first:
            first += config["pad_token_id"]
        heads, epsilon = config["num_attention_heads"], config["layer_norm_eps"]
        self._words = weights("embeddings.word_embeddings.weight")
        # Texts are single segments, so each position has one row to add.
        positions = weights("embeddings.position_embeddings.weight")[first:].float()
        segment = weights("embeddings.token_type_embeddings.weight")[0].float()
        self._positions = (positions + segment).to(self._words.dtype)
        self._norm = Norm(weights, "embeddings.LayerNorm", epsilon)
        self._layers = [
            layer(weights, f"encoder.layer.{number}", heads, epsilon)
            for number in range(config["num_hidden_layers"])
        ]

    def __call__(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Hidden states, shape (texts, tokens, width); those of padding mean nothing.

        Args:
            ids: token ids, shape (texts, tokens), padded at the end.
            lengths: number of each text's own tokens.
        """
        texts, tokens = ids.shape
        own = torch.arange(tokens) < lengths[:, None]
        rows = None if bool(own.all()) else own.view(-1).nonzero()[:, 0]
        shape = Shape(texts, tokens, own, rows)
        embedded = functional.embedding(ids, self._words).add_(self._positions[:tokens])
        hidden = self._norm(shape.packed(embedded.view(texts * tokens, -1)))
        for layer in self._layers:
            hidden = layer(hidden, shape)
        return shape.padded(hidden).view(texts, tokens, -1)


class Shape(NamedTuple):
    """How the texts of a batch lie in its rows."""

    texts: int
    tokens: int
    """Of the longest text."""
    own: Tensor
    """Which of the padded positions are a text's own tokens, shape (texts, tokens)."""
    rows: Tensor | None
    """Their positions among all of them; None: there is no padding."""

    def padded(self, packed: Tensor) -> Tensor:
        """The own tokens at their padded positions, zeros between: (texts x tokens, width)."""
        if self.rows is None:
            return packed
        padded = packed.new_zeros(self.own.numel(), packed.shape[1])
        return padded.index_copy_(0, self.rows, packed)

    def packed(self, padded: Tensor) -> Tensor:
        return padded if self.rows is None else padded.index_select(0, self.rows)


class Layer:
    """Attention and feed-forward network, each with its residual and layer norm."""

    def __init__(self, weights: Weights, name: str, heads: int, epsilon: float) -> None:
        attention = f"{name}.attention"
        self._heads = heads
        self._query_key_value = Linear(*query_key_value(weights, f"{attention}.self", heads))
        self._attention_output = Linear.of(weights, f"{attention}.output.dense")
        self._attention_norm = Norm(weights, f"{attention}.output.LayerNorm", epsilon)
        self._widen = Linear.of(weights, f"{name}.intermediate.dense")
        self._narrow = Linear.of(weights, f"{name}.output.dense")
        self._norm = Norm(weights, f"{name}.output.LayerNorm", epsilon)

    def __call__(self, hidden: Tensor, shape: Shape) -> Tensor:
        mixed = self._attention_output(self._attend(self._query_key_value(hidden), shape))
        hidden = self._attention_norm(mixed.add_(hidden))
        fed = self._narrow(self._widen(hidden, "gelu"))
        return self._norm(fed.add_(hidden))

    def _attend(self, projected: Tensor, shape: Shape) -> Tensor:
        """Values mixed by attention, of the rows of `projected`: (own tokens, width)."""
        texts, tokens, own, _ = shape
        heads = self._heads
        # To (query/key/value, texts x heads, tokens, width of a head), each matrix in one piece.
        parts = shape.padded(projected).view(texts, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.reshape(3, texts * heads, tokens, -1)
        counted = own.to(projected.dtype)

        weights = torch.bmm(query, key.transpose(1, 2))
        # Scores less a constant give the same softmax, without overflow.
        excess = float(weights.max()) - _LARGEST_SCORE
        if excess > 0:
            weights.sub_(excess)
        weights.exp_()
        divisor = _row_sums(weights, counted)
        if not float(divisor.min()) > _SMALLEST_DIVISOR:
            # A row's own maximum lies far below the batch's: each row needs its own constant.
            scores = torch.bmm(query, key.transpose(1, 2)).float().view(texts, -1, tokens)
            scores.masked_fill_(~own[:, None, :], -torch.inf)
            weights = torch.softmax(scores, -1).to(value.dtype).view_as(weights)
            divisor = _row_sums(weights, counted)

        mixed = torch.bmm(weights, value).view(texts, heads, tokens, -1).transpose(1, 2)
        rows = mixed.new_empty(mixed.shape)
        torch.div(mixed, divisor.view(texts, heads, tokens, 1).transpose(1, 2), out=rows)
        return shape.packed(rows.view(texts * tokens, -1))


class Linear:
    """A linear layer whose weights lie in the order in which oneDNN reads them."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        with packing():
            self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        self._bias = bias

    @classmethod
    def of(cls, weights: Weights, name: str) -> Linear:
        return cls(weights(f"{name}.weight"), weights(f"{name}.bias"))

    def __call__(self, rows: Tensor, activation: str = "none") -> Tensor:
        # "none" after it is GELU's algorithm: the exact one, by the error function.
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self._weight, self._bias, activation, [], "none"
        )
        return product


class Norm:
    """A layer norm."""

    def __init__(self, weights: Weights, name: str, epsilon: float) -> None:
        self._weight, self._bias = weights(f"{name}.weight"), weights(f"{name}.bias")
        self._epsilon = epsilon

    def __call__(self, rows: Tensor) -> Tensor:
        return functional.layer_norm(
            rows, self._weight.shape, self._weight, self._bias, self._epsilon
        )


def query_key_value(weights: Weights, name: str, heads: int) -> tuple[Tensor, Tensor]:
    """Matrix and bias of the three projections as one.

    The query's are already divided by the root of a head's width.
    """
    matrices = [weights(f"{name}.{part}.weight") for part in ("query", "key", "value")]
    biases = [weights(f"{name}.{part}.bias") for part in ("query", "key", "value")]
    kind = matrices[0].dtype
    scale = (len(matrices[0]) // heads) ** -0.5
    matrices[0] = (matrices[0].float() * scale).to(kind)
    biases[0] = (biases[0].float() * scale).to(kind)
    return torch.cat(matrices), torch.cat(biases)


def _row_sums(weights: Tensor, counted: Tensor) -> Tensor:
    """Sums of each row over the text's own tokens, shape (texts, heads x tokens, 1).

    As a product: it sums in fp32 and leaves padding out.
    """
    texts, tokens = counted.shape
    return torch.bmm(weights.view(texts, -1, tokens), counted.view(texts, tokens, 1))


@contextmanager
def packing() -> Iterator[None]:
    """Makes a NotFusableError of the ways in which oneDNN refuses weights."""
    try:
        yield
    # No such operation, none of this precision, or a shape that is no layer's.
    except (AttributeError, NotImplementedError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise NotFusableError(f"oneDNN cannot pack the weights here ({reason})") from error


def require_bert(config: Mapping[str, Any]) -> None:
    """Raises a NotFusableError if the architecture differs from BERT's."""
    family, activation = config.get("model_type"), config.get("hidden_act")
    if family not in _FIRST_POSITION:
        raise NotFusableError(f"a {family} model, not of the BERT family")
    if activation != "gelu":
        raise NotFusableError(f"its activation is {activation}, not gelu")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise NotFusableError("its positions are relative")
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise NotFusableError("it is a decoder")
