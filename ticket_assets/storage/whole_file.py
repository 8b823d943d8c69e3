"""Files that are replaced whole: a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4


def replace_file(path: Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) in place of what `path` held, if it existed.

    The bytes are on disk before the name changes hands; the name itself survives a power cut once
    the folder is synced. Temporary names are unique: two writers of one file must not share a
    half-written one.
    """
    written = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    with temporary.open("xb") as file:
        file.write(written)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
