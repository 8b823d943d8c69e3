"""The search finds what is there, however it is packed."""

import gzip
import io
import lzma
import zipfile
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from tests.traces import traces

WORD = "Zwyrtalka"
FRAME = pd.DataFrame({"text": [f"{WORD} number {number} of the desk" for number in range(5000)]})


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside", content)
    return packed.getvalue()


def zstd(content: bytes) -> bytes:
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(content)
    return packed.getvalue().to_pybytes()


def parquet(compression: str) -> bytes:
    packed = io.BytesIO()
    FRAME.to_parquet(packed, compression=compression)
    return packed.getvalue()


def duckdb_file(folder: Path) -> bytes:
    path = folder / "made.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.from_df(FRAME).create("words")
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.mark.parametrize(
    "packed",
    [
        lambda _: WORD.upper().encode(),
        lambda _: zipped(zipped(WORD.encode() * 3)),
        lambda _: gzip.compress(WORD.encode() * 3),
        lambda _: lzma.compress(WORD.encode() * 3),
        lambda _: zstd(WORD.encode() * 3),
        lambda _: parquet("zstd"),
        lambda _: parquet("snappy"),
        duckdb_file,
    ],
)
def test_a_word_is_found(tmp_path, packed):
    content = packed(tmp_path)
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "other").write_bytes(b"nothing of the kind")

    assert traces([WORD, "absent"], tmp_path) == {str(tmp_path / "file"): {WORD}}


def test_an_encoded_part_of_a_mail_is_read(tmp_path):
    mail = b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nWnd5cnRhbGth\n"
    (tmp_path / "a.eml").write_bytes(mail)

    assert traces([WORD], tmp_path) == {str(tmp_path / "a.eml"): {WORD}}
