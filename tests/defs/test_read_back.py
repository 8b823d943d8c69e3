"""A correction in the desk's own system is in ticket_labels after one look and its run."""

import dagster as dg

from tests.delivery.test_zammad_receiver import NOW, decision, land
from tests.services.zammad import ANNA
from ticket_assets.defs.ticket_labels import ticket_labels
from ticket_assets.delivery import zammad_receiver
from ticket_assets.delivery.decisions import Intent
from ticket_assets.desk import Desk
from ticket_assets.mail.sources import Poll, poll_sources


def test_it_is_in_the_table_and_what_we_wrote_is_not(settings, zammad, zammad_settings):
    desk = Desk(settings.model_copy(update=zammad_settings))
    a, _ = land(desk.landing, "a", "b")
    first, _ = (zammad.new_ticket(message_id=f"<{name}@example.org>") for name in "ab")
    told = [Intent("key", "batch", NOW, decision(f"<{name}@example.org>")) for name in "ab"]
    assert len(list(zammad_receiver.configured(desk).deliver(told))) == 2
    zammad.set_fields(ticket=first, user=ANNA, category="printing")
    poll_sources(desk.sources, Poll(desk.landing, desk.cursors, desk.leases))

    made = dg.materialize_to_memory([ticket_labels], resources={"desk": desk})

    rows = made.output_for_node("ticket_labels")
    assert list(zip(rows["ticket_id"], rows["category"], strict=True)) == [(a, "printing")]
