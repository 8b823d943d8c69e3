"""Whether the originals of the landing zone still hold the bytes that landed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

from ticket_assets.mail.changed_days import MESSAGE_FILE, day_folders
from ticket_assets.mail.landing import LandingZone, is_damaged

NIGHTS = 30
"""Nights in which the audit reads every original once. It has no factor in common with the seven
days of a week: a machine that is off at weekends reads all of them too, if later."""


def damaged_originals(
    landing: LandingZone,
    night: date | None = None,
    on_original: Callable[[int], None] | None = None,
) -> Iterator[str]:
    """The names of the originals whose bytes are not those that their name stands for.

    Args:
        night: read the share of this night alone, which is decided by the originals' hashes.
        on_original: called with how many have been read.
    """
    names = (
        f"{day}/{name}"
        for day, files in landing.files.names_in(day_folders(landing.files))
        for name in sorted(files)
        if MESSAGE_FILE.fullmatch(name) and (night is None or _is_due(name, night))
    )
    for number, (name, content) in enumerate(landing.files.read_many(names), 1):
        if is_damaged(name, content):
            yield name
        if on_original:
            on_original(number)


def _is_due(name: str, night: date) -> bool:
    return int(name[:8], 16) % NIGHTS == night.toordinal() % NIGHTS
