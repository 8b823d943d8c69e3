"""Landed labels are read by the names that their categories have now."""

from datetime import UTC, datetime

import pytest

from tests.mail.test_landing import landing  # noqa: F401
from ticket_assets.mail.category_changes import CategoryChange, CategoryChangeError
from ticket_assets.mail.labels import LabelSet
from ticket_assets.mail.landing import Label

TICKETS = {name: f"{number:020x}" for number, name in enumerate(["first", "second", "third"])}


def land(landing, ticket, category):  # noqa: F811
    now = datetime(2025, 3, 1, len(landing.label_files()), tzinfo=UTC)
    landing.land_labels([Label(category, None, now, "Anne", TICKETS[ticket], None)])


def change(landing, *former, name, is_merge=False):  # noqa: F811
    changes = landing.category_changes
    changes.begin(
        CategoryChange(
            number=len(changes.made()) + 1,
            former=former,
            name=name,
            is_merge=is_merge,
            queues={},
            label_files=frozenset(landing.label_files()),
            changed_at="2025-03-02T00:00:00+00:00",
        )
    )
    changes.end()


def categories(landing, *present):  # noqa: F811
    labels = landing.resolve_labels(present).labels
    names = {ticket_id: name for name, ticket_id in TICKETS.items()}
    return {names[row.ticket_id]: row.category for row in labels.itertuples()}


def test_a_renamed_category_has_its_new_name_in_labels_that_had_landed(landing):  # noqa: F811
    land(landing, "first", "email")
    land(landing, "second", "network")
    before = dict(landing.files.read_many(f"labels/{name}" for name in landing.label_files()))

    change(landing, "email", name="mail")

    assert categories(landing) == {"first": "mail", "second": "network"}
    assert {label.category for label in landing.labels()} == {"mail", "network"}
    assert before == dict(landing.files.read_many(before))


def test_a_chain_of_renamings_leads_to_the_last_name(landing):  # noqa: F811
    land(landing, "first", "a")
    change(landing, "a", name="b")
    land(landing, "second", "b")
    change(landing, "b", name="c")

    assert categories(landing) == {"first": "c", "second": "c"}
    assert landing.former_categories() == {"a": "c", "b": "c"}


def test_a_name_that_is_given_anew_means_another_category_from_then_on(landing):  # noqa: F811
    """Two categories swap their names."""
    land(landing, "first", "a")
    land(landing, "second", "b")
    for former, name in (("a", "between"), ("b", "a"), ("between", "b")):
        change(landing, former, name=name)
    land(landing, "third", "a")

    assert categories(landing, "a", "b") == {"first": "b", "second": "a", "third": "a"}
    assert landing.former_categories() == {"between": "b"}


def test_renamed_back_a_category_is_what_it_was(landing):  # noqa: F811
    land(landing, "first", "a")
    change(landing, "a", name="b")
    land(landing, "second", "b")
    change(landing, "b", name="a")

    assert categories(landing, "a") == {"first": "a", "second": "a"}
    assert landing.former_categories() == {"b": "a"}


def test_merged_categories_are_one_and_a_later_renaming_takes_all_along(landing):  # noqa: F811
    for ticket, category in zip(TICKETS, ["a", "b", "c"], strict=True):
        land(landing, ticket, category)
    change(landing, "a", "b", name="c", is_merge=True)
    change(landing, "c", name="d")

    assert set(categories(landing).values()) == {"d"}
    assert landing.former_categories() == dict.fromkeys("abc", "d")


def test_a_label_that_lands_by_the_former_name_during_the_change_counts(landing):  # noqa: F811
    change(landing, "email", name="mail")
    land(landing, "first", "email")

    assert categories(landing, "mail") == {"first": "mail"}
    # Somebody has added a category of that name since.
    assert categories(landing, "mail", "email") == {"first": "email"}


def test_an_export_that_says_the_former_name_is_understood():
    labels = LabelSet(["mail", "network"], ["low", "high"], {"E-mail": "mail", "network": "mail"})

    assert labels.category("e-mail") == "mail"
    assert labels.category("Network") == "network"


def test_a_change_that_has_not_ended_is_named_with_the_command_that_completes_it(
    landing,  # noqa: F811
):
    changes = landing.category_changes
    change(landing, "a", name="b")
    (made,) = changes.made()
    changes.refuse_pending()
    changes.begin(made)

    with pytest.raises(CategoryChangeError, match=r"a renamed to b.*tickets categories rename a b"):
        changes.refuse_pending()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"former": 1}'])
def test_a_record_that_cannot_be_read_is_an_error_and_not_a_wrong_label(
    landing,  # noqa: F811
    content,
):
    landing.files.replace("category_changes/000001.json", content)

    with pytest.raises(CategoryChangeError, match=r"000001\.json"):
        landing.resolve_labels()
