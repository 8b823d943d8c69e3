"""What a person does in Dagster's UI, in a real browser; each page stays in build/screenshots."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, TimeoutError, expect

from tests.days import today
from tests.orchestration.living_desk import LivingDesk
from tests.services.browser import Keep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivingDesk]:
    """A desk of a month's mail, sorted once, with its UI and daemon."""
    desk = LivingDesk(tmp_path_factory.mktemp("desk"))
    desk.command("sample", desk.folder / "sample", "--messages", "400",
                 "--days", "30", "--until", today().isoformat())  # fmt: skip
    mailbox = desk.folder / "sample" / "mailbox.mbox"
    desk.command("import", mailbox, "--labels", mailbox.with_name("labels.csv"))
    desk.command("run")
    with desk.left_alone():
        yield desk


@pytest.fixture
def page(browser: Browser, desk: LivingDesk) -> Iterator[Page]:
    """A page of the desk's UI; neither the UI nor a report may ask anything of another host."""
    hosts: set[str | None] = set()
    context = browser.new_context(base_url=desk.address, viewport={"width": 1400, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    context.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    expect.set_options(timeout=PATIENCE_MS)
    yield context.new_page()
    context.close()
    # An address of data within the page has no host.
    assert hosts - {None} == {"127.0.0.1"}


def expand(page: Page, node: Locator, group: str) -> None:
    """Double-clicks a group until it is open: a click is lost while the graph is laid out anew."""
    for _ in range(12):
        node.dblclick()
        with suppress(TimeoutError):
            page.wait_for_url(re.compile(group), wait_until="commit", timeout=10_000)
            return
    pytest.fail(f"{group} does not open.")


def test_the_lineage_opens_as_groups_and_shows_every_asset_in_them(page: Page, keep: Keep):
    nodes = page.locator("svg foreignObject")
    page.goto("/asset-groups")
    expect(nodes).to_have_count(6)
    names = sorted(node.text_content() or "" for node in nodes.all())
    assert names == ["1_mail", "2_text", "3_learning", "4_sorting", "5_drift", "6_delivery"]
    keep(page, "lineage-groups")

    # The last one, of a single asset, is out of sight then, and not drawn.
    for group in names[:-1]:
        expand(page, nodes.filter(has_text=group).first, group)

    # What is out of sight is not drawn: a page that is loaded shows the whole.
    page.set_viewport_size({"width": 2000, "height": 2500})
    page.reload()
    for asset in ("landed_mail", "clean_tickets", "ticket_classifier", "ticket_predictions"):
        expect(nodes.filter(has_text=asset)).to_be_visible()
    keep(page, "lineage")


def test_a_day_is_materialised_by_two_clicks(page: Page, keep: Keep):
    page.goto("/assets/ticket_predictions")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="Latest", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text(today().isoformat())
    keep(page, "materialise")
    page.get_by_role("button", name="Launch 1 run").click()
    launched = page.get_by_role("link", name="View", exact=True)
    page.goto(launched.get_attribute("href") or "")

    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
    keep(page, "run")


def test_a_check_shows_its_promise_and_the_numbers_behind_its_verdict(page: Page, keep: Keep):
    check = "every_clean_ticket_has_one_prediction"
    page.goto(f"/assets/ticket_predictions?view=checks&checkDetail={check}")

    expect(page.get_by_text("Every clean ticket has one prediction")).to_be_visible()
    expect(page.get_by_text("Passed").first).to_be_visible()
    for number in ("clean_tickets", "predictions", "paired"):
        row = page.get_by_role("row").filter(has=page.get_by_role("cell", name=number, exact=True))
        expect(row.first).to_contain_text(re.compile(r"[1-9]\d*$"))
    keep(page, "checks")


def test_automation_says_what_each_sensor_does(page: Page, keep: Keep):
    page.goto("/automation")
    for name in ("alerts", "automation", "lateness", "new_mail", "retrain_on_drift"):
        expect(page.get_by_text(name, exact=True).last).to_be_visible()
    expect(page.get_by_text("Automation condition sensor")).to_be_visible()
    keep(page, "automation")

    page.get_by_text("retrain_on_drift", exact=True).click()

    expect(page.get_by_text("Trains a new model when the mail has drifted")).to_be_visible()
    page.get_by_text("0 runs requested").first.wait_for()
    keep(page, "retraining")


def test_the_drift_report_opens_by_its_link(page: Page, keep: Keep):
    page.goto("/assets/drift_report")
    page.get_by_text("latest_day_with_mail").wait_for()
    keep(page, "drift")
    with page.expect_popup() as popup:
        page.locator("a[href$='/drift.html']").first.click()
    report = popup.value
    report.set_viewport_size({"width": 1400, "height": 900})

    expect(report.get_by_text("Drift in column 'category'")).to_be_visible()
    expect(report.locator(".js-plotly-plot").first).to_be_visible()
    keep(report, "drift-report")


def test_evidently_shows_the_day_that_the_asset_links_to(page: Page, desk: LivingDesk, keep: Keep):
    first, *_ = sorted((desk.data / "reports").iterdir())
    report = json.loads((first / "drift.json").read_text())
    # As an earlier release wrote it.
    del report["figures"], report["distributions"]
    (first / "drift.json").write_text(json.dumps(report))
    with desk.evidently() as lines:
        page.goto("/assets/drift_report")
        with page.expect_popup() as popup:
            page.locator("a[href*='/projects/']").first.click()
        day = popup.value
        day.set_viewport_size({"width": 1400, "height": 900})

        expect(day.get_by_text("language beside the training reference")).to_be_visible()
        expect(day.locator(".js-plotly-plot").first).to_be_visible()
        keep(day, "evidently-day")

        dashboard = lines[-1].removeprefix("Evidently: ")
        day.goto(dashboard)

        expect(day.get_by_text("largest distance / threshold")).to_be_visible()
        expect(day.get_by_role("listitem").filter(has_text="oov_share").first).to_be_visible()
        keep(day, "evidently")
    assert [line for line in lines if "earlier release" in line] == [
        f"Note: The reports of 1 day from {first.name} to {first.name} are of an earlier release"
        f" and show their drift alone. For the other panels: tickets run --from {first.name}"
        f" --to {first.name} --only drift_report"
    ]
    # No server's folder is left: what is shown is in its memory.
    assert not list(desk.folder.glob("workspace*"))
