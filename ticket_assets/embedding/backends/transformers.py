"""Hidden states by transformers: on a GPU, and of encoders that OpenVINO cannot convert."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.hardware import Precision

if TYPE_CHECKING:
    from ticket_assets.embedding.backends import Floats, Integers
    from ticket_assets.embedding.presets import EncoderModel


def require_packages(model: EncoderModel, use: str) -> None:
    """Refuses what needs PyTorch where it is left out, as in the product's image.

    Args:
        use: what of the encoder needs it, as in "has to be converted".

    Raises:
        EncoderError: it or transformers is not installed.
    """
    missing = [name for name in ("torch", "transformers") if not importlib.util.find_spec(name)]
    if missing:
        raise EncoderError(
            f"{model.name} {use}, which needs {' and '.join(missing)}: pip install"
            f" {' '.join(missing)}, or take an encoder that was prepared elsewhere"
            " (python -m ticket_assets.embedding.prepared)."
        )


class TransformersBackend:
    """Any encoder that transformers knows. PyTorch shares each batch among the cores."""

    streams = 1

    def __init__(
        self,
        model: EncoderModel,
        precision: Precision,
        max_tokens: int,
        *,
        device: str = "cpu",
        reason: str = "",
        threads: int | None = None,
    ) -> None:
        """Loads the model's folder.

        Args:
            precision: bf16 or fp32.
            reason: why it is not OpenVINO that computes.
            threads: CPU threads of PyTorch in this process; None: as many as it takes.

        Raises:
            EncoderError: the folder's files are not those of a usable encoder, or PyTorch or
                transformers is not installed.
        """
        require_packages(model, f"is computed by transformers{f' ({reason})' if reason else ''}")
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        self.path = f"transformers ({reason})" if reason else "transformers"
        self.tokenizer, network = _load(model, precision)
        self.network = network.to(device)
        self.padding_id = self.tokenizer.pad_token_id or 0
        self._max_tokens = max_tokens
        self._device = device

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self._max_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        return ids

    def hidden_states(self, ids: Integers, mask: Integers) -> Floats:
        import torch

        with torch.inference_mode():
            hidden = self.network(
                input_ids=torch.from_numpy(ids).to(self._device),
                # A batch without padding needs no mask.
                attention_mask=None if mask.all() else torch.from_numpy(mask).to(self._device),
            ).last_hidden_state
            states: Floats = hidden.float().cpu().numpy()
        return states

    def reload(self) -> None:
        """Nothing: one batch is computed at a time, which none disturbs."""


def _load(model: EncoderModel, precision: Precision) -> tuple[Any, Any]:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    # Nobody reads its progress bars and its table of unused weights.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        tokenizer = AutoTokenizer.from_pretrained(model.folder, local_files_only=True)
        network, loading = AutoModel.from_pretrained(
            model.folder,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise EncoderError(f"Cannot load the encoder {model.folder}: {reason}") from error
    # transformers fills missing weights with random numbers; the pooler's are not used here.
    missing = sorted(name for name in loading["missing_keys"] if "pooler" not in name)
    if missing:
        raise EncoderError(
            f"{model.folder}: the weights lack {missing[0]} and {len(missing) - 1} others."
        )
    network.pooler = None
    return tokenizer, network.eval()
