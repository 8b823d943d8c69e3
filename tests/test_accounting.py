"""What became of automatic decisions: only what people said afterwards counts."""

from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from tests.warehouse_rows import append_rows
from ticket_assets.accounting import LabelAccount, read_accounts, total
from ticket_assets.desk import Desk
from ticket_assets.settings import Settings

DAY = datetime(2026, 3, 2, 9)


def row(number, model, decision, *, category="email", former=(None, None), reason=None, day=DAY):
    """A prediction of which the model says email."""
    return {
        "ticket_id": f"{number}",
        "received_at": day,
        "category": category,
        "decision": decision,
        "decided_by": "person" if decision == "labelled" else "model",
        "model_category": "email",
        "model_decision": model,
        "review_reason": reason,
        "former_category": former[0],
        "former_decision": former[1],
    }


ROWS = [
    row(1, "auto", "auto"),
    row(2, "auto", "auto"),
    row(3, "auto", "labelled", former=("email", "auto")),
    row(4, "auto", "labelled", category="network", former=("email", "auto")),
    row(5, "auto", "labelled"),
    row(6, "auto", "labelled", category="network"),
    row(7, "auto", "review", reason="audit"),
    row(8, "auto", "labelled", former=("email", "audit"), reason="audit"),
    row(9, "auto", "labelled", category="network", former=("email", "audit"), reason="audit"),
    row(10, "review", "review", reason="unsure"),
    row(11, "review", "labelled", former=("email", "review"), reason="unsure"),
    row(12, "auto", "labelled", former=("network", "auto"), category="network"),
    row(13, "auto", "auto", day=DAY - timedelta(days=90)),
]


@pytest.fixture
def desk(tmp_path):
    settings = Settings(data_dir=tmp_path / "data")
    append_rows(settings, "ticket_predictions", ROWS)
    return Desk(settings)


def test_each_automatic_ticket_counts_once_by_what_became_of_it(desk):
    email, network = read_accounts(desk.warehouse)

    assert email == LabelAccount(
        "email",
        accepted=1,
        overridden=1,
        already_right=1,
        undecided=2,
        audits_open=1,
        audits_answered=2,
        audit_errors=1,
    )
    assert network == LabelAccount("network", 1, 0, 0, 0, 0, 0, 0)
    assert total([email, network]) == LabelAccount("all labels", 2, 1, 1, 2, 1, 2, 1)
    assert read_accounts(desk.warehouse, days=91)[0].undecided == 3


def test_the_precision_is_that_of_audits_alone(desk):
    email, network = read_accounts(desk.warehouse)

    low, high = beta.ppf([0.05, 0.95], 2, 2)
    assert email.as_dict()["realised"] == 0.5
    assert email.as_dict()["realised_low"] == pytest.approx(low)
    assert email.as_dict()["realised_high"] == pytest.approx(high)
    assert network.realised is None


def test_a_desk_without_predictions_has_no_accounts(tmp_path):
    assert read_accounts(Desk(Settings(data_dir=tmp_path)).warehouse) == []


@pytest.mark.slow
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["auto", "review"]),
            st.sampled_from(["auto", "review", "labelled"]),
            st.sampled_from(["email", "network"]),
            st.sampled_from([None, "audit", "suspended", "unsure"]),
        ),
        max_size=12,
    )
)
def test_a_label_that_was_there_before_is_never_accepted(tmp_path_factory, tickets):
    desk_settings = Settings(data_dir=tmp_path_factory.mktemp("desk"))
    rows = [
        row(n, model, decision, category=category, reason=reason)
        for n, (model, decision, category, reason) in enumerate(tickets)
    ]
    append_rows(desk_settings, "ticket_predictions", rows)

    accounts = read_accounts(Desk(desk_settings).warehouse)

    assert sum(one.accepted + one.overridden + one.audits_answered for one in accounts) == 0
    undecided = sum(one.undecided for one in accounts)
    assert undecided == sum(decision == "auto" for _, decision, _, _ in tickets)
