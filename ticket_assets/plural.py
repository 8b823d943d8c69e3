"""Counts as people write them."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """`1 message`, `2,100 messages`; the plural is `noun` with an s if none is given."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
