from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from socketserver import StreamRequestHandler
from typing import Any

import pytest

from tests.delivery.decided import decided_desk, ticket, ticket_id
from tests.loopback import LoopbackServer
from tests.services.webhook import SECRET, WebhookServer, webhook_server
from ticket_assets.delivery import webhook_receiver
from ticket_assets.delivery.decisions import Decision, Intent
from ticket_assets.delivery.handover import hand_over
from ticket_assets.delivery.receivers import Finished, Outcome, Receipt, ReceiverError
from ticket_assets.delivery.rest import RestApi
from ticket_assets.delivery.webhook_receiver import Webhook, configured, signature
from ticket_assets.desk import Desk
from ticket_assets.settings import Settings, SettingsError

DECISION = Decision(
    ticket_id=ticket_id(1),
    received_at=datetime(2026, 11, 20, 8, 30),
    message_id="<été@example.org>",
    category="réseau",
    category_confidence=0.97,
    priority=None,
    priority_confidence=None,
    queue="it-network",
    decision="auto",
    decided_by="model",
    review_reason=None,
    likely=(),
    model_version="m1",
)
INTENT = Intent("0f9f5b7e-8f0e-5b6e-9a36-2f4d6a1c0b11", "b1", datetime(2026, 11, 20, 9), DECISION)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_receiver, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebhookServer]:
    with webhook_server(tmp_path) as running:
        yield running


def webhook(server: WebhookServer, **changes: Any) -> Webhook:
    return Webhook(**({"url": server.url, "secret": SECRET, "timeout": 5.0} | changes))


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of its document: https://github.com/standard-webhooks/standard-webhooks"""
    value = signature(
        base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
    )

    assert value == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_decision_arrives_signed_and_without_a_text(server: WebhookServer) -> None:
    assert list(webhook(server).deliver([INTENT])) == [Receipt(ticket_id(1), Outcome.DELIVERED)]
    assert server.accepted() == {
        INTENT.key: {
            "type": "ticket.decided",
            "timestamp": "2026-11-20T09:00:00Z",
            "data": {
                "key": INTENT.key,
                "ticket_id": ticket_id(1),
                "received_at": "2026-11-20T08:30:00Z",
                "message_id": "<été@example.org>",
                "category": "réseau",
                "category_confidence": 0.97,
                "priority": None,
                "priority_confidence": None,
                "queue": "it-network",
                "decision": "auto",
                "decided_by": "model",
                "review_reason": None,
                "likely": [],
                "model_version": "m1",
                "decided_at": "2026-11-20T09:00:00Z",
            },
        }
    }


def test_the_check_in_the_documentation_knows_genuine_requests() -> None:
    text = (Path(__file__).parents[2] / "docs" / "delivery.md").read_text("utf-8")
    example: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], example)  # noqa: S102
    body, now = b'{"type":"ticket.decided"}', str(int(time.time()))
    headers = {
        "webhook-id": "an-id",
        "webhook-timestamp": now,
        "webhook-signature": signature(bytes(range(32)), "an-id", now, body),
    }

    assert example["is_genuine"](SECRET, headers, body)
    assert not example["is_genuine"](SECRET, headers, body + b" ")
    assert not example["is_genuine"](SECRET, headers | {"webhook-timestamp": "1614265330"}, body)


class AByteNowAndThen(StreamRequestHandler):
    """Answers 200 to a POST within four seconds, a byte of a header after the other."""

    def handle(self) -> None:
        with suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
            for _ in range(40):
                self.wfile.write(b"x")
                time.sleep(0.1)
            self.wfile.write(b"\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.slow
def test_an_answer_that_comes_byte_by_byte_is_none() -> None:
    server = LoopbackServer(AByteNowAndThen)
    receiver = Webhook(f"{server.url}/hook", SECRET, timeout=0.5)

    (receipt,) = receiver.deliver([INTENT])

    assert (receipt.outcome, receipt.reason) == (Outcome.FAILED, "No answer: timed out.")
    api = RestApi("Zammad", server.url, "TICKETS_ZAMMAD_URL", timeout=0.5)
    with pytest.raises(ReceiverError, match=r"does not answer: timed out\."):
        api.ask("GET", "users/me")
    server.close()


def test_the_end_of_a_run_is_told(server: WebhookServer) -> None:
    run = "6e7bb1a6-92ab-4ea6-9c02-7cb6f4f1f1e5"
    webhook(server).finish(Finished(run, datetime(2026, 11, 20, 9, tzinfo=UTC), {"delivered": 3}))

    assert server.accepted()[run] == {
        "type": "delivery.done",
        "timestamp": "2026-11-20T09:00:00+00:00",
        "data": {"run": run, "outcomes": {"delivered": 3}},
    }


def test_another_secret_is_refused_as_a_whole(server: WebhookServer) -> None:
    other = "whsec_" + "QUFB" * 8

    with pytest.raises(ReceiverError, match="It answers 401 Unauthorized: no matching") as error:
        list(webhook(server, secret=other).deliver([INTENT]))

    assert error.value.is_refusal


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.DELIVERED),
        (204, Outcome.DELIVERED),
        (208, Outcome.ALREADY_THERE),
        (400, Outcome.REFUSED),
        (413, Outcome.REFUSED),
        (422, Outcome.REFUSED),
    ],
)
def test_an_answer_about_the_decision(server: WebhookServer, status: int, outcome: Outcome) -> None:
    server.answer({"status": status})

    (receipt,) = webhook(server).deliver([INTENT])

    assert receipt.outcome == outcome


