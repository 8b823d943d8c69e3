"""What a dead writer has left goes; what a living one writes stays; a full disk leaves nothing."""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.storage.unfinished import remove_scratch, remove_unfinished, scratch_folder

WRITE = """
import sys
from pathlib import Path
from ticket_assets.storage import unfinished, whole_file
from ticket_assets.storage.folder_blobs import FolderBlobs

def wait(*_):
    print("writing", flush=True)
    sys.stdin.read()

what, folder = sys.argv[1], Path(sys.argv[2])
whole_file.os.fsync = wait
if what == "many":
    FolderBlobs(folder).write([("2025-03-03/a.eml", b"mail"), ("2025-03-03/b.eml", b"mail")])
elif what == "one":
    FolderBlobs(folder).replace("2025-03-03/a.eml", b"mail")
else:
    with unfinished.scratch_folder() as scratch:
        (scratch / "table.csv").write_text("mail")
        wait()
"""


@pytest.fixture
def writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], "subprocess.Popen[bytes]"]]:
    """Starts a process that waits in the middle of its writing."""
    started: list[subprocess.Popen[bytes]] = []
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)

    def start(what: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE, what, tmp_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("what", "left"), [("one", 1), ("many", 2), ("scratch", 1)])
def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(
    tmp_path: Path, writer: Callable[[str], "subprocess.Popen[bytes]"], what: str, left: int
) -> None:
    def sweep(*, dry_run: bool = False) -> list[Path]:
        return remove_unfinished(tmp_path, dry_run=dry_run) + remove_scratch(dry_run=dry_run)

    process = writer(what)
    assert len(files(tmp_path)) == left
    assert sweep() == []
    assert len(files(tmp_path)) == left

    process.kill()
    process.wait()

    found = sweep(dry_run=True)
    assert len(found) == left
    assert len(files(tmp_path)) == left
    assert sweep() == found
    assert files(tmp_path) == set()


def test_a_writer_goes_on_while_a_sweep_is_at_work(
    tmp_path: Path, writer: Callable[[str], "subprocess.Popen[bytes]"]
) -> None:
    process = writer("one")
    remove_unfinished(tmp_path)
    process.communicate(b"")

    assert process.returncode == 0
    assert files(tmp_path) == {"a.eml"}


@pytest.mark.slow
def test_no_sweep_takes_a_file_from_its_writer(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)

    def write(writer: int) -> None:
        for number in range(100):
            blobs.replace(f"2025-03-03/{writer}-{number}.eml", b"mail")

    with ThreadPoolExecutor(2) as writers:
        written = [writers.submit(write, writer) for writer in range(2)]
        while not all(writer.done() for writer in written):
            remove_unfinished(tmp_path)
        for writer in written:
            writer.result()

    assert len(files(tmp_path)) == 200


def test_a_scratch_folder_is_gone_when_it_is_left() -> None:
    with scratch_folder() as folder:
        (folder / "below").mkdir()
        (folder / "below" / "table.csv").touch()
        assert folder not in remove_scratch()
        assert folder.is_dir()

    assert not folder.exists()


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file grows beyond so many bytes meanwhile."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


@pytest.mark.parametrize("number", [1, 3])
def test_a_disk_that_is_full_leaves_no_unfinished_file(tmp_path: Path, number: int) -> None:
    mails = [(f"2025-03-03/{n}.eml", b"small") for n in range(number)]
    blobs = FolderBlobs(tmp_path)

    with full_disk(100_000), pytest.raises(Exception, match="File too large"):
        blobs.write([*mails, ("2025-03-03/x.eml", b"x" * 200_000)])
    with full_disk(100_000), pytest.raises(Exception, match="File too large"):
        blobs.replace("2025-03-03/x.eml", b"x" * 200_000)

    assert files(tmp_path) == set()


def test_only_names_of_unfinished_files_are_removed(tmp_path: Path) -> None:
    kept = {".a.tmp", f"a.{'0' * 32}.tmp", f".a.{'g' * 32}.tmp", f".a.{'0' * 31}.tmp", "b.eml"}
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / f".a.{'0' * 32}.tmp").mkdir()
    (tmp_path / f".b.{'0' * 32}.tmp").symlink_to(tmp_path / "b.eml")

    assert remove_unfinished(tmp_path) == []
    assert kept <= {path.name for path in tmp_path.iterdir()}


def test_a_part_of_the_desk_on_another_disk_is_swept_and_no_link_further_down(
    tmp_path: Path,
) -> None:
    name = f".a.{'0' * 32}.tmp"
    data, disk, other = (tmp_path / folder for folder in ("data", "disk", "other"))
    for folder in (data, disk / "2025-03-03", other):
        folder.mkdir(parents=True)
    (disk / "2025-03-03" / name).touch()
    (other / name).touch()
    (data / "landing").symlink_to(disk)
    (disk / "2025-03-04").symlink_to(other)

    assert remove_unfinished(data) == [data / "landing" / "2025-03-03" / name]
    assert files(other) == {name}


def test_a_scratch_folder_that_is_removed_before_it_is_held_is_made_again(monkeypatch) -> None:
    made = []

    def overtaken(*args: str, **options: str) -> str:
        made.append(make(*args, **options))
        if len(made) == 1:
            remove_scratch()  # as another process does with what nobody holds
        return made[-1]

    make = tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", overtaken)

    with scratch_folder() as folder:
        assert [str(folder)] == made[1:]
        assert folder.is_dir()
