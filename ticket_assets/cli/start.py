"""The start of every command: usable settings, or one line with the reason why not."""

from __future__ import annotations

from typing import Annotated

import typer

from ticket_assets.clock import ACCEPT_CLOCK
from ticket_assets.desk import Desk
from ticket_assets.desk_record import ACCEPT
from ticket_assets.errors import TicketAssetsError
from ticket_assets.routing import load_routing
from ticket_assets.settings import SettingsError, load_settings

AcceptSettings = Annotated[
    bool,
    typer.Option(
        ACCEPT, help="Go on with settings that differ from those this desk was made with."
    ),
]

AcceptClock = Annotated[
    bool,
    typer.Option(
        ACCEPT_CLOCK, help="Go on although the clock lies before the newest mail or the file."
    ),
]


class CommandError(TicketAssetsError):
    """A command cannot be carried out as it was given."""


def command_desk(*, checked: bool = True, routed: bool = True) -> Desk:
    """The desk that a command works on.

    Args:
        checked: refuse settings that differ from those the desk was made with.
        routed: refuse a routing file that cannot be used. Every command needs one, except for the
            one that writes it.

    Raises:
        SettingsError: a setting is not allowed, or the data folder is a file.
        RoutingError: the routing file is missing or cannot be used.
        DeskRecordError: a setting differs.
    """
    settings = load_settings()
    if settings.data_dir.exists() and not settings.data_dir.is_dir():
        raise SettingsError(
            f"TICKETS_DATA_DIR={settings.data_dir} is not a folder. Name one; it need not exist."
        )
    desk = Desk(settings)
    if routed:
        load_routing(settings.routing)
    if checked:
        desk.require_same_settings()
    return desk
