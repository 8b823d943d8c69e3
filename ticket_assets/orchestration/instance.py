"""The Dagster instance that a desk's runs are recorded on."""

from __future__ import annotations

import os
from pathlib import Path

from ticket_assets.errors import TicketAssetsError


class RunError(TicketAssetsError):
    """A run cannot be started, or did not succeed."""


def dagster_home() -> Path:
    """The Dagster home of this process: DAGSTER_HOME, else `dagster_home` in the working folder.

    Raises:
        RunError: neither holds a dagster.yaml.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or "dagster_home").absolute()
    if not (home / "dagster.yaml").is_file():
        raise RunError(
            f"There is no dagster.yaml in {home}. Set DAGSTER_HOME to the project's dagster_home"
            " folder, or start the command from the project's folder."
        )
    os.environ["DAGSTER_HOME"] = str(home)
    return home
