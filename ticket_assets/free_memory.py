"""Returns memory that this process has freed to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def give_back_free_memory() -> None:
    """Have the C library return its empty pages; does nothing where it cannot.

    glibc keeps freed memory: 350 MB after the encoder's first few thousand texts, and as much again
    after the encoder itself.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
