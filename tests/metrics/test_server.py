"""What a scrape gets, and when the exporter is not well."""

import gzip
import logging
import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from ticket_assets.metrics.families import gauge
from ticket_assets.metrics.server import (
    STALE_SECONDS,
    ExporterError,
    Exposition,
    exporter_application,
    listener,
)


def values(text: str) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_gets_what_was_read_last() -> None:
    figures = iter([1.0, 2.0])
    exposition = Exposition({"mail": lambda: [gauge("tickets_waiting", "x", next(figures))]}, "1.2")
    client = TestClient(exporter_application(exposition))
    assert client.get("/metrics").status_code == 503

    exposition.refresh()

    for _ in range(2):
        assert values(client.get("/metrics").text)[("tickets_waiting",)] == 1.0
    exposition.refresh()
    assert values(client.get("/metrics").text)[("tickets_waiting",)] == 2.0


def test_a_scrape_may_be_compressed() -> None:
    exposition = Exposition({}, "1.2")
    exposition.refresh()
    client = TestClient(exporter_application(exposition))

    zipped = client.get("/metrics", headers={"accept-encoding": "gzip"})
    plain = client.get("/metrics", headers={"accept-encoding": "identity"})

    assert (zipped.headers.get("content-encoding"), zipped.text) == ("gzip", plain.text)
    assert gzip.decompress(exposition.zipped) == exposition.text
    assert values(plain.text)[("tickets_exporter_info", "1.2")] == 1.0


def test_a_part_that_cannot_be_read_takes_no_other_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken():
        yield gauge("tickets_waiting", "x", 1)
        raise OSError("the bucket does not answer")

    model = [gauge("tickets_macro_f1", "x", 0.9)]
    exposition = Exposition({"mail": broken, "model": lambda: model}, "1.2")

    with caplog.at_level(logging.ERROR):
        exposition.refresh()
        exposition.refresh()

    scraped = values(exposition.text.decode())
    assert scraped[("tickets_macro_f1",)] == 0.9
    assert scraped[("tickets_exporter_read_failed", "mail")] == 1.0
    assert scraped[("tickets_exporter_read_failed", "model")] == 0.0
    assert ("tickets_waiting",) not in scraped
    assert [record.message for record in caplog.records] == [
        "The figures of mail cannot be read."
    ]  # once, and not at every look


def test_the_health_of_an_exporter_that_reads_no_longer() -> None:
    exposition = Exposition({}, "1.2")
    client = TestClient(exporter_application(exposition))
    assert client.get("/healthz").status_code == 503
    exposition.refresh()
    assert client.get("/healthz").status_code == 200

    assert exposition.refreshed_at
    exposition.refreshed_at -= STALE_SECONDS + 1

    assert client.get("/healthz").status_code == 503


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(ExporterError, match=f"127.0.0.1:{port}: Address already in use"):
            listener("127.0.0.1", port)
