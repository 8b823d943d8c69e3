from __future__ import annotations

import re

import pytest

from ticket_assets.progress import ProgressLog

HOUR = 3600.0


def test_the_end_is_always_told() -> None:
    sentences: list[str] = []
    progress = ProgressLog(sentences.append, "vectors sent", interval=HOUR)

    progress(500, 2000)
    progress(1999, 2000)
    progress(2000, 2000)

    (sentence,) = sentences
    assert re.fullmatch(
        r"2,000 of 2,000 vectors sent \(100%\), [\d,]+ per second, 0 s left", sentence
    )


def test_every_step_is_told_when_no_time_has_to_pass() -> None:
    sentences: list[str] = []
    progress = ProgressLog(sentences.append, "texts", interval=0)

    for done in (1, 2, 3, 4):
        progress(done, 4)

    assert [re.match(r"\d of 4 texts \(\d+%\)", sentence)[0] for sentence in sentences] == [
        "1 of 4 texts (25%)",
        "2 of 4 texts (50%)",
        "3 of 4 texts (75%)",
        "4 of 4 texts (100%)",
    ]


@pytest.mark.parametrize(
    ("total", "expected"),
    [(4, "0 of 4 texts (0%), 0 per second"), (0, "0 of 0 texts (0%), 0 per second")],
)
def test_work_that_has_done_nothing_does_not_guess_the_time_left(total: int, expected: str) -> None:
    sentences: list[str] = []

    ProgressLog(sentences.append, "texts", interval=0)(0, total)

    assert sentences == [expected]
