"""Encoders converted for OpenVINO: once, compared with transformers, and kept in their folder.

Only what is made here needs PyTorch, transformers and NNCF; the converted files need none of them.
"""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ticket_assets.cores import available_cores
from ticket_assets.embedding.backends import Backend
from ticket_assets.embedding.backends.openvino import (
    FILES,
    NETWORK,
    TOKENIZER,
    OpenVinoBackend,
    openvino_core,
)
from ticket_assets.embedding.backends.transformers import TransformersBackend, require_packages
from ticket_assets.embedding.encoder import Encoder, Vectors
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.fingerprint import file_sha256, short_digest
from ticket_assets.embedding.hardware import Precision, cpu_features
from ticket_assets.embedding.presets import EncoderModel
from ticket_assets.parallel import run_alone
from ticket_assets.sample.mailbox import request_texts
from ticket_assets.storage.whole_file import replace_file
from ticket_assets.storage.whole_folder import only_writer, replacing_folder

Record = dict[str, Any]

RECORD = "record.json"
LEAST_COSINE: dict[Precision, float] = {"fp32": 0.9999, "bf16": 0.9995, "int8": 0.9985}
"""Smallest cosine to the vectors of transformers in fp32."""
LEAST_SAME_NEIGHBOURS = 0.95
"""Share of the five nearest tickets that vectors in int8 must leave the same. Cosines alone tell
too little: of multilingual-e5-small as it comes the least is 0.9994, and 95.8 % of the nearest
tickets stay; of the ticket encoder, whose vectors are spread wider, 0.9988 and 96.5 %."""

_FORMAT = "3"  # Raise it when the converted files change.
_MAX_TOKENS = 256
"""Longest text that is compared, as the settings have it by default."""
_SMOOTHING = 0.8
"""The exponent of SmoothQuant, which divides a channel's range between rows and weights. Of 0.6 to
0.95, none is better for multilingual-e5-small; more calibration texts are."""
_KEPT_IN_FLOATS = r".*(?<!attention\.)output\.dense/.*"
"""Of encoders like BERT, the product that ends each layer's feed-forward part: its inputs have a
few very large channels. multilingual-e5-small on AVX512-VNNI, 1,000 requests: with all products in
int8 the least cosine is 0.9990 and 94.3 % of the nearest tickets stay the same; with these in bf16
0.9994 and 96.1 %, for 15 % of the speed."""
_CALIBRATION_REQUESTS = 250
_JUDGED_REQUESTS = 1000
"""Requests of the sample mailbox on which int8 is judged; it was not calibrated on them."""
_KEPT = 16
"""Vectors beside the converted files, to compare on each kind of CPU."""
# Beside some of the calibration texts, for the comparison with transformers.
_ODD_TEXTS = (
    "",
    " \t\n\u00a0\u200b\u0007 ÉCRAN — Straße, ſ, ﬁ, e\u0301, ½, ＶＰＮ 👩🏽‍💻",
    "<s> </s> <mask> <pad> <unk> [CLS] [SEP] [MASK] [PAD] [UNK]",
    "imprimante " * 600,  # longer than any encoder of this kind takes
)


def folder_of(model: EncoderModel, precision: Precision) -> Path:
    """The folder of the converted files; bf16 and fp32 share the one of the floats."""
    return model.converted / ("int8" if precision == "int8" else "float")


def is_converted(model: EncoderModel, precision: Precision) -> bool:
    """Whether the encoder has been converted, or was found not to be convertible here."""
    return _record(model, folder_of(model, precision)) is not None


def reason_against(model: EncoderModel, precision: Precision) -> str | None:
    """Why OpenVINO must not compute this encoder in this precision here; None: it may.

    Converts the encoder, and compares it on this kind of CPU, where that has not been done.

    Raises:
        EncoderError: the encoder's files cannot be used, or the converted ones not be written.
    """
    folder = folder_of(model, precision)
    record = _record(model, folder)
    if record is None:
        if precision == "int8":
            if reason := reason_against(model, "fp32"):
                return reason
            if importlib.util.find_spec("nncf") is None:
                return "the Python package nncf, which makes it, is not installed"
        record = _converted(model, folder)
    if record["refused"]:
        return str(record["refused"])
    return _difference_here(model, precision, record)


def converted_floats(model: EncoderModel) -> Path:
    """The folder of the encoder in fp32, converted where it was not.

    Its vectors are not compared on this kind of CPU, as those in other formats have to be.

    Raises:
        EncoderError: OpenVINO cannot compute it, its files cannot be used, or the converted ones
            not be written.
    """
    folder = folder_of(model, "fp32")
    record = _record(model, folder) or _converted(model, folder)
    if record["refused"]:
        raise EncoderError(f"{model.name} cannot be computed by OpenVINO: {record['refused']}")
    return folder


