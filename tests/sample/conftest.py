from datetime import date

import pytest

from ticket_assets.sample.mailbox import SampleMail, generate


@pytest.fixture(scope="session")
def mails() -> list[SampleMail]:
    """The mailbox as it comes by default, the last mail on 20 November 2025."""
    return list(generate(until=date(2025, 11, 20)))
