"""Days that have lost all their mail since their rows were made: it got another day, was erased, or
was set aside as damaged."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from ticket_assets.mail.changed_days import NO_MAIL
from ticket_assets.storage.day_origins import UNPARTITIONED, Origin


def emptied_days(landed: Mapping[date, str], made: Mapping[date, Origin]) -> dict[date, str]:
    """The fingerprint, which is that of no mail, of each day that has none now and has rows of a
    table that were made of mail. Days whose mail was purged are among them.

    Args:
        landed: the fingerprint of each day that has mail.
        made: by day, what the rows of the table were made from.
    """
    return {
        day: NO_MAIL
        for day, origin in made.items()
        if day != UNPARTITIONED and day not in landed and origin.landed != NO_MAIL
    }
