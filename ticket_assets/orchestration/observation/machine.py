"""Memory of the desk's processes on this machine, and the space that its data folder has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from prometheus_client.core import Metric

from ticket_assets.metrics.families import gauge, gauges

KINDS = {
    "daemon": ("dagster._daemon", "dagster-daemon"),
    "webserver": ("dagster_webserver", "dagster-webserver"),
    "code_server": ("api grpc", "code-server"),
}
"""Words of the command lines of Dagster's processes."""


def machine_families(data_dir: Path, dagster_home: Path) -> Iterator[Metric]:
    """The figures now; a process of another user, or on another machine, has none."""
    memory: Counter[str] = Counter({"exporter": psutil.Process().memory_info().rss})
    for process in psutil.process_iter():
        # It may end, or belong to somebody else.
        with suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if "dagster" not in words:
                continue
            kind = next(
                (kind for kind, names in KINDS.items() if any(name in words for name in names)),
                None,
            )
            if kind and process.environ().get("DAGSTER_HOME") == str(dagster_home):
                memory[kind] += process.memory_info().rss
    yield gauges(
        "tickets_process_resident_memory_bytes",
        "Memory of the desk's processes on this machine; those of one kind together.",
        ("process",),
        {(kind,): size for kind, size in memory.items()},
    )
    folder = data_dir.absolute()
    usage = psutil.disk_usage(str(folder if folder.exists() else folder.parent))
    yield gauge("tickets_data_free_bytes", "Free space where the data folder is.", usage.free)
    yield gauge("tickets_data_size_bytes", "Size of the file system it is on.", usage.total)
