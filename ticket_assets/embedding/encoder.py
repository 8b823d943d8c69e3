"""Turns texts into unit vectors with a transformer encoder."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.presets import EncoderModel

if TYPE_CHECKING:
    import torch

Precision = Literal["bf16", "fp32"]
Vectors = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with the number of texts done and their total."""


class Encoder:
    """A loaded encoder. Its vectors do not depend on which texts are encoded together."""

    def __init__(
        self,
        model: EncoderModel,
        network: torch.nn.Module,
        tokenizer: Any,
        *,
        precision: Precision,
        max_tokens: int,
        batch_tokens: int,
    ) -> None:
        self.dimension = model.dimension
        self.precision = precision
        self.model_id = model_id(model, precision, max_tokens)
        self._model = model
        self._network = network
        self._device = next(network.parameters()).device
        self._tokenizer = tokenizer
        self._padding_id: int = tokenizer.pad_token_id or 0
        self._max_tokens = min(max_tokens, model.max_tokens)
        self._batch_tokens = batch_tokens

    @classmethod
    def load(
        cls,
        model: EncoderModel,
        *,
        precision: Literal["auto", "bf16", "fp32"] = "auto",
        max_tokens: int = 256,
        batch_tokens: int = 4096,
        threads: int | None = None,
    ) -> Self:
        """The encoder in `model.folder`, on the GPU when there is one.

        Args:
            precision: the weights' number format; `auto` as in `choose_precision`.
            max_tokens: longer texts are cut to this many, special tokens included.
            batch_tokens: most tokens per batch, padding included (a longer text is a batch).
            threads: CPU threads of this process's PyTorch; None: `available_cores`.

        Raises:
            EncoderError: the folder's files are not those of a usable encoder.
        """
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModel, AutoTokenizer

        chosen = choose_precision(precision)
        torch.set_num_threads(threads or available_cores())
        with _quiet_transformers():
            try:
                tokenizer = AutoTokenizer.from_pretrained(model.folder, local_files_only=True)
                network, loading = AutoModel.from_pretrained(
                    model.folder,
                    local_files_only=True,
                    use_safetensors=True,
                    output_loading_info=True,
                    dtype=torch.bfloat16 if chosen == "bf16" else torch.float32,
                )
            except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
                reason = " ".join(str(error).split())
                raise EncoderError(f"Cannot load the encoder {model.folder}: {reason}") from error
        # transformers fills what a file lacks with random numbers; the pooler is not used here.
        missing = sorted(name for name in loading["missing_keys"] if "pooler" not in name)
        if missing:
            raise EncoderError(
                f"{model.folder}: the weights lack {missing[0]} and {len(missing) - 1} others."
            )
        network.pooler = None
        network.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        return cls(
            model,
            network,
            tokenizer,
            precision=chosen,
            max_tokens=max_tokens,
            batch_tokens=batch_tokens,
        )

    def encode(self, texts: Sequence[str], on_progress: Progress | None = None) -> Vectors:
        """Vectors of unit length, shape (len(texts), dimension), in the order of `texts`."""
        import torch

        vectors = np.empty((len(texts), self.dimension), np.float32)
        if not texts:
            return vectors
        tokens = self._tokenizer(
            [self._model.prefix + text for text in texts],
            truncation=True,
            max_length=self._max_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        # A tokenizer without special tokens makes nothing of an empty text; the mean needs a token.
        tokens = [ids or [self._padding_id] for ids in tokens]
        done = 0
        with torch.inference_mode():
            for batch in _batches([len(ids) for ids in tokens], self._batch_tokens):
                vectors[batch] = self._forward([tokens[index] for index in batch])
                done += len(batch)
                if on_progress is not None:
                    on_progress(done, len(texts))
        return vectors

    def _forward(self, tokens: list[list[int]]) -> Vectors:
        import torch
        from torch.nn import functional

        lengths = [len(ids) for ids in tokens]
        ids = torch.full((len(tokens), max(lengths)), self._padding_id)
        for row, text in enumerate(tokens):
            ids[row, : len(text)] = torch.tensor(text)
        mask = torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]
        ids, mask = ids.to(self._device), mask.to(self._device)
        # A batch without padding needs no mask.
        hidden = self._network(
            input_ids=ids, attention_mask=None if bool(mask.all()) else mask.long()
        ).last_hidden_state
        if self._model.pooling == "cls":
            pooled = hidden[:, 0].float()
        else:
            weights = mask / mask.sum(dim=1, keepdim=True)
            # In fp32, since a sum of some hundred bf16 numbers keeps two digits.
            pooled = torch.einsum("btd,bt->bd", hidden.float(), weights)
        unit: Vectors = functional.normalize(pooled, dim=1).cpu().numpy()
        return unit


def model_id(model: EncoderModel, precision: Precision, max_tokens: int) -> str:
    """The key under which vectors are stored; equal keys mean interchangeable vectors.

    Like `multilingual-e5-small@1571fc982750/bf16/256`.
    """
    tokens = min(max_tokens, model.max_tokens)
    return f"{model.name}@{model.revision}/{precision}/{tokens}"


def choose_precision(requested: Literal["auto", "bf16", "fp32"]) -> Precision:
    """`requested`, or for `auto` bf16 where the GPU or CPU computes it natively, else fp32.

    On a CPU without it, bf16 is emulated and slower than fp32.
    """
    if requested != "auto":
        return requested
    import torch

    native = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else native_bf16()
    return "bf16" if native else "fp32"


@functools.cache
def native_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices itself: AMX, AVX512-BF16, or Arm's BF16.

    Source: the instruction sets that `torch.cpu.get_capabilities` (cpuinfo) reports and for
    which oneDNN, PyTorch's CPU backend, has bf16 matrix kernels.
    """
    import torch

    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def available_cores() -> int:
    """Cores this process may use: its affinity, less what a container's CPU limit takes away."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(cores or 1, cgroup_cores(Path("/sys/fs/cgroup")))))


def cgroup_cores(root: Path) -> float:
    """The limit in cgroup v2's `cpu.max`: microseconds of CPU, or `max`, per period."""
    try:
        quota, period = (root / "cpu.max").read_text("ascii").split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota == "max" else int(quota) / int(period)


def _batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, each within `budget` tokens with its padding.

    Longest first, so that a batch too large for the memory fails at once and not at the end.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        # The first text of a batch is its longest, so it sets the padded length.
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without transformers' progress bars and its table of unused weights."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
