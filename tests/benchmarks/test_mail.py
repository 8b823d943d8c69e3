"""The mail benchmark measures what it says, on a few mails."""

import pytest

from benchmarks.mail import import_memory, parse_and_clean


@pytest.mark.slow
def test_the_speeds_of_parsing_and_cleaning_add_up():
    speed = parse_and_clean(messages=70)

    assert speed.messages == 70
    seconds = 70 / speed.parse_mails_per_second + 70 / speed.clean_mails_per_second
    assert speed.together_mails_per_second == pytest.approx(70 / seconds)


@pytest.mark.slow
def test_an_import_tells_its_messages_and_the_memory_they_took():
    memory = import_memory(gigabytes=0.02)

    assert 0.02 <= memory.mailbox_gigabytes < 0.04
    assert memory.messages > 500
    assert 20 < memory.peak_megabytes < 500
    assert memory.seconds > 0
