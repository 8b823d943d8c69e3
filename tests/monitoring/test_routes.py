"""What a real Alertmanager tells, and what it holds back because something else explains it."""

import pytest

from tests.services import wait_until
from tests.services.prometheus import Alertmanager

pytestmark = pytest.mark.slow
DESK = {"job": "tickets", "instance": "desk"}


@pytest.fixture(scope="module")
def alertmanager(start_alertmanager, closed_webhook) -> Alertmanager:
    return start_alertmanager(closed_webhook)


@pytest.fixture(scope="module")
def closed_webhook() -> str:
    """Where nobody listens: nothing has to be delivered here."""
    return "http://127.0.0.1:9"


def alert(name: str, **labels: str) -> dict[str, dict[str, str]]:
    return {"labels": {"alertname": name, "severity": "critical", **DESK, **labels}}


def held_back(alertmanager: Alertmanager, instance: str) -> set[str]:
    """The alerts of a desk that another alert explains."""
    return {
        entry["labels"]["alertname"]
        for entry in alertmanager.get("/api/v2/alerts")
        if entry["labels"]["instance"] == instance and entry["status"]["inhibitedBy"]
    }


@pytest.mark.parametrize(
    ("cause", "follows"),
    [
        ("TicketsExporterDown", {"TicketsDaemonSilent", "TicketsPipelineStalled", "TicketsDrift"}),
        ("TicketsExporterStale", {"TicketsDaemonSilent", "TicketsPipelineStalled", "TicketsDrift"}),
        ("TicketsDaemonSilent", {"TicketsPipelineStalled", "TicketsOldestTicketTooOld"}),
        ("TicketsCodeLocationLoadError", {"TicketsPipelineStalled", "TicketsTicksFailing"}),
        ("TicketsPipelineStalled", {"TicketsOldestTicketTooOld", "TicketsAssetLate"}),
        ("TicketsPrecisionBelowTarget", {"TicketsEstimatedPrecisionBelowTarget"}),
        ("TicketsDataDiskAlmostFull", {"TicketsDataDiskFillsUp"}),
    ],
)
def test_what_follows_from_an_alert_of_the_same_desk_is_held_back(
    alertmanager: Alertmanager, cause: str, follows: set[str]
) -> None:
    here, elsewhere = f"{cause}.here", {name: f"{cause}.{name}" for name in follows}
    alerts = [alert(name, instance=here) for name in (cause, *follows)]
    alerts += [alert(name, instance=instance) for name, instance in elsewhere.items()]

    alertmanager.post("/api/v2/alerts", alerts)

    # Its inhibitor reads them a moment after it has answered.
    wait_until(lambda: held_back(alertmanager, here) == follows, "what the alert explains")
    assert [name for name in follows if held_back(alertmanager, elsewhere[name])] == []
