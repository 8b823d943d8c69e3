"""The encoder of the settings; its weights are loaded when a text needs them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ticket_assets.cores import available_cores
from ticket_assets.embedding.backends import Backend
from ticket_assets.embedding.backends.openvino import OpenVinoBackend
from ticket_assets.embedding.backends.transformers import TransformersBackend
from ticket_assets.embedding.conversion import folder_of, is_converted, reason_against
from ticket_assets.embedding.encoder import CPU_BATCH_TOKENS, Encoder, model_id
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.hardware import Precision, candidates, has_gpu
from ticket_assets.embedding.presets import EncoderModel, resolve_model

if TYPE_CHECKING:
    from ticket_assets.settings import Settings

GPU_BATCH_TOKENS = 16_384


@dataclass(frozen=True)
class ConfiguredEncoder:
    """Everything that decides the vectors, without the weights."""

    model: EncoderModel
    precisions: tuple[Precision, ...]
    """Number formats, the first of which that keeps the encoder's vectors is taken."""
    max_tokens: int
    batch_tokens: int | None
    threads: int | None

    @cached_property
    def precision(self) -> Precision:
        """The number format; to choose among several, an encoder is converted and measured."""
        return accepted(self.model, self.precisions)

    @property
    def model_id(self) -> str:
        return model_id(self.model, self.precision, self.max_tokens)

    @property
    def is_loaded(self) -> bool:
        return "encoder" in self.__dict__

    @property
    def needs_conversion(self) -> bool:
        """Whether its first use here comes with a conversion, which takes a minute or two.

        A comparison on another kind of CPU takes some seconds.
        """
        return not has_gpu() and not is_converted(self.model, self.precisions[0])

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, loaded once, and converted first where it was not.

        Raises:
            EncoderError: its files are not those of a usable encoder.
        """
        return load_encoder(
            self.model,
            self.precision,
            max_tokens=self.max_tokens,
            batch_tokens=self.batch_tokens,
            threads=self.threads,
        )

    def unload(self) -> None:
        """Frees the memory of the weights; the next use of `encoder` loads them again."""
        self.__dict__.pop("encoder", None)


def configured_encoder(settings: Settings, recorded: Precision | None = None) -> ConfiguredEncoder:
    """The encoder of these settings.

    Args:
        recorded: the number format of the stored vectors, which `auto` then takes.

    Raises:
        EncoderError: there is no such encoder on this machine, or it cannot be used.
    """
    model = resolve_model(
        settings.encoder,
        encoders_dir=settings.unpacked_encoders_dir,
        allow_download=settings.allow_download,
        dimension=settings.encoder_dimension,
    )
    return ConfiguredEncoder(
        model,
        candidates(settings.encoder_precision, recorded),
        settings.encoder_max_tokens,
        settings.encoder_batch_tokens,
        settings.encoder_threads,
    )


def accepted(model: EncoderModel, precisions: Sequence[Precision]) -> Precision:
    """The first of the formats in which the encoder keeps its vectors, or the last one."""
    kept = (precision for precision in precisions[:-1] if not reason_against(model, precision))
    return next(kept, precisions[-1])


def load_encoder(
    model: EncoderModel,
    precision: Precision,
    *,
    max_tokens: int = 256,
    batch_tokens: int | None = None,
    threads: int | None = None,
) -> Encoder:
    """The encoder in `model.folder`, on the GPU when there is one.

    Args:
        precision: one of `hardware.candidates`.
        max_tokens: longer texts are cut to this many, special tokens included.
        batch_tokens: most tokens per batch, padding included (a longer text is a batch).
        threads: CPU threads, each with a batch of its own where OpenVINO computes; None:
            `available_cores`.

    Raises:
        EncoderError: its files cannot be used or written, or its vectors are not kept in int8.
    """
    started = time.monotonic()
    tokens = min(max_tokens, model.max_tokens)
    budget = batch_tokens or (GPU_BATCH_TOKENS if has_gpu() else CPU_BATCH_TOKENS)
    backend: Backend
    if has_gpu():
        backend = TransformersBackend(model, precision, tokens, device="cuda", reason="on the GPU")
    elif reason := reason_against(model, precision):
        if precision == "int8":
            raise EncoderError(
                f"{model.name} cannot be computed in int8 ({reason})."
                " Set TICKETS_ENCODER_PRECISION to bf16 or fp32."
            )
        backend = TransformersBackend(model, precision, tokens, reason=reason, threads=threads)
    else:
        folder = folder_of(model, precision)
        backend = OpenVinoBackend(folder, precision, tokens, threads or available_cores())
    encoder = Encoder(
        model, backend, precision=precision, max_tokens=max_tokens, batch_tokens=budget
    )
    encoder.load_seconds = time.monotonic() - started
    return encoder
