"""The desk that is tortured: its mail, the commands on it, and what it is before and after them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email import message_from_bytes
from email.utils import parseaddr
from pathlib import Path

from tests.days import last_friday
from tests.services.stores import SETTINGS
from tests.services.warm_processes import warm_processes
from tests.torture.contents import Contents, desk_contents
from ticket_assets.sample.mailbox import SampleMail, generate, write_mailbox
from ticket_assets.settings import Settings, child_environment, variable_of

TICKETS = (sys.executable, "-m", "ticket_assets")
"""What starts the command, its arguments to follow."""
RAW_MAIL_DAYS = 10
"""The first mails are older at the start, the second ones younger for a week."""
CATEGORIES = {"access", "applications", "network"}
PATIENCE_SECONDS = 300.0
"""A command that takes longer hangs. The longest takes 12 s alone, three times that in company."""


@dataclass(frozen=True)
class Command:
    """A command that is disturbed."""

    name: str
    before: str
    """The state of the desk on which it is given."""
    arguments: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ending:
    """How a command ended, and what it printed."""

    arguments: tuple[str, ...]
    status: int | None
    """None when it hung and had to be killed."""
    output: str
    seconds: float

    def __str__(self) -> str:
        status = "hung" if self.status is None else f"exit {self.status}"
        command = " ".join(("tickets", *self.arguments))
        return f"$ {command}  ({status}, {self.seconds:.0f} s)\n{self.output}"


class Desk:
    """A desk in a folder `disk`, its former states beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk = folder / "disk"
        self.data = self.disk / "data"
        (self.disk / "tmp").mkdir(parents=True)
        self.settings = {**SETTINGS, "data_dir": str(self.data)}
        self.environment = {
            **child_environment(self.settings),
            "TMPDIR": str(self.disk / "tmp"),
            "COLUMNS": "200",
        }
        self.undisturbed: dict[str, Contents] = {}
        """What the desk holds after each command and a run, by the command's name."""
        self.seconds: dict[str, float] = {}
        """How long each command took."""
        self.growth: dict[str, int] = {}
        """How many bytes the disk had more after each command."""
        self.commands = self._commands()

    def _commands(self) -> dict[str, Command]:
        first, second = _mails()
        sender, _ = Counter(map(_sender, first)).most_common(1)[0]
        for name, mails in {"first": first, "second": second}.items():
            write_mailbox(self.folder / name, mails)
        drop_folder = self.folder / "drop"
        drop_folder.mkdir()
        shutil.copy(self.folder / "second" / "mailbox.mbox", drop_folder)
        for number, mail in enumerate(second[::3]):
            (drop_folder / f"{number}.eml").write_bytes(mail.content)
        mailbox, labels = (
            str(self.folder / "second" / name) for name in ("mailbox.mbox", "labels.csv")
        )
        commands = (
            Command("import", "first", ("import", mailbox, "--labels", labels)),
            Command("fetch", "first", ("fetch",), {"drop_folder": str(drop_folder)}),
            Command("run", "landed", ("run",)),
            Command("erase", "whole", ("erase", "--sender", sender, "--yes")),
            Command("purge", "whole", ("purge",), {"raw_mail_days": str(RAW_MAIL_DAYS)}),
        )
        return {command.name: command for command in commands}

    def prepare(self, names: Collection[str]) -> Iterator[str]:
        """Makes the states that these commands need, and remembers what an undisturbed desk holds
        after each; says what it does."""
        yield "a desk with the first mails"
        first = self.folder / "first"
        self.must("import", str(first / "mailbox.mbox"), "--labels", str(first / "labels.csv"))
        self.must("run")
        self.save("first")
        yield "import and run, undisturbed"
        self._measure(self.commands["import"])
        self.save("landed")
        self._measure(self.commands["run"])
        self.save("whole")
        self.undisturbed["import"] = self.undisturbed["run"] = self.contents()
        for name in sorted({"fetch", "erase", "purge"}.intersection(names)):
            yield f"{name}, undisturbed"
            command = self.commands[name]
            self.load(command.before)
            self._measure(command)
            self.must("run", settings=command.settings)
            self.undisturbed[name] = self.contents()

    def _measure(self, command: Command) -> None:
        size = used_bytes(self.disk)
        ending = self.must(*command.arguments, settings=command.settings)
        self.seconds[command.name] = ending.seconds
        self.growth[command.name] = used_bytes(self.disk) - size

    def contents(self) -> Contents:
        return desk_contents(Settings(_env_file=None, **self.settings))

    def tickets(
        self,
        *arguments: str,
        settings: dict[str, str] | None = None,
        program: Sequence[str] | None = None,
        kill_after: float | None = None,
    ) -> Ending:
        """What the command does, started by another program, or killed after so many seconds."""
        changes = {variable_of(name): value for name, value in (settings or {}).items()}
        started = time.monotonic()
        if program is None:
            return self._warm(arguments, {**self.environment, **changes}, kill_after)
        process = subprocess.Popen(
            [*program, *arguments],
            cwd=self.folder,
            env={**self.environment, **changes},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        status: int | None
        try:
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            status = None
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return Ending(arguments, status, output, time.monotonic() - started)

    def _warm(
        self, arguments: tuple[str, ...], environment: dict[str, str], kill_after: float | None
    ) -> Ending:
        log = self.folder / "command.log"
        log.unlink(missing_ok=True)
        started = time.monotonic()
        process = warm_processes().start(["tickets", *arguments], environment, self.folder, log)
        is_ended = process.is_ended.wait(kill_after or PATIENCE_SECONDS)
        if not is_ended:
            process.signal(signal.SIGKILL)
            process.wait(60)
        status = process.code if is_ended or kill_after else None
        return Ending(arguments, status, process.output(), time.monotonic() - started)

    def must(self, *arguments: str, settings: dict[str, str] | None = None) -> Ending:
        """The same of a command that nothing disturbs."""
        ending = self.tickets(*arguments, settings=settings)
        if ending.status != 0:
            raise RuntimeError(f"The undisturbed desk fails:\n{ending}")
        return ending

    def state(self, name: str) -> Path:
        return self.folder / "states" / name

    def save(self, name: str) -> None:
        """Remembers what is on the disk."""
        shutil.copytree(self.disk, self.state(name), symlinks=True)

    def load(self, name: str) -> None:
        """Makes the disk what it was."""
        shutil.rmtree(self.disk)
        shutil.copytree(self.state(name), self.disk, symlinks=True)


def used_bytes(folder: Path) -> int:
    """The bytes of the pages that the files below a folder need."""
    return sum(
        -(-path.lstat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file()
    )


def _mails() -> tuple[list[SampleMail], list[SampleMail]]:
    """Mails of three weeks ago and of the last two days, every one of them dated and labelled; of
    few categories, so that each model is better than chance."""
    friday = last_friday()
    parts = (
        list(generate(messages=messages, days=days, until=until, seed=seed))
        for messages, days, until, seed in (
            (120, 3, friday - timedelta(days=20), 1),
            (60, 2, friday, 2),
        )
    )
    first, second = (
        [
            replace(mail, labelled=True)
            for mail in part
            if mail.message_id and mail.category in CATEGORIES and b"\nDate:" in mail.content
        ]
        for part in parts
    )
    return first, second


def _sender(mail: SampleMail) -> str:
    return parseaddr(message_from_bytes(mail.content)["From"])[1]
