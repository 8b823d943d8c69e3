"""What each step costs for 1,000 mails, for a day and for a run, and what stores then hold.

Three desks with other numbers of mails and days tell these apart. CPU seconds are counted, not
those of the clock: a machine may have other work.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

from benchmarks.job import SEED, Desk, run_command
from benchmarks.table import Line

ONE_MACHINE, SHARED = "one machine", "shared stores"
FIRST, AGAIN = "new", "known"
"""A run on new mail, training included, and one on the same days again, which computes no vector: a
day with one new mail is made again as a whole."""
IMPORT = "import"
SERVERS = ("Postgres", "Chroma's server")
SETTINGS: dict[str, str] = {}
"""Variables of every desk, beside those of its stores."""


@dataclass(frozen=True)
class DeskSizes:
    """Mails and days of the three desks: the second has more mails, the third more days.

    Fewer mails than `ticket_assets.parallel.LEAST_ITEMS`: from there on processes share the work,
    and their start would count as a cost of mails.
    """

    few: int
    many: int
    days: int
    more_days: int


@dataclass(frozen=True)
class Figures:
    """What was measured on one desk, by what it is of."""

    mails: int
    days: int
    cpu_seconds: dict[str, float]
    peak_megabytes: dict[str, float]
    bytes: dict[str, float]


@dataclass(frozen=True)
class Rate:
    """A cost: so much for each 1,000 mails, for each day that a run covers, and for a run."""

    thousand: float
    day: float
    run: float


@dataclass(frozen=True)
class Scaling:
    """The costs on one kind of stores."""

    cpu_seconds: dict[str, Rate]
    bytes: dict[str, Rate]
    peak_megabytes: dict[str, float]
    """Of the desk with the most mails."""


@dataclass(frozen=True)
class Stores:
    """A desk with its stores: what the command is told of them, and what they hold and use."""

    environment: dict[str, str]
    sizes: Callable[[], dict[str, float]]
    """Bytes by store."""
    servers: Callable[[], dict[str, float]]
    """CPU seconds so far by server."""


def rates(
    desks: Sequence[Figures], of: Callable[[Figures], Mapping[str, float]]
) -> dict[str, Rate]:
    """What three desks say of each cost; `of` gives a desk's figures."""
    result = {}
    for name in sorted({name for desk in desks for name in of(desk)}):
        costs = [of(desk).get(name, 0.0) for desk in desks]
        solved = np.linalg.solve([(desk.mails / 1000, desk.days, 1) for desk in desks], costs)
        result[name] = Rate(*map(float, solved))
    return result


def scaling(make_stores: Callable[[Path], Stores], encoder: str, sizes: DeskSizes) -> Scaling:
    """Measure the three desks, each on stores of its own."""
    few, many, longer = (
        _figures(make_stores, encoder, mails, days)
        for mails, days in (
            (sizes.few, sizes.days),
            (sizes.many, sizes.days),
            (sizes.few, sizes.more_days),
        )
    )
    desks = (few, many, longer)
    return Scaling(
        rates(desks, lambda desk: desk.cpu_seconds),
        rates(desks, lambda desk: desk.bytes),
        many.peak_megabytes,
    )


def _figures(make_stores: Callable[[Path], Stores], encoder: str, mails: int, days: int) -> Figures:
    with TemporaryDirectory() as name:
        folder = Path(name)
        stores = make_stores(folder)
        desk = Desk(folder, encoder)
        desk.environment |= stores.environment | SETTINGS
        sample = folder / "sample"
        desk.tickets(
            "sample", str(sample), "--messages", str(mails), "--days", str(days),
            "--seed", str(SEED),
        )  # fmt: skip
        desk.prepare_encoder()
        before = stores.servers()
        landed = desk.tickets(
            "import", str(sample / "mailbox.mbox"), "--labels", str(sample / "labels.csv")
        )
        seconds, peaks = {IMPORT: landed.cpu_seconds}, {IMPORT: landed.peak_mb}
        for kind, job in ((FIRST, "whole_graph"), (AGAIN, "classify_mail")):
            script = str(Path(__file__).with_name("scaling_run.py"))
            done = run_command([sys.executable, script, job], desk.environment)
            measured = json.loads(done.output.splitlines()[-1])
            for step, cost in measured["cpu_seconds"].items():
                seconds[f"{kind}, {step}"] = cost
            for step, peak in measured["peak_megabytes"].items():
                peaks[f"{kind}, {step}"] = peak
            after = stores.servers()
            for server, cost in after.items():
                seconds[f"{kind}, {server}"] = cost - before[server]
            before = after
        return Figures(mails, days, seconds, peaks, stores.sizes())


