"""Figures of the deliveries for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import Metric

from ticket_assets.delivery.state import read_state
from ticket_assets.metrics.families import gauge, gauges
from ticket_assets.storage.blobs import Blobs


def delivery_families(
    deliveries: Mapping[str, Mapping[str, float]], cursors: Blobs
) -> Iterator[Metric]:
    """What the receivers have been told, and whether delivery is stopped.

    Args:
        deliveries: as in the metadata of `delivered_tickets`; empty before the first.

    Raises:
        DeliveryError: the state of the deliveries is damaged.
    """
    yield gauges(
        "tickets_deliveries",
        "Decisions by receiver and by what came of them, as the latest run of delivered_tickets"
        " left them.",
        ("receiver", "state"),
        {
            (receiver, state): count
            for receiver, counts in deliveries.items()
            for state, count in counts.items()
        },
    )
    state = read_state(cursors)
    yield gauge(
        "tickets_delivery_stopped",
        "1 while a person has stopped all delivery: tickets delivery stop.",
        bool(state and state.stopped_at),
    )
