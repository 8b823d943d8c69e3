"""The faults: what happens to a desk while a command works on it, or to its files."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.torture.desk import TICKETS, Command, Desk, Ending, used_bytes

PAGE = 4096
LEAST_GROWTH = 512 * 1024
"""What a command writes at times and removes again counts as well."""
DAY = 86_400.0
CLOCKS = (-1200 * DAY, -30 * DAY, -DAY, DAY, 30 * DAY, 600 * DAY)
PLACES = ("landing", "warehouse.duckdb", "collection", "dagster", "models", "reports", "cursors")
"""What is damaged: each with the same probability, however many files it has."""
NAMESPACE = ("unshare", "--mount", *(() if os.getuid() == 0 else ("--map-root-user",)))
NOT_MOUNTED = 125
ON_SMALL_DISK = """
mount -t tmpfs -o size="$1" tmpfs "$3" && cp -a "$2/." "$3/" || exit 125
from="$3" to="$4"; shift 4
"$@"; status=$?
cp -a "$from/." "$to/"; exit $status
"""
"""Arguments: size of the disk, what is on it before, where it is, where it lies afterwards."""
ON_READ_ONLY_DISK = """
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 125
shift; exec "$@"
"""


@dataclass(frozen=True)
class Struck:
    """What a fault did, and how the command ended on which it fell."""

    what: str
    ending: Ending


Fault = Callable[[Desk, Command, random.Random], Struck]


def kill(desk: Desk, command: Command, choice: random.Random) -> Struck:
    share = choice.uniform(0.05, 1)
    ending = desk.tickets(
        *command.arguments,
        settings=command.settings,
        kill_after=share * desk.seconds[command.name],
    )
    return Struck(f"after {share:.0%} of its time", ending)


def full_disk(desk: Desk, command: Command, choice: random.Random) -> Struck:
    room = int(choice.random() * max(LEAST_GROWTH, 1.5 * desk.growth[command.name])) // PAGE
    size = used_bytes(desk.disk) + room * PAGE
    before, after = desk.folder / "before", desk.folder / "after"
    desk.disk.rename(before)
    desk.disk.mkdir()
    after.mkdir()
    ending = _in_namespace(
        desk, command, ON_SMALL_DISK, str(size), *map(str, (before, desk.disk, after))
    )
    shutil.rmtree(before)
    desk.disk.rmdir()
    after.rename(desk.disk)
    return Struck(f"{room * PAGE // 1024} KB of room", ending)


def read_only(desk: Desk, command: Command, choice: random.Random) -> Struck:
    return Struck("", _in_namespace(desk, command, ON_READ_ONLY_DISK, str(desk.disk)))


def wrong_clock(desk: Desk, command: Command, choice: random.Random) -> Struck:
    seconds = choice.choice(CLOCKS)
    program = (sys.executable, Path(__file__).with_name("shifted_command.py"), str(seconds))
    ending = desk.tickets(*command.arguments, settings=command.settings, program=program)
    return Struck(f"by {seconds / DAY:+.0f} days", ending)


def open_files(desk: Desk, command: Command, choice: random.Random) -> Struck:
    limit = int(choice.triangular(8, 300, 40))
    return _limited(desk, command, f"--nofile={limit}", f"{limit} files")


def memory(desk: Desk, command: Command, choice: random.Random) -> Struck:
    limit = int(choice.triangular(150, 4000, 800))
    return _limited(desk, command, f"--as={limit << 20}", f"{limit} MB of addresses")


def cut_file(desk: Desk, command: Command, choice: random.Random) -> Struck:
    def cut() -> str:
        path = _file(desk.data, choice)
        size = int(path.stat().st_size * choice.choice((0, choice.random())))
        with path.open("r+b") as file:
            file.truncate(size)
        return f"{path.relative_to(desk.data)} to {size} bytes"

    return _damaged(desk, command, choice, cut)


def flipped_byte(desk: Desk, command: Command, choice: random.Random) -> Struck:
    def flip() -> str:
        path = _file(desk.data, choice)
        content = bytearray(path.read_bytes())
        place = choice.randrange(len(content))
        content[place] ^= choice.randint(1, 255)
        path.write_bytes(content)
        return f"{path.relative_to(desk.data)}, byte {place}"

    return _damaged(desk, command, choice, flip)


def lost_folder(desk: Desk, command: Command, choice: random.Random) -> Struck:
    def lose() -> str:
        place = desk.data / choice.choice([name for name in PLACES if (desk.data / name).is_dir()])
        folder = choice.choice([place, *_sorted(place, Path.is_dir)])
        shutil.rmtree(folder)
        return str(folder.relative_to(desk.data))

    return _damaged(desk, command, choice, lose)


FAULTS: dict[str, Fault] = {
    "kill -9": kill,
    "full disk": full_disk,
    "read-only": read_only,
    "cut file": cut_file,
    "flipped byte": flipped_byte,
    "lost folder": lost_folder,
    "wrong clock": wrong_clock,
    "open files": open_files,
    "memory": memory,
}
IN_NAMESPACES = {"full disk", "read-only"}
DAMAGES = {"cut file", "flipped byte", "lost folder"}
"""They take something away, so a loss may remain, provided that it is named."""


def no_namespaces() -> str | None:
    """Why no disk can be mounted for one process alone; None where it can."""
    try:
        tried = subprocess.run(
            [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
            check=False,
            capture_output=True,
            text=True,
        )
    except OSError as error:
        return str(error)
    return tried.stderr.strip() or "mount fails" if tried.returncode else None


def _in_namespace(desk: Desk, command: Command, script: str, *arguments: str) -> Ending:
    program = (*NAMESPACE, "sh", "-c", script, "sh", *arguments, *TICKETS)
    ending = desk.tickets(*command.arguments, settings=command.settings, program=program)
    if ending.status == NOT_MOUNTED:
        raise RuntimeError(f"The disk cannot be mounted:\n{ending}")
    return ending


def _limited(desk: Desk, command: Command, limit: str, what: str) -> Struck:
    program = ("prlimit", limit, *TICKETS)
    return Struck(
        what, desk.tickets(*command.arguments, settings=command.settings, program=program)
    )


def _damaged(
    desk: Desk, command: Command, choice: random.Random, damage: Callable[[], str]
) -> Struck:
    """Damage before or after the command."""
    if choice.random() < 0.5:
        what = damage()
        ending = desk.tickets(*command.arguments, settings=command.settings)
        return Struck(f"before it, {what}", ending)
    ending = desk.tickets(*command.arguments, settings=command.settings)
    return Struck(f"after it, {damage()}", ending)


def _file(data: Path, choice: random.Random) -> Path:
    place = data / choice.choice([name for name in PLACES if (data / name).exists()])
    return place if place.is_file() else choice.choice(_sorted(place, _has_content))


def _sorted(folder: Path, condition: Callable[[Path], bool]) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if condition(path))


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