def _converted(model: EncoderModel, folder: Path) -> Record:
    if folder.name != "int8":
        require_packages(model, f"is not converted in {folder.parent}")
    try:
        # PyTorch would stay in the memory of this process.
        alone = "torch" not in sys.modules
        return run_alone(_made, model, folder) if alone else _made(model, folder)
    except OSError as error:
        raise EncoderError(
            f"Cannot write the converted encoder to {folder}: {error.strerror or error}. It"
            " needs 1 GB and the right to write there; TICKETS_ENCODERS_DIR moves it."
        ) from error


def _record(model: EncoderModel, folder: Path) -> Record | None:
    """The record of the converted files, unless one of them is missing, damaged or of another
    version."""
    try:
        record: Record = json.loads((folder / RECORD).read_text("utf-8"))
        is_whole = record["made_from"] == _made_from(model) and _is_as_written(folder, record)
        # Another kind of CPU may compute what this one did not.
        is_whole &= record["refused"] is None or record["cpu"] == cpu_features()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if is_whole else None


def is_damaged(folder: Path) -> bool:
    """Whether the converted files in `folder` are not those that were written, or not all there."""
    if not folder.exists():
        return False
    try:
        return not _is_as_written(folder, json.loads((folder / RECORD).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return True


def _is_as_written(folder: Path, record: Record) -> bool:
    return all(file_sha256(folder / name) == digest for name, digest in record["sha256"].items())


def _made_from(model: EncoderModel) -> dict[str, str]:
    return {
        "encoder": f"{model.name}@{model.revision}",
        "prefix": model.prefix,
        "pooling": model.pooling,
        "openvino": version("openvino"),
        "format": _FORMAT,
    }


def _made(model: EncoderModel, folder: Path) -> Record:
    """The record of the files, converted unless another process has just done so.

    The process that converts holds the lock: a script without main guard runs in that process too,
    and there would wait for ever for a lock that its caller holds.
    """
    with only_writer(folder):
        if record := _record(model, folder):
            return record
        return _make_int8(model, folder) if folder.name == "int8" else _make_floats(model, folder)


def _make_floats(model: EncoderModel, folder: Path) -> Record:
    plain = TransformersBackend(model, "fp32", _tokens(model))
    texts = [*_calibration_texts()[::9], *_ODD_TEXTS]

    def make(draft: Path) -> Record:
        _save_tokenizer(plain.tokenizer, _tokens(model), draft)
        _save_network(plain.network, draft)
        exact, converted = _encoder(model, "fp32", plain), _encoder(model, "fp32", draft)
        if converted.token_ids(texts) != exact.token_ids(texts):
            raise _RefusedError("its tokenizer gives other tokens once it is saved")
        vectors = exact.encode(texts)
        cosine = _least_cosine("fp32", converted.encode(texts), vectors)
        return {"least_cosine": cosine, "texts": texts, "vectors": vectors.tolist()}

    return _write(model, folder, make)


def _make_int8(model: EncoderModel, folder: Path) -> Record:
    floats = folder_of(model, "fp32")
    texts = request_texts(_JUDGED_REQUESTS, seed=12)

    def make(draft: Path) -> Record:
        exact = _encoder(model, "fp32", floats)
        _save_quantised(floats, exact, draft)
        shutil.copyfile(floats / TOKENIZER, draft / TOKENIZER)
        vectors, reference = _encoder(model, "int8", draft).encode(texts), exact.encode(texts)
        cosine = _least_cosine("int8", vectors, reference)
        if (same := same_neighbours(vectors, reference)) < LEAST_SAME_NEIGHBOURS:
            raise _RefusedError(f"only {same:.1%} of the nearest tickets stay the same")
        return {
            "nncf": version("nncf"),
            "tickets": f"{len(texts):,} requests of the sample mailbox, seed 12",
            "least_cosine": cosine,
            "same_neighbours": same,
            "texts": texts[:_KEPT],
            "vectors": reference[:_KEPT].tolist(),
        }

    return _write(model, folder, make)


class _RefusedError(Exception):
    """OpenVINO must not compute the encoder so; the message is the reason."""


def _least_cosine(precision: Precision, vectors: Vectors, reference: Vectors) -> float:
    """The smallest cosine of a row to its reference; a `_RefusedError` if it is too small."""
    cosine = float(np.einsum("nd,nd->n", vectors, reference).min())
    if not cosine >= LEAST_COSINE[precision]:
        raise _RefusedError(f"its vectors in {precision} differ: cosine {cosine:.4f}")
    return cosine


def _write(model: EncoderModel, folder: Path, make: Callable[[Path], Record]) -> Record:
    """Write the files of `make` with their record; of a refused encoder the record alone."""
    with replacing_folder(folder) as draft:
        record: Record = {"made_from": _made_from(model), "cpu": cpu_features(), "refused": None}
        try:
            with _silence():
                record |= make(draft)
            files = FILES
        except (OSError, MemoryError):
            raise
        # Converters fail in many ways; after each of them transformers can still compute.
        except Exception as error:
            record["refused"] = " ".join(str(error).split())[:300] or type(error).__name__
            files = ()
            for path in draft.iterdir():
                path.unlink()
        record["sha256"] = {name: file_sha256(draft / name) for name in files}
        (draft / RECORD).write_text(json.dumps(record, ensure_ascii=False) + "\n", "utf-8")
    return record


def _difference_here(model: EncoderModel, precision: Precision, record: Record) -> str | None:
    """Compare the kept vectors, unless they agreed on this kind of CPU before."""
    path = _compared_here(model, precision)
    if path.is_file():
        return None
    vectors = _encoder(model, precision, folder_of(model, precision)).encode(record["texts"])
    try:
        cosine = _least_cosine(precision, vectors, np.array(record["vectors"], np.float32))
    except _RefusedError as error:
        return f"on this CPU {error}"
    # Where the folder cannot be written, each start compares again.
    with suppress(OSError):
        replace_file(path, json.dumps({"cpu": cpu_features(), "least_cosine": cosine}) + "\n")
    return None


def _compared_here(model: EncoderModel, precision: Precision) -> Path:
    return folder_of(model, precision) / f"{precision}-{short_digest([cpu_features()])}.json"


def _save_network(network: Any, folder: Path) -> None:
    import openvino
    import torch

    class HiddenStates(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.network(
                input_ids=input_ids, attention_mask=attention_mask
            ).last_hidden_state

    example = torch.ones(2, 8, dtype=torch.long)
    converted = openvino.convert_model(HiddenStates(), example_input=(example, example))
    # Weights of 16 bits: half the memory for the table of words, and cosines of 0.999999.
    openvino.save_model(converted, folder / NETWORK, compress_to_fp16=True)


def _save_tokenizer(tokenizer: Any, max_tokens: int, folder: Path) -> None:
    """Save the tokenizer as transformers uses it, which need not be what its files say."""
    from tokenizers import Tokenizer

    if not getattr(tokenizer, "is_fast", False):
        raise _RefusedError("its tokenizer is not one of the library tokenizers")
    saved: Any = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    saved.enable_padding(pad_id=tokenizer.pad_token_id or 0)
    saved.enable_truncation(max_tokens, direction=tokenizer.truncation_side)
    saved.save(str(folder / TOKENIZER))


def _calibration_texts() -> list[str]:
    """Tickets, and texts that are as unlike them as mail gets."""
    lines = Path(__file__).with_name("calibration_texts.txt").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _save_quantised(floats: Path, exact: Encoder, folder: Path) -> None:
    import nncf
    import openvino

    network = openvino_core().read_model(floats / NETWORK)
    texts = _calibration_texts() + request_texts(_CALIBRATION_REQUESTS, seed=11)
    names = [port.get_any_name() for port in network.inputs]
    samples = [
        dict(zip(names, (np.array([ids], np.int64), np.ones((1, len(ids)), np.int64)), strict=True))
        for ids in exact.token_ids(texts)
    ]
    quantised = nncf.quantize(
        network,
        nncf.Dataset(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(samples),
        ignored_scope=nncf.IgnoredScope(
            patterns=[_KEPT_IN_FLOATS],
            # A table of words in int8 is unpacked to 32 bits when it is loaded: 460 MB for 250,000
            # words, where one of 16 bits stays in its file.
            types=["Gather"],
            # An encoder of another kind has none of these.
            validate=False,
        ),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=_SMOOTHING)
        ),
    )
    openvino.save_model(quantised, folder / NETWORK, compress_to_fp16=True)


def same_neighbours(vectors: Vectors, reference: Vectors, nearest: int = 5) -> float:
    """The share of each row's nearest rows that are the same in both, itself left out."""
    near = [
        np.argsort(-(rows @ rows.T), axis=1)[:, 1 : nearest + 1] for rows in (vectors, reference)
    ]
    return float(np.mean([np.isin(*pair).mean() for pair in zip(*near, strict=True)]))


def _encoder(model: EncoderModel, precision: Precision, source: Path | Backend) -> Encoder:
    """With all numbers of a vector; `source` is the folder of converted files or a backend."""
    if isinstance(source, Path):
        source = OpenVinoBackend(source, precision, _tokens(model), available_cores())
    uncut = replace(model, dimension=model.hidden_size)
    return Encoder(uncut, source, precision=precision, max_tokens=_tokens(model))


def _tokens(model: EncoderModel) -> int:
    return min(model.max_tokens, _MAX_TOKENS)


@contextmanager
def _silence() -> Iterator[None]:
    """Without the warnings, logs and bars of libraries that a user cannot do anything about."""
    out = io.StringIO()
    with warnings.catch_warnings(action="ignore"), redirect_stdout(out), redirect_stderr(out):
        yield
