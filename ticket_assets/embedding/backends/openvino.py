"""Hidden states by OpenVINO on a CPU, from converted files; imports no PyTorch."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ticket_assets.embedding.hardware import Precision, native_bf16

if TYPE_CHECKING:
    from ticket_assets.embedding.backends import Floats, Integers

FILES: tuple[str, ...] = ("encoder.xml", "encoder.bin", "tokenizer.json")
NETWORK, _, TOKENIZER = FILES


@functools.cache
def openvino_core() -> Any:
    """OpenVINO's `Core`, one for the process.

    Each sets the alternate stack for signals of its thread, and sets again, when it is freed, the
    one that was there before it: of another one that may be gone. Then the next signal ends the
    process (SIGSEGV in kill, seen with 2026.4).
    """
    import openvino

    return openvino.Core()


class OpenVinoBackend:
    """A converted encoder. A thread computes a batch, so the number of cores changes no bit."""

    def __init__(self, folder: Path, precision: Precision, max_tokens: int, streams: int) -> None:
        """Loads the `FILES` of the folder; a RuntimeError, if OpenVINO cannot read them."""
        import openvino
        from tokenizers import Tokenizer

        # It makes its table of types at the first use. Two threads that use it first, at once, wait
        # for each other for ever: one has the table, the other Python's lock.
        openvino.Type.i64.to_dtype()
        self.path = "OpenVINO"
        self.streams = streams
        half = precision == "bf16" or (precision == "int8" and native_bf16())
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams,
            # Processes that pin their threads pin them to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._compile = functools.partial(
            openvino_core().compile_model, folder / NETWORK, "CPU", options
        )
        with ThreadPoolExecutor(1) as pool:
            network = pool.submit(self._compile)
            # A second of its own, for a vocabulary of 250,000.
            tokenizer: Any = Tokenizer.from_file(str(folder / TOKENIZER))
            self._network = network.result()
        self._of_thread = threading.local()
        self.padding_id = tokenizer.padding["pad_id"]
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens, direction=tokenizer.truncation["direction"])
        self._tokenizer = tokenizer

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def hidden_states(self, ids: Integers, mask: Integers) -> Floats:
        request = getattr(self._of_thread, "request", None)
        if request is None:
            request = self._of_thread.request = self._network.create_infer_request()
        request.infer([ids, mask], share_inputs=True)
        hidden: Floats = request.get_output_tensor().data
        return hidden

    def reload(self) -> None:
        self._network = self._compile()
        self._of_thread = threading.local()
