"""A correction in the desk's own system is in ticket_labels after one look and its run."""

from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

from tests.conftest import PASSWORD
from tests.delivery.test_glpi_receiver import land as land_export
from tests.delivery.test_imap_receiver import deliver, held, move
from tests.delivery.test_zammad_receiver import NOW, decision, land
from tests.services import glpi as glpi_service
from tests.services import zammad as zammad_service
from ticket_assets.defs.ticket_labels import ticket_labels
from ticket_assets.delivery.decisions import Intent
from ticket_assets.delivery.receivers import configured_receivers
from ticket_assets.desk import Desk
from ticket_assets.mail.sources import Poll, poll_sources

FOLDERS = """
categories:
  network: {queue: infrastructure, imap: Network}
  printing: {queue: infrastructure, imap: Printing}
priorities: [low, high]
"""


@dataclass
class InZammad:
    """Two tickets of a Zammad, and an agent who corrects the first."""

    zammad: Any
    settings: dict[str, Any]
    message_ids = ("<a@example.org>", "<b@example.org>")

    def arrive(self, landing):
        for message_id in self.message_ids:
            self.zammad.new_ticket(message_id=message_id)
        land(landing, "a", "b")

    def correct(self):
        self.zammad.set_fields(ticket=1, user=zammad_service.ANNA, category="printing")


@dataclass
class InGlpi:
    """Two tickets of a GLPI, and a technician who corrects the first."""

    glpi: Any
    settings: dict[str, Any]
    message_ids = ("1", "2")

    def arrive(self, landing):
        land_export(landing, *(self.glpi.new_ticket() for _ in self.message_ids))

    def correct(self):
        self.glpi.set_fields(ticket=1, user=glpi_service.ANNA, itilcategories_id=14)


@dataclass
class InMail:
    """Two mails of an account, and a person who moves the first on."""

    mailbox: Any
    settings: dict[str, Any]
    message_ids = ("<a@example.org>", "<b@example.org>")

    def arrive(self, landing):
        for folder in ("Network", "Printing"):
            self.mailbox.create_folder(folder)
        deliver(self.mailbox, "a", "b")

    def correct(self):
        assert held(self.mailbox, "Network") == ["a", "b"]
        move(self.mailbox, "a", "Network", "Printing")


@pytest.fixture
def imap_settings(dovecot, user, tmp_path):
    routing, password = tmp_path / "routing.yaml", tmp_path / "password"
    routing.write_text(FOLDERS)
    password.write_text(PASSWORD)
    return {
        "routing": routing,
        "imap_host": "127.0.0.1",
        "imap_port": dovecot.plain_port,
        "imap_security": "plain",
        "imap_user": user,
        "imap_password_file": password,
    }


@pytest.fixture(
    params=[
        (InZammad, "zammad", "zammad_settings"),
        (InGlpi, "glpi", "glpi_settings"),
        (InMail, "mailbox", "imap_settings"),
    ],
    ids=["zammad", "glpi", "imap"],
)
def system(request):
    kind, *fixtures = request.param
    return kind(*map(request.getfixturevalue, fixtures))


@pytest.mark.slow
def test_it_is_in_the_table_and_what_we_wrote_is_not(settings, system):
    desk = Desk(settings.model_copy(update=system.settings))
    system.arrive(desk.landing)
    poll_sources(desk.sources, Poll(desk.landing, desk.cursors, desk.leases))
    (receiver,) = configured_receivers(desk)
    told = [Intent("key", "batch", NOW, decision(name)) for name in system.message_ids]
    assert [receipt.outcome for receipt in receiver.deliver(told)] == ["delivered"] * 2
    system.correct()

    poll_sources(desk.sources, Poll(desk.landing, desk.cursors, desk.leases))

    made = dg.materialize_to_memory([ticket_labels], resources={"desk": desk})
    first = system.message_ids[0].strip("<>")
    (corrected,) = desk.landing.tickets_named({first})[first]
    rows = made.output_for_node("ticket_labels")
    assert list(zip(rows["ticket_id"], rows["category"], strict=True)) == [(corrected, "printing")]
