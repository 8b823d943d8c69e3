"""Work shared among processes gives what one process gives."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
from datetime import date
from functools import partial
from itertools import count, islice
from operator import methodcaller
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from ticket_assets.mail.landing import LandingZone
from ticket_assets.mail.raw_tickets import RawTickets, raw_tickets
from ticket_assets.parallel import CHUNK_ITEMS, LEAST_ITEMS, ProcessError, map_chunks
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.text.cleaning import CleanTickets, clean_tickets

DAYS = [date(2026, 3, 2), date(2026, 3, 3)]


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_results_come_in_the_order_of_the_items_whatever_the_number_of_cores(cores: int) -> None:
    sums = list(map_chunks(sum, range(3_100), cores=cores))

    assert sums == [sum(range(start, min(start + 200, 3_100))) for start in range(0, 3_100, 200)]


@pytest.mark.parametrize(
    ("items", "cores", "elsewhere"),
    [(LEAST_ITEMS, 2, True), (LEAST_ITEMS - 1, 2, False), (LEAST_ITEMS, 1, False)],
)
def test_processes_are_started_for_many_items_and_several_cores_alone(
    items: int, cores: int, elsewhere: bool
) -> None:
    results = map_chunks(sum, range(items), cores=cores)
    next(results)

    assert bool(multiprocessing.active_children()) == elsewhere


def test_items_are_taken_as_they_are_needed() -> None:
    numbers = count()

    sums = list(islice(map_chunks(sum, numbers, cores=2), 20))

    assert sums[:3] == [19_900, 59_900, 99_900]
    assert next(numbers) == (20 + 2 * 2) * CHUNK_ITEMS


def test_an_error_in_a_process_is_the_same_as_in_this_one() -> None:
    with pytest.raises(ValueError, match=r"^201 is not in list$"):
        list(map_chunks(methodcaller("index", 201), range(LEAST_ITEMS), cores=2))

    assert multiprocessing.active_children() == []


def test_a_process_that_dies_is_an_error_that_says_so() -> None:
    dying = partial(sorted, key=os._exit)

    with pytest.raises(ProcessError, match=r"^One of 2 processes .* was ended"):
        list(map_chunks(dying, range(LEAST_ITEMS), cores=2))


@pytest.mark.slow
def test_mail_is_parsed_and_cleaned_as_in_one_process(tmp_path: Path) -> None:
    landing = _landed(tmp_path, LEAST_ITEMS)

    def parse(cores: int) -> RawTickets:
        return raw_tickets(landing, DAYS, max_message_bytes=1_000, cores=cores)

    def clean(raw: pd.DataFrame, cores: int) -> CleanTickets:
        return clean_tickets(raw, languages=["fr", "en"], phone_regions=["FR"], cores=cores)

    alone, shared = parse(1), parse(2)
    twice = pd.concat([alone.tickets] * 2, ignore_index=True)
    cleaned_alone, cleaned_shared = clean(twice, 1), clean(twice, 2)

    assert len(alone.tickets) == 2_700
    assert list(alone.rejected["reason"].str[:9]) == ["too large"] * 300
    assert_frame_equal(shared.tickets, alone.tickets)
    assert_frame_equal(shared.rejected, alone.rejected)
    reasons = cleaned_alone.left_out["reason"].value_counts().to_dict()
    assert reasons == {"auto_reply": 1_200, "no text": 1_200}
    assert cleaned_shared.left_out.equals(cleaned_alone.left_out)
    assert_frame_equal(cleaned_shared.tickets, cleaned_alone.tickets)


@pytest.mark.parametrize("how", ["Ctrl-C", "killed"])
def test_processes_end_with_the_one_that_started_them(how: str) -> None:
    program = (
        "import itertools, signal, ticket_assets.parallel as parallel\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "for _ in parallel.map_chunks(sum, itertools.count(), cores=2):\n"
        "    print('at work', flush=True)"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert caller.stdout is not None
    assert caller.stdout.readline() == "at work\n"

    if how == "Ctrl-C":  # which a terminal sends to all of them
        os.killpg(caller.pid, signal.SIGINT)
    else:
        caller.kill()
    # Until nobody is left that could still write.
    _, errors = caller.communicate(timeout=30)

    assert errors.count("Traceback") == (how == "Ctrl-C")


def _landed(folder: Path, count: int) -> LandingZone:
    """As many messages on two days: of ten, one is too large, two are answers, two say nothing."""
    for number in range(count):
        text = "x" * 1_000 if number % 10 == 0 else f"Le poste {number} ne démarre plus."
        if number % 10 in (1, 2):
            text = ""
        answer = "Auto-Submitted: auto-replied\n" if number % 10 in (3, 4) else ""
        subject = f"Subject: PC {number}\n" if text else ""
        content = (
            f"Message-ID: <{number}@x>\nFrom: anne@example.org\n{answer}{subject}\n{text}".encode()
        )
        day = folder / DAYS[number % 2].isoformat()
        day.mkdir(exist_ok=True)
        (day / f"{hashlib.sha256(content).hexdigest()}.eml").write_bytes(content)
    return LandingZone(FolderBlobs(folder))
