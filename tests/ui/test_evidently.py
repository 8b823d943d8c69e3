"""Evidently's UI on a desk's drift reports, in a real browser without a network."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.loopback import free_port
from ticket_assets.drift.evidently_server import dashboard_address

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings of a desk with sorted mail of two weeks, whose last week drifts."""
    folder = tmp_path_factory.mktemp("desk")
    outer = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TICKETS_", "DAGSTER_"))
    }
    environment = outer | {
        "TICKETS_DATA_DIR": str(folder / "data"),
        "TICKETS_ENCODER": "all-minilm-l6-v2",
        "TICKETS_ENCODER_MAX_TOKENS": "64",
        "TICKETS_MIN_CLASS_TICKETS": "5",
        "TICKETS_EVIDENTLY_URL": f"http://127.0.0.1:{free_port()}",
    }
    mailbox = folder / "sample" / "mailbox.mbox"
    for arguments in (
        ("sample", folder / "sample", "--messages", "300", "--days", "14"),
        ("import", mailbox, "--labels", mailbox.with_name("labels.csv")),
        ("run",),
    ):
        command(environment, *map(str, arguments))
    return environment


def command(environment: dict[str, str], *arguments: str) -> str:
    outcome = subprocess.run(
        [sys.executable, "-m", "ticket_assets", *arguments],
        env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


@pytest.fixture(scope="module")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `tickets evidently`, which ends without a complaint."""
    address = environment["TICKETS_EVIDENTLY_URL"]
    log = tmp_path_factory.mktemp("server") / "evidently.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ticket_assets", "evidently"],
            cwd=log.parent, env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    deadline = time.monotonic() + 120
    while not answers(address):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
    yield address
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, log.read_text()
    assert log.read_text().splitlines() == [f"Evidently: {dashboard_address(address)}"]
    # Nothing but the desk is written.
    assert list(log.parent.iterdir()) == [log]


def answers(address: str) -> bool:
    try:
        with urlopen(f"{address}/api/version") as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (URLError, TimeoutError):
        return False


@pytest.fixture
def page(server: str) -> Iterator[Page]:
    """A page of Evidently's UI, which may ask nothing of another host."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None and not os.environ.get("CI"):
        pytest.skip("Chromium is not installed: apt-get install chromium")
    assert path, "this test needs Chromium"
    hosts: set[str | None] = set()
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # A container's root has no user namespaces for Chromium's sandbox.
        browser = playwright.chromium.launch(executable_path=path, chromium_sandbox=False)
        context = browser.new_context(base_url=server, viewport={"width": 1400, "height": 1000})
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        yield context.new_page()
        browser.close()
    assert hosts - {None} == {"127.0.0.1"}


def test_the_dashboard_leads_to_a_days_page(page: Page, request: pytest.FixtureRequest):
    folder: Path = request.config.rootpath / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    page.goto("/")
    page.get_by_role("link", name="Drift reports in").click()

    expect(page.get_by_text("largest distance / threshold")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="oov_share").first).to_be_visible()
    page.screenshot(path=folder / "evidently.png", full_page=True)

    page.goto(urlsplit(page.url).path + "/reports")
    page.get_by_role("row").filter(has_text="drifted").get_by_role(
        "link", name="View"
    ).first.click()

    expect(page.get_by_text("language beside the training reference")).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    page.screenshot(path=folder / "evidently-day.png", full_page=True)
