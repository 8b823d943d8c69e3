"""What the whole job costs: against a plain script, for a few new tickets, and as it grows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks import plain_script
from ticket_assets.errors import TicketAssetsError
from ticket_assets.sample.mailbox import SampleMail, generate, write_mailbox
from ticket_assets.settings import child_environment

if TYPE_CHECKING:
    from ticket_assets.embedding.configured import ConfiguredEncoder

DAYS = 60
SEED = 7
NEW_SEED = 8
"""Another mailbox than the one the new tickets come on top of."""
KILOBYTES_PER_MB = 1024

_SUBJECT = re.compile(rb"^Subject: ", re.IGNORECASE | re.MULTILINE)
_RECEIVED = re.compile(rb"^Received:.*\n(?:[ \t].*\n)*", re.IGNORECASE | re.MULTILINE)
_DATE = re.compile(rb"^Date:.*(?:\n[ \t].*)*$", re.IGNORECASE | re.MULTILINE)

PARTS = {
    "encoding": ("ticket_embeddings", "run_encoding_seconds"),
    "indexing": ("ticket_collection", "run_indexing_seconds"),
    "fitting": ("candidate_classifier", "fitting_seconds"),
}
"""What a run reports of its three kinds of work: asset and figure."""


class BenchError(TicketAssetsError):
    """A benchmark cannot be carried out."""


@dataclass(frozen=True)
class Finished:
    """A command that has ended: what it printed, how long it took, the most memory it had, and the
    CPU seconds of it and its children."""

    output: str
    seconds: float
    peak_mb: float
    cpu_seconds: float


@dataclass(frozen=True)
class JobCost:
    """What the import and the whole graph cost for a sample mailbox of so many messages."""

    messages: int
    seconds: float
    encoding_seconds: float
    indexing_seconds: float
    fitting_seconds: float
    peak_mb: float
    step_seconds: dict[str, float]

    @property
    def other_share(self) -> float:
        """Share of the time that is neither encoding, indexing nor fitting."""
        work = self.encoding_seconds + self.indexing_seconds + self.fitting_seconds
        return 1 - work / self.seconds


@dataclass(frozen=True)
class ScriptCost:
    """What the plain script took for the same tickets, without reading or cleaning any mail."""

    seconds: float
    parts: dict[str, float]
    peak_mb: float


@dataclass(frozen=True)
class IncrementCost:
    """What a few new tickets cost on top of those already there."""

    messages: int
    texts_encoded: int
    vectors_upserted: int
    seconds: float
    """From the start of the import to the predictions, both processes' start-up included."""


PREPARE_ENCODER = """
from ticket_assets.embedding.configured import configured_encoder
from ticket_assets.settings import Settings

configured_encoder(Settings()).encoder
"""


