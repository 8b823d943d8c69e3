"""Rows of Excel workbooks, one in memory at a time; what would fill the memory is refused."""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from ticket_assets.mail.archives import LEAST_BYTES, MAX_RATIO, MAX_TABLE_BYTES, opened_zip
from ticket_assets.mail.input_files import MAX_ROW_CHARACTERS, ExportError, InputFile

MAX_SHARED_BYTES = 256 << 20
"""The texts that all cells share, which are held in memory twice over."""
MAX_PART_BYTES = 16 << 20
"""Formats and the like, which are read as a whole into twenty times their size."""
_ROWS_ABOVE = 100
"""A header stands below a title at most."""

_PROTECTED = b"\xd0\xcf\x11\xe0"  # also begins an old .xls


def sheet_headers(file: InputFile) -> dict[str, list[str]]:
    """The column names of each visible sheet that has a row with two cells at least.

    Raises:
        ExportError: it is no workbook, is damaged, has a password, or unpacks to too much.
    """
    headers = {}
    with _opened(file) as workbook:
        for sheet in workbook.worksheets:
            if sheet.sheet_state == "visible":
                for cells in islice(_sheet_rows(workbook, sheet), _ROWS_ABOVE):
                    if _filled(cells) > 1:
                        headers[sheet.title] = ["" if cell is None else str(cell) for cell in cells]
                        break
    return headers


def sheet_rows(file: InputFile, sheet: str) -> Iterator[list[Any]]:
    """The cells of each row below the header of a sheet, as numbers, texts and dates.

    Raises:
        ExportError: as `sheet_headers`.
    """
    with _opened(file) as workbook:
        rows = _sheet_rows(workbook, workbook[sheet])
        for cells in rows:
            if _filled(cells) > 1:
                break
        yield from rows


def _filled(cells: list[Any]) -> int:
    """How many are not blank."""
    return sum(cell is not None and bool(str(cell).strip()) for cell in cells)


class _Parts(zipfile.ZipFile):
    """The parts of a workbook, of which no more is read than one may hold."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        super().__init__(file)
        self._path = path
        size = os.fstat(file.fileno()).st_size
        self._left = min(MAX_TABLE_BYTES, MAX_RATIO * max(size, LEAST_BYTES))
        self._at_once = MAX_SHARED_BYTES
        self._since_row = 0

    def open(self, *arguments: Any, **options: Any) -> IO[bytes]:
        part = _Part(super().open(*arguments, **options), self)
        return cast("IO[bytes]", io.BufferedReader(part))

    def read(self, name: str | zipfile.ZipInfo, pwd: bytes | None = None) -> bytes:
        if self.getinfo(str(name)).file_size > MAX_PART_BYTES:
            raise self._refused(f"formats of more than {MAX_PART_BYTES >> 20} MB")
        return super().read(name, pwd)

    def add(self, size: int) -> None:
        self._left -= size
        self._since_row += size
        if self._left < 0:
            raise self._refused(f"more than {MAX_RATIO} times its size, or than 4 GB")
        if self._since_row > self._at_once:
            what = "texts" if self._at_once == MAX_SHARED_BYTES else "a row"
            raise self._refused(f"{what} of more than {self._at_once >> 20} MB")

    def begin_row(self) -> None:
        self._since_row, self._at_once = 0, MAX_ROW_CHARACTERS

    def _refused(self, excess: str) -> ExportError:
        return ExportError(f"{self._path} holds {excess}: save the sheet as CSV if you trust it.")


class _Part(io.RawIOBase):
    """A part whose bytes count."""

    def __init__(self, stream: IO[bytes], parts: _Parts) -> None:
        self._stream = stream
        self._parts = parts

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self._parts.add(len(chunk))
        return len(chunk)


@contextmanager
def _opened(file: InputFile) -> Iterator[Any]:
    """A workbook whose sheets are not read yet."""
    from openpyxl.reader.excel import ExcelReader

    with file.open() as opened, _explained(file.path):
        if opened.read(4) == _PROTECTED:
            raise ExportError(
                f"{file.path} has a password or is an old .xls: save it as .xlsx without password."
            )
        opened.seek(0)
        warnings.filterwarnings("ignore", module="openpyxl")  # of formats that cannot be shown
        with opened_zip(opened, file.path, partial(_Parts, file.path)) as parts:
            reader = ExcelReader(opened, read_only=True, data_only=True, keep_links=False)
            reader.archive = parts
            reader.read()
            yield reader.wb


def _sheet_rows(workbook: Any, sheet: Any) -> Iterator[list[Any]]:
    from openpyxl.utils.escape import unescape
    from openpyxl.worksheet._reader import DATA_TAG, ROW_TAG, WorkSheetParser
    from openpyxl.xml.functions import iterparse

    parts: _Parts = workbook._archive
    with parts.open(sheet._worksheet_path) as source:
        # The sheet's own loop fills gaps between rows however large, trusts a size that many
        # programs write wrongly, and keeps something of each row.
        parser = WorkSheetParser(
            source,
            sheet._shared_strings,
            data_only=True,
            epoch=workbook.epoch,
            date_formats=workbook._date_formats,
            timedelta_formats=workbook._timedelta_formats,
        )
        data: Any = None
        for event, element in iterparse(source, ("start", "end")):
            if element.tag == DATA_TAG and event == "start":
                data = element
            elif element.tag == DATA_TAG:
                return
            if element.tag != ROW_TAG or event == "start":
                continue
            parts.begin_row()
            cells: list[Any] = []
            for cell in parser.parse_row(element)[1]:
                at, value = cell["column"], cell["value"]
                if isinstance(value, str):
                    value = unescape(value)  # "_x000D_" is a line's end
                elif isinstance(value, float) and value.is_integer():
                    value = int(value)  # some programs write a number as 12.0
                cells.extend([None] * (at - len(cells)))
                cells[at - 1] = value
            parser.row_dimensions.clear()
            data.clear()
            if _filled(cells):
                yield cells


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except ExportError:
        raise
    # Whatever a damaged part makes the library stumble over.
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise ExportError(
            f"{path} is not a readable workbook ({reason or type(error).__name__}): save it anew,"
            " or the sheet as CSV."
        ) from None
