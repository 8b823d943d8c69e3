"""A category that gets another name is the same category everywhere, and nothing is learnt anew."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.days import last_friday
from tests.services.stores import Stores
from tests.test_cli import HOLD_A_RUN
from tests.warehouse_rows import append_rows
from ticket_assets.breaker import read_evidence, reset_label, suspend_labels
from ticket_assets.categories import (
    affected,
    apply,
    begin,
    list_categories,
    merging,
    renaming,
)
from ticket_assets.desk import Desk
from ticket_assets.desk_record import DeskRecordError, present_record, write_record
from ticket_assets.drift.store import REVIEW_QUEUE
from ticket_assets.mail.category_changes import CategoryChangeError
from ticket_assets.mail.importing import import_path
from ticket_assets.mail.labels import UnknownLabelError
from ticket_assets.mail.landing import LandingError
from ticket_assets.mail.removal import removing
from ticket_assets.orchestration.exporter import exposition_of
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.planning.needed_runs import NeededRuns, needed_runs
from ticket_assets.planning.retraining import learning_state
from ticket_assets.routing import load_routing
from ticket_assets.settings import Settings
from ticket_assets.triage import triage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PACKAGED = Path(load_routing.__code__.co_filename).with_name("routing.yaml")
TEXT = "Outlook: my mailbox is full and mail does not arrive"


class RoutedStores(Stores):
    """A desk with a routing file of its own."""

    def __init__(self, folder, settings=None):
        self.routing = folder / "routing.yaml"
        super().__init__(folder, {**(settings or {}), "routing": str(self.routing)})
        shutil.copyfile(PACKAGED, self.routing)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    stores = RoutedStores(tmp_path_factory.mktemp("trained") / "desk")
    stores.tickets("sample", "sample", "--messages", 300, "--days", 14, "--until", last_friday())
    stores.tickets("import", "sample/mailbox.mbox", "--labels", "sample/labels.csv")
    stores.tickets("run")
    return stores


@pytest.fixture
def stores(trained, tmp_path):
    copy = RoutedStores(tmp_path / "desk")
    shutil.copytree(trained.folder / "data", copy.folder / "data")
    shutil.copytree(trained.folder / "sample", copy.folder / "sample")
    return copy


def rename(desk, former, name):
    with removing(desk.landing, desk.leases):
        change = renaming(desk, former, name)
        begin(desk, change)
        damaged = apply(desk, change)
        desk.landing.category_changes.end()
    return damaged


def state(desk):
    """All that a category's name may stand in, but for the moments of changes.

    Not the words of mail that weighed in a decision: `email` is one of them.
    """
    warehouse = desk.warehouse
    words = {"ticket_predictions": "select * exclude (terms) "}
    tables = {
        name: sorted(map(repr, warehouse.rows(f"{words.get(name, '')}from {name}")))
        for name in warehouse.tables()
    }
    champion = desk.models.champion_name()
    trained = desk.models.load_trained(champion)
    (model,) = {row for (row,) in warehouse.rows("select distinct model from ticket_embeddings")}
    with desk.collection(model) as collection:
        metadata = collection._metadata({"day": {"$gt": 0}})
    return {
        **tables,
        "champion": champion,
        "classifier": {
            name: (target.labels, target.thresholds.tolist(), target.temperature)
            for name, target in trained.classifier.targets.items()
        },
        "evaluation": trained.evaluation.to_dict(),
        "reference": trained.reference.drop(columns="vector").to_csv(),
        "learnt": trained.training_tickets.to_csv(),
        "doubts": trained.label_errors.to_csv(),
        "held out": trained.holdout.to_csv(),
        "labels": desk.landing.resolve_labels().labels.to_csv(),
        "collection": metadata,
        "figures": {
            str(day): json.loads(content)
            for day, content in desk.reports.figures(desk.reports.days())
        },
        "routing": asdict(desk.routing),
        "record": json.loads(desk.files.read("desk.json")),
        "new labels": learning_state(desk).new_labels,
    }


def known_as(name, content):
    """The state with this name for `email`, without what identifies the labels by their names."""
    content = {part: of_part for part, of_part in content.items() if part != "day_origins"}
    content["evaluation"] = {**content["evaluation"], "fingerprint": ""}
    return json.loads(json.dumps(content).replace("email", name))


def test_a_renamed_category_is_the_same_but_by_name(stores):
    desk = stores.desk()
    before = state(desk)

    said = stores.tickets("categories", "rename", "email", "courriel")

    assert "email is courriel now" in said
    after = state(desk)
    assert known_as("courriel", before) == known_as("email", after)
    assert "email" not in json.dumps(after)


def test_the_table_to_fill_in_follows_at_once(stores):
    desk = stores.desk()
    (former,) = desk.reports.blobs.read_many([REVIEW_QUEUE])

    rename(desk, "email", "courriel")

    (present,) = desk.reports.blobs.read_many([REVIEW_QUEUE])
    names = [
        [
            row["likely"].split(", ")
            for row in csv.DictReader(content.decode("utf-8-sig").split("\n"))
        ]
        for _, content in (former, present)
    ]
    assert any("email" in likely for likely in names[0])
    assert names[1] == [
        ["courriel" if name == "email" else name for name in likely] for likely in names[0]
    ]


def test_in_shadow_mode_a_renamed_category_stays_in_the_review_queue(stores):
    desk = Desk(stores.desk().settings.model_copy(update={"shadow_mode": True}))
    with desk.warehouse.transaction() as connection:
        connection.execute(
            "update tickets.ticket_predictions set decision = 'auto' where category = 'email'"
        )

    rename(desk, "email", "courriel")

    queues = desk.warehouse.rows(
        "select distinct queue from ticket_predictions where category = 'courriel'"
        " and decision = 'auto'"
    )
    assert queues == [("triage",)]


def test_nothing_is_computed_or_learnt_anew(stores):
    desk = stores.desk()
    former = desk.models.version(desk.models.champion_name())
    stores.tickets("categories", "rename", "email", "courriel")

    assert needed_runs(desk).is_nothing
    stores.tickets("run", "--only", "candidate_classifier", "--only", "suspected_label_errors")
    stores.tickets("run", "--only", "ticket_classifier")

    champion = desk.models.version(desk.models.champion_name())
    assert (champion.version, champion.created_at) == (former.version, former.created_at)
    assert desk.models.names() == [champion.version]
    card = desk.models.card(champion.version)
    assert card.count("category email renamed to courriel") == 1
    assert "courriel" in triage(TEXT, desk).category


def test_the_routing_file_keeps_its_comments_and_all_else(stores):
    stores.routing.write_text(
        "# Ours.\r\ncategories:\r\n"
        + "".join(
            f"  {name}: {queue}  # {name} goes to {queue}\r\n"
            for name, queue in load_routing(None).queues.items()
        )
        + "priorities: [low, normal, high, urgent]\r\n",
        newline="",
    )
    before = stores.routing.read_bytes()
    stores.routing.chmod(0o640)

    rename(stores.desk(), "email", "a: b")

    assert stores.routing.read_bytes() == before.replace(b"  email:", b'  "a: b":', 1)
    assert stores.routing.stat().st_mode & 0o777 == 0o640


def test_a_routing_file_that_was_edited_first_is_taken_as_it_is(stores):
    desk = stores.desk()
    text = stores.routing.read_text().replace("  email:", "  courriel:")
    stores.routing.write_text(text)
    assert "tickets categories rename email courriel" in stores.tickets("status", status=1)

    rename(desk, "email", "courriel")

    assert stores.routing.read_text() == text
    stores.tickets("status")


def test_former_names_go_on_working_in_exports_and_a_new_name_is_one(stores, tmp_path):
    desk = stores.desk()
    rename(desk, "email", "courriel")
    (ticket,) = desk.warehouse.rows(
        "select ticket_id from ticket_labels where category = 'network' limit 1"
    )
    labels = tmp_path / "labels.csv"
    labels.write_text(f"ticket_id,category\n{ticket[0]},EMAIL\n")

    stores.tickets("import", "sample/mailbox.mbox", "--labels", labels)

    resolved = desk.landing.resolve_labels(desk.routing.categories).labels.set_index("ticket_id")
    assert resolved.loc[ticket[0], "category"] == "courriel"
    labels.write_text(f"ticket_id,category\n{ticket[0]},mail-in\n")
    with pytest.raises(UnknownLabelError, match="mail-in"):
        import_path(
            desk.landing,
            stores.folder / "sample/mailbox.mbox",
            categories=desk.routing.categories,
            priorities=desk.routing.priorities,
            labels_path=labels,
        )


def test_renamed_along_a_chain_and_back_all_is_as_before(stores):
    desk = stores.desk()
    before = state(desk)

    for former, name in (("email", "courriel"), ("courriel", "poste"), ("poste", "email")):
        rename(desk, former, name)

    after = state(desk)
    assert before == after
    listed = {category.name: category for category in list_categories(desk)}
    assert listed["email"].former == ("courriel", "poste")
    assert needed_runs(desk).is_nothing


def test_a_dry_run_counts_what_is_changed_and_changes_nothing(stores):
    desk = stores.desk()
    before = state(desk)
    listed = {category.name: category for category in list_categories(desk)}["email"]

    said = stores.tickets("categories", "rename", "email", "courriel", "--dry-run")

    counts = affected(desk, renaming(desk, "email", "courriel"))
    assert (counts.labels, counts.predictions) == (listed.labels, listed.predictions)
    assert f"labelled tickets {listed.labels} " in " ".join(said.split())
    assert counts.models == 1
    assert state(desk) == before
    assert desk.landing.category_changes.made() == []
    rename(desk, "email", "courriel")
    assert set(asdict(affected(desk, renaming(desk, "network", "email"))).values()) != {0}
    again = affected(desk, desk.landing.category_changes.made()[0])
    assert asdict(again) == dict.fromkeys(asdict(again), 0)


@pytest.mark.parametrize(
    ("former", "name", "line"),
    [
        ("mails", "x", r"no category 'mails'\. The desk has access, network, hardware"),
        ("email", "network", "category network already.*tickets categories merge"),
        ("email", "email", r"category email already\.$"),
        ("email", "NETWORK", "'network' and 'NETWORK' differ in case"),
        ("email", "=1+1", "begins with =, which a spreadsheet"),
        ("email", "a  b", "has blanks"),
    ],
)
def test_a_name_that_does_not_do_is_one_line(trained, former, name, line):
    with pytest.raises(CategoryChangeError, match=line):
        renaming(trained.desk(), former, name)


def test_a_name_may_change_in_case_alone(stores):
    desk = stores.desk()

    rename(desk, "email", "Email")

    assert "Email" in desk.routing.categories
    assert desk.landing.resolve_labels().labels["category"].eq("Email").any()


def test_a_desk_with_the_packaged_categories_is_told_how_to_have_its_own(stores):
    settings = {name: value for name, value in stores.settings.items() if name != "routing"}
    desk = Desk(Settings(_env_file=None, **settings))

    with pytest.raises(CategoryChangeError, match="Copy it and set TICKETS_ROUTING"):
        begin(desk, renaming(desk, "email", "courriel"))

    assert desk.landing.category_changes.pending() is None


def test_a_routing_file_that_names_it_in_a_way_of_its_own_is_to_be_changed_by_hand(stores):
    content = yaml.safe_load(stores.routing.read_text())
    own = content["categories"].pop("email")
    text = f"usual: &usual {{email: {json.dumps(own)}}}\n{yaml.safe_dump(content)}"
    stores.routing.write_text(text.replace("categories:\n", "categories:\n  <<: *usual\n"))
    desk = stores.desk()
    assert "email" in desk.routing.categories

    with pytest.raises(CategoryChangeError, match="call email courriel, change nothing else"):
        begin(desk, renaming(desk, "email", "courriel"))

    assert desk.landing.category_changes.pending() is None


def test_other_settings_that_differ_are_refused_first(stores):
    stores.routing.write_text(stores.routing.read_text().replace("triage", "elsewhere"))
    desk = stores.desk()

    with pytest.raises(DeskRecordError, match="review queue elsewhere, was triage"):
        begin(desk, renaming(desk, "email", "courriel"))


def test_two_at_once_are_refused(stores):
    desk = stores.desk()
    with removing(desk.landing, desk.leases):
        said = stores.tickets("categories", "rename", "email", "courriel", status=1)

    assert "is under way" in said
    with removing(desk.landing, desk.leases), pytest.raises(LandingError, match="under way"):
        rename(desk, "email", "courriel")


CHANGE_AND_DIE = """
import os, sys
from ticket_assets.categories import apply, begin, merging, renaming
from ticket_assets.desk import Desk
from ticket_assets.mail.removal import removing
from ticket_assets.settings import load_settings
import ticket_assets.classification.model_categories, ticket_assets.storage.collected_tickets
import chromadb

