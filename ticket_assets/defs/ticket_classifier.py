"""ticket_classifier: the champion, promoted from the candidate when its gates are passed."""

import dagster as dg

from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.desk import Desk
from ticket_assets.planning.groups import LEARNING


@dg.asset(
    deps=["candidate_classifier"],
    description="The model in use. A candidate that fails a blocking check never becomes it, nor"
    " does one that was rolled back.",
    group_name=LEARNING,
    kinds={"scikitlearn"},
    code_version="1",
    pool=WAREHOUSE_POOL,
)
def ticket_classifier(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> dg.MaterializeResult[None]:
    from ticket_assets.classification.promotion import promote

    store = desk.models
    with desk.changing_models():
        former = store.champion()
        champion = promote(store, desk.settings.macro_f1_floor)
    promoted = former is None or former.version != champion.version
    if former is not None and promoted:
        context.log.info(f"{champion.version} takes over from {former.version}")
    return dg.MaterializeResult(
        # Another one only when another model is the champion: the last days are then sorted anew.
        data_version=dg.DataVersion(champion.version),
        metadata={
            "version": champion.version,
            "former_version": former.version if former is not None and promoted else "",
            "encoder": champion.encoder,
            "trained_on": champion.training_tickets,
            "model_card": dg.MetadataValue.md(store.card(champion.version)),
            "folder": dg.MetadataValue.path(f"{store.blobs.location}/{champion.version}"),
        },
    )
