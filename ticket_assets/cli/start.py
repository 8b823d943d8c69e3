"""What every command begins with: settings that can be used, or one line that says why not."""

from __future__ import annotations

from ticket_assets.desk import Desk
from ticket_assets.errors import TicketAssetsError
from ticket_assets.settings import SettingsError, load_settings


class CommandError(TicketAssetsError):
    """A command cannot be carried out as it was given."""


def command_desk() -> Desk:
    """The desk that a command works on.

    Raises:
        SettingsError: a setting is not allowed, or the data folder is a file.
    """
    settings = load_settings()
    if settings.data_dir.exists() and not settings.data_dir.is_dir():
        raise SettingsError(
            f"TICKETS_DATA_DIR={settings.data_dir} is not a folder. Name one; it need not exist."
        )
    return Desk(settings)
