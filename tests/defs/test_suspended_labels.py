"""suspended_labels: the asset over a small desk, its check, and what the exporter tells of it."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.defs.io_managers import WarehouseIOManager
from ticket_assets.defs.suspended_labels import labels_keep_their_promise, suspended_labels
from ticket_assets.desk import Desk
from ticket_assets.metrics.model import account_families
from ticket_assets.orchestration.observation.accounts import label_accounts, waiting_for_review
from ticket_assets.settings import Settings

DAY = datetime(2025, 6, 20)


@pytest.fixture
def audited_desk(settings: Settings, fill, trained: TrainedClassifier) -> Desk:
    """Ten audits of the network, all right, and ten of the mail, all wrong; one was not made."""
    desk = Desk(settings)
    champion = desk.models.save(trained, datetime(2025, 6, 1, tzinfo=UTC)).version
    desk.models.promote(champion)
    predictions, labels = [], []
    for number in range(20):
        former, given = ("network", "network") if number < 10 else ("email", "printing")
        row = {"ticket_id": f"{number:02}", "received_at": DAY, "category": given}
        predictions.append(
            row
            | {"decision": "labelled", "decided_by": "person", "model_decision": "auto"}
            | {"model_category": former, "former_category": former, "former_decision": "audit"}
            | {"former_model_version": champion}
        )
        labels.append(row | {"labelled_at": DAY + timedelta(minutes=number)})
    predictions.append(
        {"ticket_id": "open", "received_at": DAY, "category": "email", "decision": "auto"}
    )
    fill(settings, "ticket_predictions", predictions)
    fill(settings, "ticket_labels", labels)
    return desk


def test_a_broken_promise_is_a_warning_with_its_evidence_and_a_figure(audited_desk: Desk):
    resources = {"desk": audited_desk, "io_manager": WarehouseIOManager(audited_desk.warehouse)}
    with dg.DagsterInstance.ephemeral() as instance:
        assert (label_accounts(instance), waiting_for_review(instance)) == (None, None)
        assert list(account_families(None, None)) == []
        result = dg.materialize(
            [suspended_labels, labels_keep_their_promise], resources=resources, instance=instance
        )
        families = list(account_families(label_accounts(instance), 7))

    (verdict,) = result.get_asset_check_evaluations()
    assert not verdict.passed
    assert verdict.severity == dg.AssetCheckSeverity.WARN
    assert "email" in str(verdict.metadata["evidence"].value)
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }
    assert told["tickets_review_waiting",] == 7
    assert told["tickets_label_suspended", "email"] == 1
    assert told["tickets_label_suspended", "network"] == 0
    assert told["tickets_breaker_evidence_ratio", "email"] >= 1
    assert told["tickets_audits", "email", "answered"] == 10
    assert told["tickets_audited_precision_ratio", "email"] == 0
    assert told["tickets_audited_precision_ratio", "network"] == 1
    assert told["tickets_automatic_outcomes", "email", "undecided"] == 1
    assert told["tickets_automatic_outcomes", "email", "accepted"] == 0
