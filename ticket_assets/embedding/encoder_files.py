"""Loads an encoder straight from its files, in a quarter of the time of `transformers`.

That library is large, builds a tokenizer of 250,000 pieces several times, and holds all weights
twice. An encoder loaded here may be used only after it has agreed with `transformers`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ticket_assets.embedding.errors import NotFusableError
from ticket_assets.embedding.hardware import Precision, floats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    Tokenize = Callable[[list[str]], list[list[int]]]
    """The ids of each text's tokens, special ones included."""
    Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """Hidden states (texts, tokens, width) of padded ids (texts, tokens) and their lengths."""
    Quantised = Mapping[str, torch.Tensor]
    """The result of `quantise` for an encoder in int8."""

_CONFIGURATION, _WEIGHTS, _TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
# A network with a head for a task names the encoder's weights after the family.
_FAMILY = re.compile(r"^(bert|roberta)\.")


class EncoderParts(NamedTuple):
    """The functions that turn texts into hidden states."""

    tokenize: Tokenize
    padding_id: int
    forward: Forward


def has_parts(folder: Path) -> bool:
    """Whether the folder has the files that this module reads."""
    return all((folder / name).is_file() for name in (_CONFIGURATION, _WEIGHTS, _TOKENIZER))


def fused_forward(
    config: Mapping[str, Any],
    weights: Callable[[str], torch.Tensor],
    quantised: Quantised | None,
) -> Forward:
    """The fused forward pass; in integers, if there are quantised weights.

    Raises:
        NotFusableError: the architecture is not BERT's, or a tensor is missing.
    """
    from ticket_assets.embedding.fused_bert import FusedBert
    from ticket_assets.embedding.int8_bert import Int8Bert

    if quantised is None:
        return FusedBert(config, weights)
    return Int8Bert(config, weights, quantised)


def read_quantised(path: Path) -> Quantised:
    """The quantised weights in the file `path`.

    Raises:
        NotFusableError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        # Not mapped: the weights are packed in another order anyway.
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise NotFusableError(str(error)) from error


def read_parts(
    folder: Path, precision: Precision, max_tokens: int, quantised: Quantised | None = None
) -> EncoderParts:
    """The encoder in `folder` with its fused forward pass, the weights held once.

    Raises:
        NotFusableError: the architecture is not BERT's, or a file or tensor is missing or damaged.
    """
    from safetensors import safe_open

    dtype = floats(precision)
    try:
        config = json.loads((folder / _CONFIGURATION).read_text("utf-8"))
        with safe_open(folder / _WEIGHTS, "pt") as file:
            names = {_FAMILY.sub("", name): name for name in file.keys()}  # noqa: SIM118
            # A copy: the file's pages would change, or vanish, with the file.
            forward = fused_forward(
                config, lambda name: file.get_tensor(names[name]).to(dtype, copy=True), quantised
            )
        tokenize = _tokenizer(folder / _TOKENIZER, max_tokens)
        return EncoderParts(tokenize, config.get("pad_token_id") or 0, forward)
    except NotFusableError:
        raise
    # `tokenizers` has no exception type of its own. After every error `transformers` loads the
    # encoder, and its errors get messages for users.
    except Exception as error:
        raise NotFusableError(" ".join(str(error).split())) from error


def _tokenizer(path: Path, max_tokens: int) -> Tokenize:
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_file(str(path))
    # The file may ask for the padding of its training.
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)

    def tokenize(texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]

    return tokenize
