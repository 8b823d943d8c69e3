"""The encoder of the settings; its weights are loaded when a text needs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ticket_assets.embedding.agreement import Circumstances, is_recorded
from ticket_assets.embedding.encoder import Encoder, model_id
from ticket_assets.embedding.hardware import Precision, choose_precision
from ticket_assets.embedding.presets import EncoderModel, resolve_model

if TYPE_CHECKING:
    from ticket_assets.settings import Settings


@dataclass(frozen=True)
class ConfiguredEncoder:
    """Everything that decides the vectors, without the weights."""

    model: EncoderModel
    precision: Precision
    max_tokens: int
    batch_tokens: int | None
    threads: int | None
    checked: Path | None = None
    """Folder with the records of encoders that agreed with transformers, and with int8 weights."""

    @property
    def model_id(self) -> str:
        return model_id(self.model, self.precision, self.max_tokens)

    @property
    def is_loaded(self) -> bool:
        return "encoder" in self.__dict__

    @property
    def needs_comparison(self) -> bool:
        """Whether loading it includes a comparison with transformers, which takes up to half a
        minute."""
        import torch

        if self.checked is None or torch.cuda.is_available():
            return False
        return not is_recorded(
            Circumstances.of_this_process(self.model_id, self.model.prefix), self.checked
        )

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, loaded once: it takes seconds.

        Raises:
            EncoderError: its files are not those of a usable encoder.
        """
        return Encoder.load(
            self.model,
            precision=self.precision,
            max_tokens=self.max_tokens,
            batch_tokens=self.batch_tokens,
            threads=self.threads,
            checked=self.checked,
        )


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
        choose_precision(settings.encoder_precision, int8=model.int8, recorded=recorded),
        settings.encoder_max_tokens,
        settings.encoder_batch_tokens,
        settings.encoder_threads,
        settings.unpacked_encoders_dir / "checked",
    )