def embedded(folder: Path) -> Stores:
    """Everything in the data folder."""
    data = folder / "data"

    def sizes() -> dict[str, float]:
        return {
            "DuckDB's file": data.joinpath("warehouse.duckdb").stat().st_size,
            "Chroma's folder": _folder_bytes(data / "collection"),
            "original mail": _folder_bytes(data / "landing"),
            "Dagster's SQLite": sum(
                path.stat().st_size for path in (data / "dagster").rglob("*.db*")
            ),
        }

    return Stores({}, sizes, dict)


@contextmanager
def shared_servers() -> Iterator[Callable[[Path], Stores] | None]:
    """Makes stores on a Postgres, an S3 server and a Chroma server, those that the tests start;
    None where one of them is not installed."""
    if not all(map(importlib.util.find_spec, ("moto", "obstore", "pytest"))):
        yield None
        return
    # By name: they are not typed as strictly as this package.
    postgres_module, s3_module, chroma_module, stores_module = (
        importlib.import_module(f"tests.services.{name}")
        for name in ("postgres", "s3", "chroma", "stores")
    )
    if not postgres_module.INITDB or not chroma_module.COMMAND.exists():
        yield None
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        places = {name: folder / name for name in ("postgres", "s3")}
        for place in (folder, *places.values()):
            place.mkdir(exist_ok=True)
            place.chmod(0o755)  # Postgres runs as a user of its own
        postgres = postgres_module.PostgresServer(places["postgres"])
        stack.callback(postgres.stop)
        s3 = s3_module.S3Server(places["s3"])
        stack.callback(s3.stop)

        def make(of_desk: Path) -> Stores:
            chroma = chroma_module.ChromaServer(of_desk)
            stack.callback(chroma.stop)
            return _shared(stores_module.SharedStores(of_desk / "desk", postgres, s3, chroma))

        yield make


def _shared(stores: Any) -> Stores:
    import psycopg2
    from psycopg2.extensions import make_dsn

    from ticket_assets.storage.bucket_blobs import BucketBlobs

    history = stores.postgres.database()
    names = [name for name in stores.settings if name not in _of_tests()]
    environment = {f"TICKETS_{name}".upper(): stores.settings[name] for name in names}
    environment["TICKETS_DAGSTER_POSTGRES"] = make_dsn(**history)

    def database_bytes(parameters: Mapping[str, str]) -> float:
        connection = psycopg2.connect(**parameters)
        with connection, connection.cursor() as cursor:
            cursor.execute("select pg_database_size(current_database())")
            (size,) = cursor.fetchone()
        connection.close()
        return float(size)

    def sizes() -> dict[str, float]:
        blobs = list(BucketBlobs(stores.bucket, stores.s3.access).list())
        return {
            "bucket: tables": sum(blob.size for blob in blobs if blob.name.startswith("lake/")),
            "bucket: original mail": sum(
                blob.size for blob in blobs if blob.name.startswith("desk/landing/")
            ),
            "Postgres: catalogue": database_bytes(stores.database),
            "Postgres: Dagster": database_bytes(history),
            "Chroma's folder": _folder_bytes(stores.chroma.folder),
        }

    def servers() -> dict[str, float]:
        pids = (
            int((stores.postgres.folder / "postmaster.pid").read_text().split()[0]),
            stores.chroma.process.pid,
        )
        return dict(zip(SERVERS, map(_tree_seconds, pids), strict=True))

    return Stores(environment, sizes, servers)


def _of_tests() -> set[str]:
    """The settings with which the tests make everything small."""
    small = importlib.import_module("tests.services.stores").SETTINGS
    return {*small, "data_dir"}


def _tree_seconds(pid: int) -> float:
    """CPU seconds of a server, its processes that have ended included."""
    process = psutil.Process(pid)
    seconds = 0.0
    for one in (*process.children(recursive=True), process):
        with suppress(psutil.NoSuchProcess):  # it has ended, and counts among its parent's
            times = one.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def _folder_bytes(folder: Path) -> float:
    return float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))


def processor() -> str:
    """What this machine computes with."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor()
    names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def lines(stores: str, found: Scaling) -> Iterator[Line]:
    """The costs on one kind of stores, the most expensive for 1,000 mails first."""
    for step, rate in sorted(found.cpu_seconds.items(), key=lambda item: -item[1].thousand):
        peak = found.peak_megabytes.get(step)
        yield Line(
            "scaling",
            f"{stores}, {step}",
            f"{rate.thousand:.2f} CPU s for 1,000 mails, {rate.day:.3f} for each day,"
            f" {rate.run:.1f} for a run" + (f"; up to {peak:,.0f} MB" if peak else ""),
        )
    for store, rate in found.bytes.items():
        thousand, day, run = (size / 1e6 for size in (rate.thousand, rate.day, rate.run))
        yield Line(
            "scaling",
            f"{stores}, {store}",
            f"{thousand:.2f} MB for 1,000 mails, {day:.3f} for each day, {run:.1f} at first",
        )