@pytest.mark.parametrize("status", [301, 302, 307, 401, 403, 404, 410])
def test_an_answer_about_the_address(server: WebhookServer, status: int) -> None:
    server.answer({"status": status, "headers": {"Location": server.url}})

    with pytest.raises(ReceiverError, match=f"It answers {status}") as error:
        list(webhook(server).deliver([INTENT]))

    assert error.value.is_refusal
    assert server.accepted() == {}


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503])
def test_what_passes_is_tried_again_at_once(server: WebhookServer, status: int) -> None:
    server.answer({"status": status}, {"status": status}, {"status": 200})

    assert [one.outcome for one in webhook(server).deliver([INTENT])] == [Outcome.DELIVERED]


def test_what_does_not_pass_soon_is_left_for_later(server: WebhookServer) -> None:
    server.answer(*[{"status": 500, "body": "out of order"}] * 4)

    assert list(webhook(server).deliver([INTENT])) == [
        Receipt(
            ticket_id(1),
            Outcome.FAILED,
            "It answers 500 Internal Server Error: out of order.",
        )
    ]


@pytest.mark.parametrize("as_date", [False, True])
def test_the_wait_that_a_receiver_asks_for_is_kept(server: WebhookServer, *, as_date: bool) -> None:
    moment = datetime.now(UTC) + timedelta(minutes=20)
    header = format_datetime(moment, usegmt=True) if as_date else "1200"
    server.answer({"status": 429, "headers": {"Retry-After": header}})

    with pytest.raises(ReceiverError) as error:
        list(webhook(server).deliver([INTENT]))

    assert error.value.retry_after is not None
    assert timedelta(minutes=19) < error.value.retry_after <= timedelta(minutes=20)
    assert not error.value.is_refusal


@pytest.mark.parametrize(
    "header", ["soon", "-5", "nan", "inf", "9" * 20, f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"]
)
def test_a_wait_that_is_none_is_no_other(server: WebhookServer, header: str) -> None:
    answer = {"status": 503, "headers": {"Retry-After": header}}
    server.answer(answer, answer, answer, answer)

    try:
        (receipt,) = webhook(server).deliver([INTENT])
    except ReceiverError as error:
        assert error.retry_after == timedelta(days=1)  # noqa: PT017
    else:
        assert receipt.outcome == Outcome.FAILED


def test_a_reply_that_quotes_the_secret_or_the_address_is_shown_without(
    server: WebhookServer,
) -> None:
    address = f"{server.url}/T0KEN-of-the-address"
    words = f"bad request: {SECRET} at {address}\x1b[2J " + "x" * 5000
    server.answer({"status": 400, "body": words})

    (receipt,) = webhook(server, url=address).deliver([INTENT])

    assert SECRET[6:12] not in receipt.reason
    assert "T0KEN" not in receipt.reason
    assert "\x1b" not in receipt.reason
    assert len(receipt.reason) < 250


def test_nobody_at_the_address(closed_port: int) -> None:
    receiver = Webhook(f"http://127.0.0.1:{closed_port}/", SECRET)

    (receipt,) = receiver.deliver([INTENT])

    assert receipt == Receipt(ticket_id(1), Outcome.FAILED, "No answer: Connection refused.")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """One that the server has signed itself, with its key."""
    file = tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=desk", "-addext"),
            *("subjectAltName=IP:127.0.0.1", "-keyout", file, "-out", tmp_path / "public.pem"),
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    file.write_bytes(file.read_bytes() + (tmp_path / "public.pem").read_bytes())
    return file


def test_a_certificate_of_an_authority_that_is_named_is_trusted_and_no_other(
    tmp_path: Path, certificate: Path
) -> None:
    with webhook_server(tmp_path, certificate=certificate) as server:
        (trusted,) = webhook(server, ca_file=tmp_path / "public.pem").deliver([INTENT])
        (untrusted,) = webhook(server).deliver([INTENT])

    assert trusted.outcome == Outcome.DELIVERED
    assert untrusted.outcome == Outcome.FAILED
    assert "certificate" in untrusted.reason


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("", "needs TICKETS_DELIVERY_WEBHOOK_SECRET_FILE"),
        ("hunter2", "has to be whsec_"),
        ("whsec_AAAA", "has to be whsec_"),
        ("whsec_é", "has to be whsec_"),
    ],
)
def test_a_secret_that_is_none_is_told(tmp_path: Path, secret: str, reason: str) -> None:
    (tmp_path / "secret").write_text(secret, "utf-8")
    settings = Settings(
        data_dir=tmp_path,
        delivery_webhook="https://desk.example.org/hook",
        delivery_webhook_secret_file=tmp_path / "secret" if secret else None,
    )

    with pytest.raises(SettingsError, match=reason):
        configured(Desk(settings))


@pytest.mark.slow
def test_a_desk_tells_what_it_has_decided(server: WebhookServer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    settings = Settings(
        data_dir=tmp_path / "data",
        delivery_webhook=server.url,
        delivery_webhook_secret_file=tmp_path / "secret",
    )
    desk = decided_desk(settings, [ticket(number) for number in range(1, 251)])

    told = hand_over(desk)

    assert told["webhook"].outcomes == {"delivered": 250}
    events = list(server.accepted().values())
    assert {event["data"]["ticket_id"] for event in events if "ticket_id" in event["data"]} == {
        ticket_id(number) for number in range(1, 251)
    }
    assert events[-1]["type"] == "delivery.done"
    assert server.repeats() == 0
