"""landed_mail and landed_labels: what has landed, observed and not made, as Dagster shows it."""

from collections.abc import Mapping
from datetime import date

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from ticket_assets.defs.partitions import DAILY
from ticket_assets.desk import Desk
from ticket_assets.mail.landed_days import day_fingerprint, labels_fingerprint
from ticket_assets.planning.groups import MAIL


@dg.multi_observable_source_asset(
    specs=[
        dg.AssetSpec(
            "landed_mail",
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


@dg.multi_observable_source_asset(
    specs=[
        dg.AssetSpec(
            "landed_labels",
            group_name=MAIL,
            description="The labels in the landing zone, from imports and corrections; new_mail"
            " reports each change.",
        )
    ]
)
def landed_labels(desk: dg.ResourceParam[Desk]) -> dg.ObserveResult:
    return dg.ObserveResult(data_version=dg.DataVersion(labels_fingerprint(desk.landing)))


def unreported(
    instance: dg.DagsterInstance, desk: Desk, landed: Mapping[date, str]
) -> list[dg.AssetObservation]:
    """The observations of what has landed since the last ones, the newest day first.

    Only what has changed is observed: Dagster looks at each event of a partition by itself.
    """
    observations = [
        dg.AssetObservation(
            landed_mail.key, partition=day.isoformat(), tags={DATA_VERSION_TAG: landed[day]}
        )
        for day in _unreported_days(instance, landed)
    ]
    labels = labels_fingerprint(desk.landing)
    reports = instance.fetch_observations(landed_labels.key, limit=1).records
    report = reports[0].asset_observation if reports else None
    if report is None or report.tags.get(DATA_VERSION_TAG) != labels:
        observations.insert(
            0, dg.AssetObservation(landed_labels.key, tags={DATA_VERSION_TAG: labels})
        )
    return observations


def _unreported_days(instance: dg.DagsterInstance, landed: Mapping[date, str]) -> list[date]:
    reported = instance.event_log_storage.get_latest_tags_by_partition(
        landed_mail.key, dg.DagsterEventType.ASSET_OBSERVATION, [DATA_VERSION_TAG]
    )
    return [
        day
        for day, fingerprint in sorted(landed.items(), reverse=True)
        if reported.get(day.isoformat(), {}).get(DATA_VERSION_TAG) != fingerprint
    ]
