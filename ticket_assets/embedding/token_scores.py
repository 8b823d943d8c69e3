"""Scores the tokens of texts by a linear function of a layer's states, in an encoder that is
changed a little for the purpose."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ticket_assets.cores import available_cores
from ticket_assets.embedding.adapters import Adapters, Floats
from ticket_assets.embedding.backends.openvino import NETWORK, TOKENIZER, openvino_core
from ticket_assets.embedding.conversion import converted_floats, folder_of, is_converted
from ticket_assets.embedding.encoder import (
    CPU_BATCH_TOKENS,
    batches_by_length,
    padded_batch,
    padded_length,
)
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.presets import resolve_model

if TYPE_CHECKING:
    from pathlib import Path

    from ticket_assets.embedding.presets import EncoderModel

MAX_TOKENS = 256
_CHUNK_TEXTS = 512
_REMEMBERED_TEXTS = 10_000
"""Some 20 MB. What is read twice in a process, as by an asset and its check, is computed once."""


class ScoredTokens(NamedTuple):
    """The tokens of one text."""

    spans: npt.NDArray[np.int64]
    """Shape (tokens, 2): start and end of each in the text."""
    scores: Floats
    """Shape (tokens,)."""


class TokenScores:
    """An encoder as far as the last of its layers that adapters change, loaded at the first use.

    Computed in fp32, whatever the precision of the desk's vectors: the same text gets the same
    scores on every machine, but for rounding.
    """

    def __init__(
        self,
        model: EncoderModel,
        states: Floats,
        adapters: Adapters,
        *,
        threads: int | None = None,
    ) -> None:
        """The scores of this encoder's tokens.

        Args:
            states: the weights of a state's numbers, shape (hidden size,).
            threads: CPU threads; None: `available_cores`.
        """
        self.model = model
        self._states = states
        self._adapters = adapters
        self._threads = threads or available_cores()
        self._remembered: dict[str, ScoredTokens] = {}

    @property
    def converted(self) -> Path:
        """Folder of the converted files that it is computed from, made at the first use."""
        return folder_of(self.model, "fp32")

    @property
    def needs_conversion(self) -> bool:
        """Whether the first use here comes with a conversion, which takes a minute or two."""
        return not is_converted(self.model, "fp32")

    def of(self, texts: Sequence[str]) -> list[ScoredTokens]:
        """The tokens of each text, without its prefix; a text's end is cut off after 256.

        Raises:
            EncoderError: its files cannot be used or written, or OpenVINO cannot compute it.
        """
        known = self._remembered
        unread = [text for text in dict.fromkeys(texts) if text not in known]
        for at in range(0, len(unread), _CHUNK_TEXTS):
            chunk = unread[at : at + _CHUNK_TEXTS]
            known.update(zip(chunk, self._of_chunk(chunk), strict=True))
        scored = [known[text] for text in texts]
        for text in list(islice(known, max(0, len(known) - _REMEMBERED_TEXTS))):
            del known[text]  # the oldest
        return scored

    def _of_chunk(self, texts: Sequence[str]) -> list[ScoredTokens]:
        tokenizer, _ = self._loaded
        prefix = self.model.prefix
        encoded = tokenizer.encode_batch([prefix + text for text in texts])
        scored: list[ScoredTokens | None] = [None] * len(texts)
        for rows in batches_by_length(
            [padded_length(len(text.ids)) for text in encoded], CPU_BATCH_TOKENS
        ):
            scores_of = self._batch([encoded[row].ids for row in rows])
            for row, scores in zip(rows, scores_of, strict=True):
                spans = np.array(encoded[row].offsets, np.int64).reshape(-1, 2) - len(prefix)
                # Special tokens have no place, and those of the prefix none in the text.
                is_real = (spans[:, 1] > spans[:, 0]) & (spans[:, 0] >= 0)
                scored[row] = ScoredTokens(spans[is_real], scores[is_real])
        return [text for text in scored if text is not None]

    def unload(self) -> None:
        """Frees the memory of the weights; the next use loads them again."""
        self.__dict__.pop("_loaded", None)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The tokenizer, and OpenVINO's request with the network."""
        from tokenizers import Tokenizer

        folder = converted_floats(self.model)
        core = openvino_core()
        network = _scoring(core.read_model(folder / NETWORK), self._states, self._adapters)
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            # One batch at a time has nothing to be disturbed by (`Encoder`).
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self._threads,
            "ENABLE_CPU_PINNING": False,
        }
        request = core.compile_model(network, "CPU", options).create_infer_request()
        tokenizer: Any = Tokenizer.from_file(str(folder / TOKENIZER))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS, direction="right")
        return tokenizer, request

    def _batch(self, tokens: Sequence[list[int]]) -> Iterator[Floats]:
        # What pads does not matter where the mask is 0.
        ids, mask = padded_batch(tokens, padded_length(max(map(len, tokens))), padding_id=0)
        _, request = self._loaded
        request.infer([ids, mask], share_inputs=True)
        scores = request.get_output_tensor().data
        # The memory of the output is used again.
        return (scores[row, : len(text), 0].copy() for row, text in enumerate(tokens))


def packaged_reader(
    encoder: tuple[str, str],
    states: Floats,
    adapters: Adapters,
    *,
    encoders_dir: Path,
    threads: int | None,
) -> TokenScores:
    """`TokenScores` of a preset; `encoder` is its name and revision, for which the rest was learnt.

    Raises:
        EncoderError: it is not on this machine, or in another revision.
    """
    name, revision = encoder
    remedy = "TICKETS_SECRETS_IN_CONTEXT=false finds passwords without it, but fewer."
    try:
        model = resolve_model(name, encoders_dir=encoders_dir, allow_download=False)
    except EncoderError as error:
        raise EncoderError(f"Passwords are found with {name}. {error} {remedy}") from error
    if model.revision != revision:
        raise EncoderError(
            f"Passwords are found with {name} in revision {revision}, and here is"
            f" {model.revision}: learn anew with `make weights`. {remedy}"
        )
    return TokenScores(model, states, adapters, threads=threads)


def _scoring(network: Any, states: Floats, adapters: Adapters) -> Any:
    """The network as far as it is needed, with the tokens' scores as output."""
    import openvino
    from openvino import opset13 as operations

    nodes = {node.get_friendly_name(): node for node in network.get_ordered_ops()}
    for name, (up, down) in adapters.items():
        weights = nodes.get(f"self.network.{name}.weight")
        if weights is None:
            raise EncoderError(
                f"The converted encoder has no layer {name}, which is to be changed."
            )
        changed = _numbers(weights) + up @ down
        for port in weights.output(0).get_target_inputs():
            port.replace_source_output(operations.constant(changed).output(0))
    last = max(int(name.split(".")[2]) for name in adapters)
    # A layer ends with a normalisation, whose last step adds.
    end = re.compile(rf".*\.encoder\.layer\.{last}\.output\.LayerNorm/.*Add")
    (output,) = (node for name, node in nodes.items() if end.fullmatch(name))
    scores = operations.matmul(output, operations.constant(states[:, None]), False, False)
    return openvino.Model([scores], network.get_parameters(), "token scores")


def _numbers(weights: Any) -> Floats:
    """Of a constant, or of one that is kept in 16 bits and converted."""
    constant = (
        weights if weights.get_type_name() == "Constant" else weights.input_value(0).get_node()
    )
    numbers: Floats = constant.data.astype(np.float32)
    return numbers
