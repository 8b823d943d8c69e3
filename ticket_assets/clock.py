"""Whether this machine's clock can be right, by what was written before.

With a clock of the past, mail has dates of the future, which are not believed: it would be filed
under the clock's day.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.landing import LandingZone
from ticket_assets.mail.received import CLOCK_TOLERANCE

ACCEPT_CLOCK = "--accept-clock"


class ClockError(TicketAssetsError):
    """The clock lies before what has landed or was written."""


def refuse_early_clock(landing: LandingZone, *files: Path) -> None:
    """Pass unless mail has landed of a day that is still to come, or a file is from then.

    Raises:
        ClockError: with that day, and the flag by which a command goes on all the same.
    """
    latest = (datetime.now(UTC) + CLOCK_TOLERANCE).date()
    days = landing.days()
    if days and days[-1] > latest:
        raise _refusal(f"the newest mail here is of {days[-1]}")
    for file in files:
        written = datetime.fromtimestamp(file.stat().st_mtime, UTC).date()
        if written > latest:
            raise _refusal(f"{file} was written on {written}")


def refuse_clock_before_most(landing: LandingZone) -> None:
    """Pass unless most days with mail are still to come: then it is not the few that a clock which
    ran ahead for a while has left.

    Raises:
        ClockError: with the newest day.
    """
    latest = (datetime.now(UTC) + CLOCK_TOLERANCE).date()
    days = landing.days()
    if 2 * sum(day > latest for day in days) > len(days):
        raise ClockError(
            f"This machine's clock says {datetime.now(UTC):%Y-%m-%d}, and most of the mail here is"
            f" of later days, up to {days[-1]}. Set the clock right."
        )


def _refusal(evidence: str) -> ClockError:
    return ClockError(
        f"This machine's clock says {datetime.now(UTC):%Y-%m-%d}, and {evidence}: mail would be"
        f" filed under wrong days. Set the clock right; where it is right, add {ACCEPT_CLOCK}."
    )