class Desk:
    """A data folder of its own, worked on by the `tickets` command."""

    def __init__(self, folder: Path, encoder: str) -> None:
        self.folder = folder
        self._encoder_name = encoder
        self.environment = child_environment({"data_dir": str(folder / "data"), "encoder": encoder})

    def tickets(self, *arguments: str) -> Finished:
        """Run the `tickets` command.

        Raises:
            BenchError: it fails; the message holds the end of what it printed.
        """
        return run_command([sys.executable, "-m", "ticket_assets", *arguments], self.environment)

    def sort_sample(self, messages: int) -> JobCost:
        """Import a sample mailbox and materialise the whole graph."""
        sample = self.folder / "sample"
        self.tickets(
            "sample", str(sample), "--messages", str(messages), "--days", str(DAYS),
            "--seed", str(SEED),
        )  # fmt: skip
        landed = self.tickets(
            "import", str(sample / "mailbox.mbox"), "--labels", str(sample / "labels.csv")
        )
        self.prepare_encoder()
        done = self.tickets("run", "--json")
        (run,) = json.loads(done.output)["runs"]
        return JobCost(
            messages=messages,
            seconds=landed.seconds + done.seconds,
            peak_mb=max(landed.peak_mb, done.peak_mb),
            step_seconds=run["step_seconds"],
            **{
                f"{part}_seconds": run["figures"][asset][key]
                for part, (asset, key) in PARTS.items()
            },
        )

    def prepare_encoder(self) -> None:
        """What is done once in the life of an installation: the encoder's files are unpacked and
        converted, and its vectors compared with those of transformers."""
        # Not in this process, whose peak memory would count as that of the processes it starts.
        run_command([sys.executable, "-c", PREPARE_ENCODER], self.environment)

    def _encoder(self) -> ConfiguredEncoder:
        from ticket_assets.embedding.configured import configured_encoder
        from ticket_assets.settings import Settings

        return configured_encoder(
            Settings(data_dir=self.folder / "data", encoder=self._encoder_name)
        )

    def sort_new(self, messages: int, seed: int = NEW_SEED) -> IncrementCost:
        """Import and sort mail of today, after that of the sample; each seed gives other mail."""
        day = datetime.now(UTC).date()
        new = write_mailbox(self.folder / f"new{seed}", _new_requests(messages, day, seed))
        landed = self.tickets("import", str(new.mailbox))
        done = self.tickets("run", "--job", "classify_mail", "--day", day.isoformat(), "--json")
        (run,) = json.loads(done.output)["runs"]
        after = sum(
            seconds for step, seconds in run["step_seconds"].items() if step.startswith("drift")
        )
        return IncrementCost(
            messages=messages,
            texts_encoded=int(run["figures"]["ticket_embeddings"]["run_texts_encoded"]),
            vectors_upserted=int(run["figures"]["ticket_collection"]["run_upserted"]),
            seconds=landed.seconds + done.seconds - after,
        )

    def plain_script(self) -> ScriptCost:
        """Do the same with a plain script, on the clean texts of this desk."""
        from ticket_assets.storage.warehouse import DuckDBFile

        tickets = self.folder / "tickets.parquet"
        DuckDBFile(self.folder / "data" / "warehouse.duckdb").frame(
            "select c.ticket_id, c.received_at, c.language, c.text, l.category, l.priority"
            " from clean_tickets c left join ticket_labels l using (ticket_id)"
        ).to_parquet(tickets)
        model = self._encoder().model
        out = self.folder / "plain"
        out.mkdir()
        done = run_command(
            [
                sys.executable, str(plain_script.__file__), str(tickets), str(model.folder),
                model.prefix, "256", str(out),
            ],
            self.environment,
        )  # fmt: skip
        return ScriptCost(done.seconds, json.loads(done.output.splitlines()[-1]), done.peak_mb)


def run_command(command: list[str], environment: dict[str, str]) -> Finished:
    """Run a command to its end.

    Raises:
        BenchError: it fails; the message holds the end of what it printed.
    """
    with TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        started = time.perf_counter()
        with output.open("wb") as out, errors.open("wb") as err:
            # In a folder without a `.env`, whose settings would be those of the desk at work.
            process = subprocess.Popen(  # noqa: S603
                command, env=environment, cwd=folder, stdout=out, stderr=err
            )
            # Only wait4 tells the peak memory of one child.
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            ending = errors.read_text("utf-8", "replace").strip().splitlines()[-3:]
            raise BenchError(f"{' '.join(command[1:6])} failed: {' '.join(ending)}")
        return Finished(
            output.read_text("utf-8"),
            seconds,
            usage.ru_maxrss / KILOBYTES_PER_MB,
            usage.ru_utime + usage.ru_stime,
        )


def _new_requests(count: int, day: date, seed: int) -> Iterator[SampleMail]:
    """That many requests, received on `day`, each with a subject that no other ticket has."""
    made = 0
    for mail in generate(messages=10 * count + DAYS, days=DAYS, until=day, seed=seed):
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=made)
        # The traces of transport tell the day of the sample.
        content = _RECEIVED.sub(b"", mail.content)
        machine = 1000 * (40 + seed) + made
        content, subjects = _SUBJECT.subn(b"Subject: PC-%d " % machine, content, 1)
        content, dates = _DATE.subn(f"Date: {format_datetime(moment)}".encode(), content, 1)
        if mail.group != "ticket" or not subjects or not dates:
            continue
        yield replace(mail, content=content, received_at=moment)
        made += 1
        if made == count:
            return
    raise BenchError(f"The sample has only {made} requests to take {count} from.")
