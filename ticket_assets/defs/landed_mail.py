"""landed_mail and landed_labels: what has landed, observed and not made, as Dagster shows it."""

from collections.abc import Mapping
from datetime import date

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from ticket_assets.defs.partitions import DAILY
from ticket_assets.desk import Desk
from ticket_assets.mail.changed_days import NO_MAIL
from ticket_assets.mail.landed_days import day_fingerprint, labels_fingerprint
from ticket_assets.planning.groups import MAIL

LANDED_MAIL = dg.AssetKey("landed_mail")
LANDED_LABELS = dg.AssetKey("landed_labels")


@dg.multi_observable_source_asset(  # type: ignore[untyped-decorator]
    specs=[
        dg.AssetSpec(
            LANDED_MAIL,
            partitions_def=DAILY,
            group_name=MAIL,
            description="The original messages in the landing zone, by the day they were received."
            " A day's data version is the fingerprint of its messages; new_mail reports each"
            " change.",
        )
    ],
    partitions_def=DAILY,
)
def landed_mail(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> dg.ObserveResult:
    day = date.fromisoformat(context.partition_key)
    return dg.ObserveResult(data_version=dg.DataVersion(day_fingerprint(desk.landing, day)))


@dg.multi_observable_source_asset(  # type: ignore[untyped-decorator]
    specs=[
        dg.AssetSpec(
            LANDED_LABELS,
            group_name=MAIL,
            description="The labels in the landing zone, from imports and corrections; new_mail"
            " reports each change.",
        )
    ]
)
def landed_labels(desk: dg.ResourceParam[Desk]) -> dg.ObserveResult:
    return dg.ObserveResult(data_version=dg.DataVersion(labels_fingerprint(desk.landing)))


def unreported_mail(
    instance: dg.DagsterInstance, landed: Mapping[date, str]
) -> list[dg.AssetObservation]:
    """The observations of the days whose mail has changed since the last ones, the newest first.

    Only what has changed is observed: Dagster looks at each event of a partition by itself.

    Args:
        landed: the fingerprint of each day's mail.
    """
    reported = instance.event_log_storage.get_latest_tags_by_partition(
        LANDED_MAIL,
        dg.DagsterEventType.ASSET_OBSERVATION,
        [DATA_VERSION_TAG],
        asset_partitions=[day.isoformat() for day in landed],
    )
    return [
        dg.AssetObservation(
            LANDED_MAIL, partition=day.isoformat(), tags={DATA_VERSION_TAG: fingerprint}
        )
        for day, fingerprint in sorted(landed.items(), reverse=True)
        if reported.get(day.isoformat(), {}).get(DATA_VERSION_TAG, NO_MAIL) != fingerprint
    ]


def unreported_labels(instance: dg.DagsterInstance, landed: str) -> list[dg.AssetObservation]:
    """The observation of the labels, where they have changed since the last one.

    Args:
        landed: the fingerprint of all labels.
    """
    reports = instance.fetch_observations(LANDED_LABELS, limit=1).records
    report = reports[0].asset_observation if reports else None
    if report is not None and report.tags.get(DATA_VERSION_TAG) == landed:
        return []
    return [dg.AssetObservation(LANDED_LABELS, tags={DATA_VERSION_TAG: landed})]
