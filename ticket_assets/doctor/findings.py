"""What a look at a desk finds, and what repairs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ticket_assets.errors import explained

if TYPE_CHECKING:
    from ticket_assets.desk import Desk

REPAIR = "`tickets doctor --repair`"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    what: str
    """What is wrong, and what is lost with it."""
    where: str
    """The file, or the first of several; the part of the desk where no file can be named."""
    repair: str
    """What repairs it; of what is repaired, what was done and what is still to do."""
    is_repaired: bool = False


class Examination(Protocol):
    """A look at one part of a desk."""

    def __call__(self, desk: Desk, *, repair: bool) -> Iterator[Finding]:
        """What is wrong with the part; `repair`: and repair what can be."""


def examine(desk: Desk, part: str, examination: Examination, *, repair: bool) -> Iterator[Finding]:
    """What is wrong with a part of a desk. One that cannot be looked at is a finding too, so that
    it hides nothing of the others."""
    try:
        yield from examination(desk, repair=repair)
    except Exception as error:
        yield Finding(f"cannot be judged: {explained(error)}", part, "what is said of it")


def first_of(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{min(names)}{more}"