left = int(sys.argv[1])

def die(event, arguments):
    global left
    if event in ("os.rename", "os.remove", "os.link", "open") and (
        event != "open" or isinstance(arguments[1], str) and set(arguments[1]) & set("wxa")
    ):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)

desk = Desk(load_settings())
sys.addaudithook(die)
with removing(desk.landing, desk.leases):
    change = eval(sys.argv[2])
    begin(desk, change)
    apply(desk, change)
    desk.landing.category_changes.end()
"""
RENAME = "renaming(desk, 'email', 'courriel')"
MERGE = "merging(desk, ['email', 'printing'], 'network')"


def killed(stores, change, seed):
    """How often the change was killed, at points drawn at random, until it had ended."""
    draw = np.random.default_rng(seed)
    died = 0
    while True:
        done = subprocess.run(
            [sys.executable, "-c", CHANGE_AND_DIE, str(draw.integers(60)), change],
            env={**os.environ, **stores.environment},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            return died
        assert done.returncode == -signal.SIGKILL, done.stderr
        died += 1
        if pending := stores.desk().landing.category_changes.pending():
            said = stores.tickets("run", status=1)
            assert f"{pending}. Complete it: {pending.command}" in said
            assert "has not ended" in stores.tickets("categories", "rename", "a", "b", status=1)


def test_a_renaming_that_is_killed_is_completed_by_the_same_again(stores, trained, tmp_path):
    """At points drawn at random, again and again until it has ended."""
    whole = RoutedStores(tmp_path / "whole")
    shutil.copytree(trained.folder / "data", whole.folder / "data")
    rename(whole.desk(), "email", "courriel")
    expected = known_as("email", state(whole.desk()))

    assert killed(stores, RENAME, seed=7)

    assert known_as("email", state(stores.desk())) == expected
    assert needed_runs(stores.desk()).is_nothing
    assert "All is well" in stores.tickets("doctor")


def merge(desk, former, name):
    with removing(desk.landing, desk.leases):
        change = merging(desk, former, name)
        begin(desk, change)
        apply(desk, change)
        desk.landing.category_changes.end()


MERGED = {"email": "network", "printing": "network"}


def predictions(desk):
    return {
        row["ticket_id"]: row
        for row in desk.warehouse.frame("from ticket_predictions").to_dict("records")
    }


def test_merged_categories_are_one_and_no_decision_changes(stores):
    desk = stores.desk()
    before, listed = predictions(desk), {one.name: one for one in list_categories(desk)}
    with desk.warehouse.transaction() as connection:
        connection.execute(
            "insert into tickets.suspended_labels by name"
            " select unnest(['email', 'network']) as label, timestamp '2026-03-01' as tripped_at,"
            " unnest([null, timestamp '2026-03-02']) as reset_at, 1.0 as evidence"
        )

    said = stores.tickets("categories", "merge", *MERGED, "network")

    assert "trains a model that knows them as one" in said
    assert not MERGED.keys() & load_routing(stores.routing).queues.keys()
    (merged,) = (one for one in list_categories(desk) if one.name == "network")
    for figure in ("labels", "predictions", "automatic"):
        parts = [getattr(listed[name], figure) for name in (*MERGED, "network")]
        assert getattr(merged, figure) == sum(parts)
    assert merged.former == ("email", "printing")
    for ticket_id, row in predictions(desk).items():
        former = before[ticket_id]
        category = MERGED.get(former["category"], former["category"])
        assert row["category"] == category
        queue = desk.routing.queues[category]
        assert row["queue"] == ("triage" if row["decision"] == "review" else queue)
        of_model = former["model_category"]
        assert row["model_category"] == MERGED.get(of_model, of_model)
        same = ("decision", "category_confidence", "priority", "terms", "model_version")
        assert [repr(row[name]) for name in same] == [repr(former[name]) for name in same]
        assert not any(f'"{name}"' in row["nearest"] for name in MERGED)
        likely = json.loads(row["likely"] or "[]")
        assert len(set(likely)) == len(likely)
        assert not set(likely) & set(MERGED)
    # One of them is suspended, and so is the category that they have become.
    suspended = desk.warehouse.rows("select label, reset_at from suspended_labels")
    assert suspended == [("network", None)]
    doubts = desk.warehouse.rows(
        "select count(*) filter (given = predicted), count(*) filter (given in ('email'))"
        " from suspected_label_errors"
    )
    assert doubts == [(0, 0)]
    # Shares of several categories cannot be added up.
    simulated = {
        label for (label,) in desk.warehouse.rows("select distinct label from threshold_simulation")
    }
    assert None in simulated
    assert not simulated & {*MERGED, "network"}


@pytest.fixture
def unlearnt(tmp_path):
    """A desk without mail and models, with a routing file."""
    stores = RoutedStores(tmp_path / "desk")
    desk = stores.desk()
    write_record(desk.files, present_record(desk.settings, desk.routing), None)
    with desk.warehouse.transaction():
        pass  # rows of a warehouse without a version would be taken for those of an old release
    return stores


def told(number, **columns):
    return {
        "ticket_id": f"{number:020}",
        "receiver": "webhook",
        "outcome": "failed",
        "decision": "auto",
        "category": "email",
        "queue": "collaboration",
    } | columns


def test_decisions_that_wait_for_a_receiver_go_to_the_queue_of_the_merged_category(unlearnt):
    desk = unlearnt.desk()
    likely = {"decision": "review", "category": None, "queue": "triage"}
    append_rows(
        desk.settings,
        "delivered_tickets",
        [
            told(1),
            told(2, outcome="sending"),
            told(3, outcome="delivered"),
            told(4, category="access", queue="identity"),
            told(5, **likely, likely='["email", "access", "network"]'),
        ],
    )
    append_rows(
        desk.settings,
        "review_queue",
        [{"rank": 1, "ticket_id": "0" * 20, "likely": '["printing", "email"]'}],
    )

    merge(desk, list(MERGED), "network")

    rows = desk.warehouse.rows(
        "select category, queue, likely from delivered_tickets order by ticket_id"
    )
    assert rows == [
        ("network", "infrastructure", None),
        ("network", "infrastructure", None),
        ("network", "collaboration", None),  # as it was told
        ("access", "identity", None),
        (None, "triage", '["network","access"]'),
    ]
    assert desk.warehouse.rows("select likely from review_queue") == [('["network"]',)]


def test_labels_suspended_at_once_for_the_same_become_one_and_each_audit_counts_once(unlearnt):
    desk = unlearnt.desk()
    at_once = {"tripped_at": datetime(2026, 3, 1), "evidence": 1e5, "audits": 8, "errors": 8}
    later = {"tripped_at": datetime(2026, 3, 2), "reset_at": datetime(2026, 3, 3), "evidence": 2e5}
    append_rows(
        desk.settings,
        "suspended_labels",
        [
            {"label": "email"} | at_once,
            {"label": "printing"} | at_once,
            {"label": "network"} | later,
        ],
    )
    audit = {"ticket_id": "1", "category": "access", "former_category": "email"}
    audit |= {"former_decision": "audit", "former_model_version": "1"}
    append_rows(desk.settings, "ticket_predictions", [audit])
    label = {"ticket_id": "1", "category": "access", "labelled_at": datetime(2026, 4, 1)}
    append_rows(desk.settings, "ticket_labels", [label])

    merge(desk, list(MERGED), "network")

    (suspended,) = read_evidence(desk.warehouse, 0.95, "1")
    assert (suspended.label, suspended.suspended_since) == ("network", at_once["tripped_at"])
    assert desk.warehouse.rows("select former_category from ticket_predictions") == [("network",)]
    reset_label(desk.warehouse, "network", datetime(2026, 3, 4))
    (one,) = read_evidence(desk.warehouse, 0.95, "1")
    assert (one.label, one.audits, one.errors) == ("network", 1, 1)


def test_a_reset_of_one_label_forgives_the_one_that_it_becomes_nothing_else(unlearnt):
    desk = unlearnt.desk()
    day = datetime(2026, 3, 1)
    audits = [
        {
            "ticket_id": f"{label} {number}",
            "category": "access",
            "former_category": label,
            "former_decision": "audit",
            "former_model_version": "1",
            "labelled_at": day,
        }
        for label, count in (("email", 8), ("network", 2), ("printing", 1))
        for number in range(count)
    ]
    for table in ("ticket_predictions", "ticket_labels"):
        append_rows(desk.settings, table, audits)
    (email, *_) = suspend_labels(desk.warehouse, 0.95, "1", day)
    assert email.suspended_since == day
    reset_label(desk.warehouse, "email", datetime(2026, 3, 2))

    merge(desk, list(MERGED), "network")

    (merged,) = read_evidence(desk.warehouse, 0.95, "1")
    assert (merged.label, merged.audits, merged.errors) == ("network", 3, 3)
    assert merged.suspended_since is None


def test_a_renamed_label_stays_suspended_and_what_waits_is_told_by_its_new_name(unlearnt):
    desk = unlearnt.desk()
    append_rows(desk.settings, "delivered_tickets", [told(1, likely='["email"]')])
    append_rows(desk.settings, "suspended_labels", [{"label": "email", "evidence": 1e5}])
    audit = {"ticket_id": "1", "former_category": "email", "former_decision": "audit"}
    append_rows(desk.settings, "ticket_predictions", [audit])

    rename(desk, "email", "courriel")

    assert desk.warehouse.rows("select label from suspended_labels") == [("courriel",)]
    assert desk.warehouse.rows("select category, queue, likely from delivered_tickets") == [
        ("courriel", "collaboration", '["courriel"]')
    ]
    assert desk.warehouse.rows("select former_category from ticket_predictions") == [("courriel",)]


def test_the_model_says_one_name_until_the_next_training_learns_one_category(stores):
    desk = stores.desk()
    champion, new_labels = desk.models.champion_name(), learning_state(desk).new_labels
    before = predictions(desk)
    stores.tickets("categories", "merge", *MERGED, "network")
    assert "into network. The text above is from before" in desk.models.card(champion)
    (merged,) = (one for one in list_categories(desk) if one.name == "network")
    assert 0 <= learning_state(desk).new_labels - merged.labels <= new_labels
    assert needed_runs(desk) == NeededRuns(learning=True)

    stores.tickets("run", "--only", "ticket_predictions")

    for ticket_id, row in predictions(desk).items():
        former = before[ticket_id]
        assert row["category"] == MERGED.get(former["category"], former["category"])
        assert row["category_confidence"] == former["category_confidence"]
        assert row["decision"] == former["decision"]
    assert triage("The printer has a paper jam", desk).category == "network"

    stores.tickets("run")

    trained = desk.models.load_trained(desk.models.champion_name())
    labels = trained.classifier.targets["category"].labels
    assert desk.models.champion_name() != champion
    assert labels.count("network") == 1
    assert not MERGED.keys() & set(labels)
    assert needed_runs(desk).is_nothing


@pytest.mark.parametrize(
    ("former", "name", "line"),
    [
        (["email", "mails"], "network", "no category 'mails'"),
        (["email"], "mails", "no category 'mails'"),
        (["email"], "email", "Name each category once"),
        (["email", "email"], "network", "Name each category once"),
        (
            ["email", "network", "hardware", "printing", "applications", "security", "onboarding"],
            "access",
            "Two categories have to remain",
        ),
    ],
)
def test_a_merge_that_does_not_do_is_one_line(trained, former, name, line):
    with pytest.raises(CategoryChangeError, match=line):
        merging(trained.desk(), former, name)


def test_a_merge_that_is_killed_is_completed_by_the_same_again(stores, trained, tmp_path):
    whole = RoutedStores(tmp_path / "whole")
    shutil.copytree(trained.folder / "data", whole.folder / "data")
    merge(whole.desk(), list(MERGED), "network")
    expected = state(whole.desk())

    assert killed(stores, MERGE, seed=11)

    assert state(stores.desk()) == {
        **expected,
        "new labels": learning_state(stores.desk()).new_labels,
    }


def test_shared_stores_follow_as_files_do(shared_stores):
    stores = shared_stores()
    routing = stores.folder / "routing.yaml"
    shutil.copyfile(PACKAGED, routing)
    stores.settings["routing"] = stores.environment["TICKETS_ROUTING"] = str(routing)
    stores.tickets("sample", "sample", "--messages", 300, "--days", 14, "--until", last_friday())
    stores.tickets("import", "sample/mailbox.mbox", "--labels", "sample/labels.csv")
    stores.tickets("run")
    desk = stores.desk()
    before = state(desk)

    stores.tickets("categories", "rename", "email", "courriel")

    assert known_as("courriel", before) == known_as("email", state(desk))
    assert needed_runs(desk).is_nothing

    stores.tickets("categories", "merge", "courriel", "printing", "network")

    assert {one.name for one in list_categories(desk)} == desk.routing.queues.keys()
    assert needed_runs(desk) == NeededRuns(learning=True)


def test_the_exporter_says_the_new_name_also_of_days_that_were_counted_before(stores, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    desk = stores.desk()
    rename(desk, "email", "courriel")

    with desk_instance(desk.folder) as instance:
        exposition = exposition_of(desk, instance)
        exposition.refresh()

    text = exposition.text.decode()
    counted = re.findall(r'^tickets_predictions_by_category\{category="(\w+)"', text, re.MULTILINE)
    assert "courriel" in counted
    assert "email" not in text


def test_a_run_at_work_is_named_and_ends_before_anything_is_changed(stores):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_A_RUN],
        env=stores.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        run_id = run.stdout.readline().strip()
        with subprocess.Popen(
            [sys.executable, "-m", "ticket_assets", "categories", "rename", "email", "courriel"],
            env=stores.environment,
            stderr=subprocess.PIPE,
            text=True,
        ) as renaming_at_work:
            first_line = renaming_at_work.stderr.readline()
            made = stores.desk().landing.category_changes.made()
            run.communicate("")
            renaming_at_work.communicate()

    assert first_line.startswith(f"Note: Waits for run {run_id} (started ")
    assert made == []
    assert renaming_at_work.returncode == 0
    assert "courriel" in stores.desk().routing.queues
