"""clean_tickets: text for the encoder and tokens, without quotes, signatures or personal data."""

import dagster as dg
import pandas as pd

from ticket_assets.defs.conventions import WAREHOUSE_POOL
from ticket_assets.defs.partitions import DAILY, SINGLE_RUN, days, run_window
from ticket_assets.defs.previews import counts, markdown_table, preview, record_rows_per_day
from ticket_assets.settings import Settings
from ticket_assets.storage.warehouse import Warehouse


@dg.asset(
    description="The requester's own words, masked, with language and tokens. Automatic answers,"
    " bounces, list mail and empty messages are left out.",
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
    group_name="text",
    kinds={"duckdb", "pandas"},
    code_version="1",
    pool=WAREHOUSE_POOL,
)
def clean_tickets(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    raw_tickets: pd.DataFrame,
) -> pd.DataFrame:
    from ticket_assets.text.cleaning import clean_tickets as clean

    cleaned = clean(
        raw_tickets,
        languages=settings.languages,
        phone_regions=settings.phone_regions,
        mask_ip_addresses=settings.mask_ip_addresses,
    )
    tickets = cleaned.tickets
    record_rows_per_day(context, tickets["received_at"], days(context), "clean_tickets")
    context.add_asset_metadata(
        {
            "languages": counts(tickets["language"]),
            "left_out": cleaned.left_out,
            "preview": preview(tickets, ["received_at", "language", "text", "masked"]),
        }
    )
    return tickets


@dg.asset_check(
    asset="clean_tickets",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="No ticket has an empty text.",
)
def no_text_is_empty(settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
    empty = Warehouse(settings.warehouse_path).rows(
        "select ticket_id from clean_tickets where text is null or trim(text) = ''"
    )
    return dg.AssetCheckResult(
        passed=not empty,
        metadata={"empty_texts": len(empty), "examples": [row[0] for row in empty[:5]]},
    )


@dg.asset_check(
    asset="clean_tickets",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Every language is one of TICKETS_LANGUAGES.",
)
def languages_are_known(settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
    found = Warehouse(settings.warehouse_path).rows(
        "select language, count(*) from clean_tickets group by all order by 2 desc"
    )
    unknown = [language for language, _ in found if language not in settings.languages]
    return dg.AssetCheckResult(
        passed=not unknown,
        metadata={
            "languages": dg.MetadataValue.md(markdown_table(("language", "tickets"), found)),
            "unknown": unknown,
        },
    )


@dg.asset_check(
    asset="clean_tickets",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="No address, phone number or other personal data is left in a text or its tokens.",
)
def no_personal_data_is_left(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    from ticket_assets.text.privacy import find_personal_data

    first, last = run_window(context.run.tags) or (DAILY.start.date(), None)
    texts = Warehouse(settings.warehouse_path).rows(
        "select ticket_id, concat_ws(chr(10), subject, text, tokens) from clean_tickets"
        " where received_at::date >= ? and received_at::date <= coalesce(?, received_at::date)",
        [first, last],
    )
    left = {
        ticket_id: kinds
        for ticket_id, text in texts
        if (
            kinds := find_personal_data(
                text,
                phone_regions=settings.phone_regions,
                mask_ip_addresses=settings.mask_ip_addresses,
            )
        )
    }
    return dg.AssetCheckResult(
        passed=not left,
        metadata={
            "tickets": len(texts),
            "tickets_with_personal_data": len(left),
            "examples": dict(list(left.items())[:5]),
        },
    )
