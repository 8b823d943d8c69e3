"""Looks for a person in every byte that a desk keeps: what is erased must be in none.

What is compressed is read: ZIP (a model), gzip, zstd and xz, one in the other, the columns of text
of Parquet, the rows of a DuckDB file, and the parts of a mail. Of blocks of a DuckDB file that no
table uses only the bytes are searched, and DuckDB compresses strings there: tests that look for
such blocks write them uncompressed. Vectors and weights are numbers and are not read.
"""

import gzip
import io
import lzma
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from email import policy
from email.parser import BytesParser
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet


def traces(texts: Iterable[str], *folders: Path) -> dict[str, set[str]]:
    """By the path of each file that holds some of the texts, in any case, those that it holds."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return traces_in(texts, ((str(path), path.read_bytes()) for path in files))


def traces_in(texts: Iterable[str], contents: Iterable[tuple[str, bytes]]) -> dict[str, set[str]]:
    """The same of contents with their names; a name counts as well."""
    sought = {text: text.lower().encode() for text in texts}
    found: dict[str, set[str]] = {}
    for name, content in contents:
        for readable in _readable(name, content):
            lower = readable.lower()
            for text, encoded in sought.items():
                if encoded in lower or encoded in name.lower().encode():
                    found.setdefault(name, set()).add(text)
    return found


def _readable(name: str, content: bytes) -> Iterator[bytes]:
    yield content
    if content.startswith(b"PK\x03\x04"):
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from _readable(member, archive.read(member))
    elif content.startswith(b"\x1f\x8b"):
        yield from _readable(name, gzip.decompress(content))
    elif content.startswith(b"\xfd7zXZ"):
        yield from _readable(name, lzma.decompress(content))
    elif content.startswith(b"\x28\xb5\x2f\xfd"):
        stream = pa.CompressedInputStream(pa.BufferReader(content), "zstd")
        yield from _readable(name, stream.read())
    elif content.startswith(b"PAR1"):
        yield from _columns(pyarrow.parquet.read_table(io.BytesIO(content)))
    elif content[8:12] == b"DUCK":
        yield from _rows(name)
    elif name.endswith(".eml"):
        for part in BytesParser(policy=policy.compat32).parsebytes(content).walk():
            yield part.get_payload(decode=True) or b""


def _columns(table: pa.Table) -> Iterator[bytes]:
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = field.type.value_type if hasattr(field.type, "value_type") else field.type
        if not pa.types.is_primitive(kind):
            yield "\n".join(map(str, column.to_pylist())).encode()


def _rows(path: str) -> Iterator[bytes]:
    with duckdb.connect(path, read_only=True) as connection:
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where not internal"
        ).fetchall()
        for schema, table in tables:
            rows = connection.execute(f'from "{schema}"."{table}"').to_arrow_table()
            yield from _columns(rows)
