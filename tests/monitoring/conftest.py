"""A desk after a run, with its daemon and exporter, which a real Prometheus watches."""

import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from tests.loopback import free_port
from tests.monitoring.watched_desk import DAEMON, QUICKLY, WatchedDesk, running
from tests.orchestration.living_desk import LivingDesk
from tests.services import wait_until
from tests.services.prometheus import AlertReceiver, Prometheus, Server


@pytest.fixture(scope="session")
def watched(
    tmp_path_factory: pytest.TempPathFactory,
    node_exporter: Server,
    start_alertmanager: Callable[..., Server],
    start_prometheus: Callable[..., Prometheus],
) -> Iterator[WatchedDesk]:
    """Two weeks' mail, sorted once; then its daemon, its exporter and all that Prometheus needs."""
    decisions = tmp_path_factory.mktemp("decisions")
    settings = {
        "TICKETS_ENCODER_PRECISION": "fp32",
        "TICKETS_DELIVERY_FOLDER": str(decisions),
        # So that a small desk has a champion, which decides something by itself.
        "TICKETS_MACRO_F1_FLOOR": "0",
        "TICKETS_TARGET_PRECISION": "0.6",
        "TICKETS_PRECISION_RISK": "0.5",
        "TICKETS_CONFIDENCE_FLOOR": "0.5",
    }
    desk = LivingDesk(tmp_path_factory.mktemp("desk"), **settings)
    sample = desk.folder / "sample"
    desk.command("sample", sample, "--messages", "400", "--days", "14",
                 "--until", datetime.now(UTC).date().isoformat())  # fmt: skip
    desk.command("import", sample / "mailbox.mbox", "--labels", sample / "labels.csv")
    desk.command("run")
    _label_automatic_tickets(desk, sample / "mailbox.mbox")
    port = str(free_port())
    metrics = f"http://127.0.0.1:{port}/metrics"
    receiver = AlertReceiver()
    with (
        running(desk, "daemon", sys.executable, "-c", DAEMON) as daemon,
        running(
            desk, "exporter", sys.executable, "-m", "ticket_assets", "exporter", "--port", port
        ) as exporter,
    ):
        wait_until(lambda: _answers(metrics, exporter), "the exporter", 120)
        targets = {
            "tickets": f"127.0.0.1:{port}",
            "node": node_exporter.address,
            "alertmanager": start_alertmanager(receiver.url).address,
        }
        yield WatchedDesk(metrics, start_prometheus(targets, QUICKLY), receiver, daemon)
    receiver.stop()


def _label_automatic_tickets(desk: LivingDesk, mailbox: Path) -> None:
    """People confirm the automatic tickets that they had not labelled before the training."""
    with duckdb.connect(str(desk.data / "warehouse.duckdb"), read_only=True) as connection:
        automatic = connection.sql(
            "select message_id, category, priority from tickets.ticket_predictions"
            " join tickets.raw_tickets using (ticket_id)"
            " where decision = 'auto' and not exists (from tickets.ticket_labels as label"
            " where label.ticket_id = ticket_predictions.ticket_id)"
        ).df()
    assert len(automatic) > 5
    automatic.to_csv(desk.folder / "confirmed.csv", index=False)
    desk.command("import", mailbox, "--labels", desk.folder / "confirmed.csv")
    desk.command("run", "--only", "ticket_labels")


def _answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the exporter has ended"
    try:
        urllib.request.urlopen(address, timeout=30).close()  # noqa: S310
    except OSError:
        return False
    return True
