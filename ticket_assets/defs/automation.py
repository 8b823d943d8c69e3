"""automation: which assets are made anew by themselves, and when.

Mail that has landed reaches the predictions and the drift report by these conditions, once the
sensor new_mail has reported it. They know neither patience nor a count of tries: a day that fails
is the sensor's again.
"""

from datetime import timedelta
from typing import Any

import dagster as dg
from dagster import AutomationCondition as Condition

from ticket_assets.defs.partitions import DESK
from ticket_assets.settings import SettingsError

LATEST = Condition.in_latest_time_window()
IDLE = ~Condition.in_progress()
HANDLED = Condition.newly_requested() | Condition.newly_updated()
"""Not `since_last_handled()`, which also forgets what has happened when definitions change: days
would stay behind in silence (dagster#33656)."""
UPDATED = (
    Condition.newly_updated() & ~Condition.executed_with_root_target()
) | Condition.will_be_requested()
"""Made anew in a run that does not make this asset as well, or about to be in this asset's run."""


def _changed(*upstream: str) -> dg.AutomationCondition[Any]:
    """True since one of these was made anew, until this asset is requested or made as well.

    Only those named count: the arrows from labels and model lead to every day.
    """
    named = dg.AssetSelection.assets(*upstream)
    # `.ignore()` and `.allow()` do not reach into `any_deps_updated()` (dagster#30421).
    changed = Condition.any_deps_match(UPDATED).allow(named).since(HANDLED)
    return changed.with_label(f"changed: {', '.join(upstream)}")


def _guarded(reason: dg.AutomationCondition[Any], *upstream: str) -> dg.AutomationCondition[Any]:
    """The reason, while no run is at work on it or on these, and they are there and sound."""
    named = dg.AssetSelection.assets(*upstream)
    missing = Condition.missing() & ~Condition.will_be_requested()
    # `all_deps_blocking_checks_passed()` would want the checks of a new day to have passed already:
    # what is about to be in the same run is stopped by that run.
    sound = Condition.will_be_requested() | Condition.all_checks_match(
        Condition.check_passed(), blocking_only=True
    )
    return (
        reason
        & IDLE
        # Not the labels: a run that reads them anew would keep back the collection, and the
        # predictions would go ahead of it.
        & ~Condition.any_deps_match(Condition.in_progress()).allow(named)
        & ~Condition.any_deps_match(missing).allow(named)
        & Condition.all_deps_match(sound).allow(named)
    )


late = (
    (
        Condition.freshness_failed().newly_true()
        # After a failed run, at each full hour: what made it fail may be gone.
        | (
            Condition.freshness_failed()
            & Condition.execution_failed()
            & Condition.cron_tick_passed("0 * * * *")
        )
    )
    .since(HANDLED)
    .with_label("late: not made for longer than its freshness policy allows")
)
"""Fires once for each lapse. Of an asset with days the policy looks at no day in particular, so
the day under way is made anew, with or without mail."""

late_today = (LATEST & late).with_label("late today")

new_champion = (
    Condition.in_latest_time_window(timedelta(days=DESK.settings.predict_again_days))
    # Not by `any_deps_match()`: two of them in one condition, each with `since()`, share what they
    # remember, whatever dependencies they look at.
    & Condition.asset_matches("ticket_classifier", Condition.data_version_changed()).since(HANDLED)
).with_label("another champion: the last days are predicted anew")
"""Fires when another model than before is the champion, for the last TICKETS_PREDICT_AGAIN_DAYS;
earlier days are predicted anew by `tickets run`."""


def _daily(*upstream: str) -> dg.AutomationCondition[Any]:
    return _guarded(_changed(*upstream) | late_today, *upstream)


mail_changed = _changed("landed_mail")
"""Fires for a day when new_mail has reported that its mail is other than before."""

ended_day = (
    Condition.in_latest_time_window(timedelta(days=2))
    & ~LATEST
    & Condition.cron_tick_passed("15 0 * * *").since(HANDLED)
).with_label("the day has ended")
"""Fires a quarter of an hour after midnight (UTC) for the day before, now that it is whole."""

SORTED = ("ticket_collection", "ticket_embeddings", "clean_tickets")
DRIFT = _guarded(_changed("ticket_predictions") | ended_day | late_today, "ticket_predictions")

another_champion = (
    Condition.asset_matches("ticket_classifier", Condition.data_version_changed())
    .since(HANDLED)
    .with_label("another champion")
)
SIMULATED = (
    (late | another_champion)
    & IDLE
    # At the next tick, when the days that another champion predicts anew are in progress, then
    # after them. What is missing does not hold it back: a day without mail may be.
    & ~Condition.asset_matches("ticket_classifier", Condition.newly_updated())
    & ~Condition.any_deps_match(Condition.in_progress())
    & ~Condition.asset_matches("ticket_classifier", Condition.missing())
)
"""Once a day, whatever mail comes: it looks at weeks."""

REVIEWED = (
    (_changed("ticket_labels") | late)
    & IDLE
    & ~Condition.any_deps_match(Condition.in_progress())
    & ~Condition.asset_matches("ticket_classifier", Condition.missing())
)
"""When people have labelled, and once a day: it looks at weeks."""

CONDITIONS = {
    # What a day's mail has never been reported of is empty, not missing.
    "raw_tickets": (mail_changed | late_today) & IDLE,
    "rejected_messages": (mail_changed | late_today) & IDLE,
    "clean_tickets": _daily("raw_tickets"),
    "ticket_embeddings": _daily("clean_tickets"),
    "ticket_collection": _daily("ticket_embeddings", "clean_tickets"),
    "ticket_predictions": _guarded(
        _changed(*SORTED) | new_champion | late_today, *SORTED, "ticket_classifier"
    ),
    "delivered_tickets": _daily("ticket_predictions"),
    "suspended_labels": _guarded(
        _changed("ticket_labels") | another_champion | late, "ticket_labels", "ticket_classifier"
    ),
    "review_queue": REVIEWED,
    "threshold_simulation": SIMULATED,
    "drift_metrics": DRIFT,
    "drift_report": DRIFT,
    "ticket_labels": (_changed("landed_labels") | late) & IDLE,
    "candidate_classifier": _guarded(late, "ticket_labels"),
    "suspected_label_errors": _guarded(late, "ticket_labels"),
    "ticket_classifier": _guarded(_changed("candidate_classifier") | late, "candidate_classifier"),
}


def _freshness() -> dict[str, dg.FreshnessPolicy]:
    """The policy of each asset.

    Raises:
        SettingsError: TICKETS_FRESHNESS names an asset that does not exist.
    """
    windows = DESK.settings.freshness_windows
    if unknown := windows.keys() - CONDITIONS.keys() - {"default"}:
        raise SettingsError(
            f"TICKETS_FRESHNESS names {', '.join(sorted(unknown))}, which is no asset. Assets:"
            f" {', '.join(CONDITIONS)}."
        )
    return {
        asset: dg.FreshnessPolicy.time_window(windows.get(asset, windows["default"]))
        for asset in CONDITIONS
    }


FRESHNESS = _freshness()

automation = dg.AutomationConditionSensorDefinition(
    "automation",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    description="Makes anew what landed mail has changed, what has become late, and the last days"
    " after another champion, each after what it is made of.",
)
