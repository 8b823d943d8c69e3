"""A desk that is left alone: UI, daemon and code server run, and nobody gives a command.

The last tests are one story: mail arrives, another week's mail drifts, people label it, a model is
trained and takes over, and a bad one does not.
"""

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from tests.days import days_ago, today
from tests.orchestration.living_desk import LivingDesk
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.sample.mailbox import DRIFT_DAYS, SampleMail, generate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def first_drifted() -> date:
    return days_ago(DRIFT_DAYS)


def mail_of(moment: datetime, name: str) -> bytes:
    return (
        f"From: Anne <anne@example.org>\r\nDate: {moment:%a, %d %b %Y %H:%M:%S} +0000\r\n"
        f"Subject: Imprimante\r\nMessage-ID: <{name}@example.org>\r\n\r\n"
        f"Bonjour, l'imprimante {name} du bureau 12 est en panne depuis ce matin.\r\n"
    ).encode()


@pytest.fixture(scope="module")
def mails() -> dict[str, list[SampleMail]]:
    """A mailbox whose last week has a new product, other languages and other categories."""
    sample = generate(messages=900, days=35, until=days_ago(1), seed=3)
    parts: dict[str, list[SampleMail]] = {"quiet": [], "drifted": []}
    for mail in sample:
        if mail.message_id and mail.group == "ticket":
            is_drifted = mail.received_at.date() >= first_drifted()
            parts["drifted" if is_drifted else "quiet"].append(mail)
    return parts


def write_mails(folder: Path, mails: list[SampleMail]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, mail in enumerate(mails):
        (folder / f"{mail.received_at:%j}-{number}.eml").write_bytes(mail.content)
    return folder


def write_labels(path: Path, mails: list[SampleMail], categories: list[str | None]) -> Path:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["message_id", "category", "labelled_at"])
        moment = datetime.now(UTC).isoformat()
        for mail, category in zip(mails, categories, strict=True):
            if category:
                table.writerow([mail.message_id, category, moment])
    return path


@pytest.fixture(scope="module")
def desk(
    tmp_path_factory: pytest.TempPathFactory, mails: dict[str, list[SampleMail]]
) -> LivingDesk:
    """A desk with a champion of the quiet weeks."""
    desk = LivingDesk(tmp_path_factory.mktemp("desk"))
    quiet = mails["quiet"]
    folder = write_mails(desk.folder / "quiet", quiet)
    labels = write_labels(desk.folder / "quiet.csv", quiet, [mail.category for mail in quiet])
    desk.command("import", folder, "--labels", labels)
    desk.command("run")
    return desk


def test_what_is_left_alone_is_made_anew_once_per_lapse(desk: LivingDesk):
    """ticket_labels, which may not be older than a minute, with a reload in the middle."""
    others = ("ticket_predictions", "candidate_classifier", "suspected_label_errors")
    windows = ["default=52w", "ticket_labels=1m", *(f"{asset}=52w" for asset in others)]
    quickly = {"FRESHNESS_DAEMON_INTERVAL_SECONDS": "5"}
    with desk.left_alone(TICKETS_FRESHNESS=",".join(windows), **quickly):
        before = len(desk.lapses("ticket_labels"))
        desk.wait_until(lambda: len(desk.lapses("ticket_labels")) > before, "it has become late")
        desk.reload()
        desk.wait_until(lambda: len(desk.lapses("ticket_labels")) > before + 2, "so it has twice")

    first, second, third = desk.lapses("ticket_labels")[before : before + 3]
    starts = desk.starts("ticket_labels")
    assert sum(first <= start < second for start in starts) == 1
    assert sum(second <= start < third for start in starts) == 1


@pytest.fixture(scope="module")
def alone(desk: LivingDesk) -> Iterator[LivingDesk]:
    """The same, left alone from then on."""
    with desk.left_alone():
        yield desk


def test_dropped_mail_is_predicted_without_a_command(alone: LivingDesk):
    (alone.drop / "first.eml").write_bytes(mail_of(datetime.now(UTC), "first"))

    alone.wait_until(lambda: bool(alone.predictions(today(), today())), "today's mail is predicted")

    days = {run.tags.get("dagster/partition") for run in alone.runs("automation")}
    assert today().isoformat() in days
    assert alone.runs("new_mail") == []


def test_a_drifted_week_warns_and_waits_for_labels(
    alone: LivingDesk, mails: dict[str, list[SampleMail]]
):
    write_mails(alone.drop, mails["drifted"])

    alone.wait_until(
        lambda: (
            sum(alone.predictions(first_drifted(), days_ago(1)).values())
            >= len(mails["drifted"]) * 0.95
        ),
        "the drifted week is predicted",
    )
    alone.wait_until(
        lambda: alone.verdict_on_drift(days_ago(1)) == "FAILED",
        "the drift check warns",
    )
    alone.wait_until(
        lambda: any(
            "but only 0 new labels since the last training: 60 are needed" in reason
            for reason in skip_reasons(alone, "retrain_on_drift")
        ),
        "retrain_on_drift says what is missing",
    )


def skip_reasons(desk: LivingDesk, sensor: str) -> list[str]:
    with desk_instance(desk.data) as instance:
        return [
            tick.skip_reason or ""
            for state in instance.all_instigator_state()
            if state.instigator_name == sensor
            for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=20)
        ]


def test_labels_train_one_model_that_takes_over_and_quietens_the_drift(
    alone: LivingDesk, mails: dict[str, list[SampleMail]]
):
    former = alone.champion()
    drifted = mails["drifted"]
    labels = write_labels(alone.folder / "week.csv", drifted, [mail.category for mail in drifted])
    alone.command("import", write_mails(alone.folder / "week", drifted), "--labels", labels)

    second_day = first_drifted() + timedelta(days=1)
    alone.wait_until(lambda: alone.champion() != former, "another model is the champion")
    alone.wait_until(
        lambda: alone.predictions(second_day, days_ago(1)).keys() == {alone.champion()},
        "the last days are predicted by it",
    )
    alone.wait_until(
        lambda: alone.verdict_on_drift(days_ago(1)) == "SUCCEEDED",
        "the next report is quiet",
    )

    (training,) = alone.runs("retrain_on_drift")
    assert training.tags["tickets/reason"].startswith("Trained: drift ")
    assert former in alone.predictions(date.min.replace(year=2000), first_drifted() - timedelta(1))


def test_a_candidate_made_worse_on_purpose_is_not_promoted(
    alone: LivingDesk, mails: dict[str, list[SampleMail]]
):
    champion = alone.champion()
    everything = [*mails["quiet"], *mails["drifted"]]
    categories = [mail.category for mail in everything]
    Random(1).shuffle(categories)  # noqa: S311
    labels = write_labels(alone.folder / "shuffled.csv", everything, categories)
    alone.command("import", write_mails(alone.folder / "all", everything), "--labels", labels)

    alone.command("run", "--job", "retrain", succeeds=False)
    # The sensor may have begun with these labels before the command did; it does not try again.
    trainings = len(alone.runs("retrain_on_drift"))
    (alone.drop / "afterwards.eml").write_bytes(mail_of(datetime.now(UTC), "afterwards"))

    alone.wait_until(
        lambda: alone.predictions(today(), today()) == {champion: 2}, "the old champion goes on"
    )
    assert alone.champion() == champion
    assert len(alone.runs("retrain_on_drift")) == trainings
