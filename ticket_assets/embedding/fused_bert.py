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

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

# exp(60) x 512 tokens x any value a layer norm lets through stays far below bf16's largest number.
_LARGEST_SCORE = 60.0
# A divisor below this has lost digits to underflow.
_SMALLEST_DIVISOR = 1e-30

# Position 0's row in the table of positions; the RoBERTa family starts after its padding row.
_FIRST_POSITION = {"bert": 0, "xlm-roberta": 1, "roberta": 1, "camembert": 1}


class NotFusableError(Exception):
    """The network is not one whose forward pass is known here; the message is the reason."""


class FusedBert:
    """The hidden states of a `transformers` encoder of the BERT or RoBERTa family."""

    def __init__(self, network: Any) -> None:
        """Packs the weights of `network`, which stays as it is.

        Raises:
            NotFusableError: the architecture differs from BERT's, or this PyTorch or CPU cannot
                pack weights of this precision.
        """
        config = network.config
        _require_bert(network)
        embeddings = network.embeddings
        first = _FIRST_POSITION[config.model_type]
        if first:
            first += config.pad_token_id
        self._heads: int = config.num_attention_heads
        self._words: Tensor = embeddings.word_embeddings.weight
        # Texts are single segments, so each position has one row to add.
        positions = embeddings.position_embeddings.weight[first:].float()
        segment = embeddings.token_type_embeddings.weight[0].float()
        self._positions = (positions + segment).to(self._words.dtype)
        self._norm = embeddings.LayerNorm
        try:
            self._layers = [_Layer(layer, self._heads) for layer in network.encoder.layer]
        except (AttributeError, NotImplementedError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise NotFusableError(f"oneDNN cannot pack the weights here ({reason})") from error

    def __call__(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Hidden states, shape (texts, tokens, width); those of padding mean nothing.

        Args:
            ids: token ids, shape (texts, tokens), padded at the end.
            lengths: number of each text's own tokens.
        """
        texts, tokens = ids.shape
        own = torch.arange(tokens) < lengths[:, None]
        rows = None if bool(own.all()) else own.view(-1).nonzero()[:, 0]
        shape = _Shape(texts, tokens, own, rows)
        embedded = functional.embedding(ids, self._words).add_(self._positions[:tokens])
        hidden = self._norm(shape.packed(embedded.view(texts * tokens, -1)))
        for layer in self._layers:
            hidden = layer(hidden, shape)
        return shape.padded(hidden).view(texts, tokens, -1)


class _Shape(NamedTuple):
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


class _Layer:
    """Attention and feed-forward network, each with its residual and layer norm."""

    def __init__(self, layer: Any, heads: int) -> None:
        attention = layer.attention
        self._heads = heads
        self._query_key_value = _query_key_value(attention.self, heads)
        self._attention_output = _Linear.of(attention.output.dense)
        self._attention_norm = attention.output.LayerNorm
        self._widen = _Linear.of(layer.intermediate.dense)
        self._narrow = _Linear.of(layer.output.dense)
        self._norm = layer.output.LayerNorm

    def __call__(self, hidden: Tensor, shape: _Shape) -> Tensor:
        mixed = self._attention_output(self._attend(self._query_key_value(hidden), shape))
        hidden = self._attention_norm(mixed.add_(hidden))
        fed = self._narrow(self._widen(hidden, "gelu"))
        normed: Tensor = self._norm(fed.add_(hidden))
        return normed

    def _attend(self, projected: Tensor, shape: _Shape) -> Tensor:
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


class _Linear:
    """A linear layer whose weights lie in the order in which oneDNN reads them."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        self._bias = bias

    @classmethod
    def of(cls, linear: torch.nn.Linear) -> _Linear:
        return cls(linear.weight, linear.bias)

    def __call__(self, rows: Tensor, activation: str = "none") -> Tensor:
        # "none" after it is GELU's algorithm: the exact one, by the error function.
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self._weight, self._bias, activation, [], "none"
        )
        return product


def _query_key_value(attention: Any, heads: int) -> _Linear:
    """The three projections as one, the query's already divided by the root of a head's width."""
    query, key, value = attention.query, attention.key, attention.value
    scale = (query.out_features // heads) ** -0.5
    kind = query.weight.dtype
    return _Linear(
        torch.cat([(query.weight.float() * scale).to(kind), key.weight, value.weight]),
        torch.cat([(query.bias.float() * scale).to(kind), key.bias, value.bias]),
    )


def _row_sums(weights: Tensor, counted: Tensor) -> Tensor:
    """Sums of each row over the text's own tokens, shape (texts, heads x tokens, 1).

    As a product: it sums in fp32 and leaves padding out.
    """
    texts, tokens = counted.shape
    return torch.bmm(weights.view(texts, -1, tokens), counted.view(texts, tokens, 1))


def _require_bert(network: Any) -> None:
    config = network.config
    if config.model_type not in _FIRST_POSITION:
        raise NotFusableError(f"a {config.model_type} model, not of the BERT family")
    if config.hidden_act != "gelu":
        raise NotFusableError(f"its activation is {config.hidden_act}, not gelu")
    if getattr(config, "position_embedding_type", "absolute") != "absolute":
        raise NotFusableError("its positions are relative")
    if config.is_decoder or getattr(config, "add_cross_attention", False):
        raise NotFusableError("it is a decoder")
