"""Any error is one line: what, where, and the advice that fits it."""

import errno
import os
import sqlite3

import duckdb
import pytest

from ticket_assets.errors import TicketAssetsError, explained


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EROFS, "mount it for writing"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENFILE, "fs.file-max"),
        (errno.EACCES, "chmod"),
        (errno.EIO, "dmesg"),
        (errno.ENOTDIR, "A file stands where a folder belongs: `tickets doctor --repair`"),
        (errno.EISDIR, "A folder stands where a file belongs: `tickets doctor --repair`"),
        (errno.ENOENT, "Check the path"),
    ],
)
def test_an_error_of_the_system_names_the_file_and_what_to_do(number, advice):
    line = explained(OSError(number, os.strerror(number), "/data/x"))

    assert line.startswith(f"{os.strerror(number)}: /data/x. ")
    assert advice in line


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (MemoryError(), "Memory is used up"),
        (sqlite3.OperationalError("database or disk is full"), "make room"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "mount it for writing"),
        (duckdb.IOException("Could not write file: No space left on device"), "make room"),
        (duckdb.OutOfMemoryException("Out of Memory Error: failed"), "Memory is used up"),
    ],
)
def test_so_does_one_that_a_library_has_put_into_words(error, advice):
    assert advice in explained(error)


def test_what_an_error_was_made_of_says_more_than_the_error_around_it():
    between, around = RuntimeError("in between"), ValueError("around")
    around.__context__ = between
    between.__cause__ = TicketAssetsError("The vectors are gone. Make them anew.")

    assert explained(around) == "The vectors are gone. Make them anew."


def test_what_nobody_has_foreseen_is_one_line_with_its_place():
    with pytest.raises(KeyError) as raised:
        {}["category"]

    line = explained(raised.value)

    assert line.startswith("KeyError: 'category' (test_errors.py, line ")
    assert "`tickets doctor`" in line
    assert "\n" not in line
