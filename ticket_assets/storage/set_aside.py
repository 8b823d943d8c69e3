"""What was damaged and moved away, for a person to look at: `set_aside/<time>` in the data folder.

Nothing reads it. Nobody can tell whose data it holds, so an erasure or a purge removes all of it.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

SET_ASIDE = "set_aside"


def set_aside(data_dir: Path, *paths: Path) -> Path:
    """Move files or folders of the data folder away, those that exist; returns the folder where
    they are now.

    Raises:
        OSError: they cannot be moved.
    """
    folder = data_dir / SET_ASIDE / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    folder.mkdir(parents=True)
    for path in paths:
        if path.exists() or path.is_symlink():
            place = folder / path.relative_to(data_dir)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
    return folder


def remove_set_aside(data_dir: Path, *, dry_run: bool = False) -> int:
    """Remove everything that was moved away; returns how often something was. `dry_run` only
    counts."""
    folder = data_dir / SET_ASIDE
    times = len(list(folder.iterdir())) if folder.is_dir() else 0
    if times and not dry_run:
        shutil.rmtree(folder)
    return times
