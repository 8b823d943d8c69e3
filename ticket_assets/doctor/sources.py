"""Whether what the desk reads from can be made of its settings and its routing file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ticket_assets.delivery.reading_back import UnusableSource
from ticket_assets.doctor.findings import Finding

if TYPE_CHECKING:
    from ticket_assets.desk import Desk


def examine_sources(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """Each source can be made; whether it answers is told by its failures."""
    for source in desk.sources:
        if isinstance(source, UnusableSource):
            yield Finding(
                f"it cannot be known {source.name}",
                str(desk.settings.routing),
                str(source.error),
            )
