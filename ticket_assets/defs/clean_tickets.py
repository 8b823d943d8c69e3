"""clean_tickets: text for the encoder and tokens, without quotes, signatures or personal data."""

import functools
from collections import Counter
from collections.abc import Sequence
from datetime import date

import dagster as dg
import pandas as pd

from ticket_assets.defs.encoder_conversion import report_conversion
from ticket_assets.defs.io_managers import ORIGINS, inherit_origins
from ticket_assets.defs.partitions import (
    BACKFILLS,
    DAILY,
    Verdicts,
    daily_check,
    record_each_day,
    unpurged_days,
)
from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.desk import Desk
from ticket_assets.markdown import counts, markdown_table, preview
from ticket_assets.planning.groups import TEXT
from ticket_assets.planning.recipe import CODE_VERSIONS, recipe
from ticket_assets.storage.day_origins import require_new_links


@dg.asset(
    description="The requester's own words, masked, with language and tokens. Automatic answers,"
    " bounces, list mail and empty messages are left out; a ticket that repeats another names the"
    " first of them (duplicate_of), of the same day or of the 30 days before.",
    partitions_def=DAILY,
    backfill_policy=BACKFILLS,
    group_name=TEXT,
    kinds={"duckdb", "pandas"},
    code_version=CODE_VERSIONS["clean_tickets"],
    pool=WAREHOUSE_POOL,
)
def clean_tickets(
    context: dg.AssetExecutionContext,
    desk: dg.ResourceParam[Desk],
    raw_tickets: pd.DataFrame,
) -> pd.DataFrame:
    from ticket_assets.links_over_days import (
        described,
        earlier_tickets,
        later_days_with_other_duplicates,
    )
    from ticket_assets.text.cleaning import clean_tickets as clean
    from ticket_assets.text.duplicates import link_duplicates

    inherit_origins(context, "clean_tickets", raw_tickets.attrs.pop(ORIGINS, {}), recipe(desk))
    secrets = desk.secrets_in_context
    if secrets is not None and secrets.needs_conversion:
        report_conversion(context, secrets.encoder)
    cleaned = clean(
        raw_tickets,
        languages=desk.settings.languages,
        phone_regions=desk.settings.phone_regions,
        mask_ip_addresses=desk.settings.mask_ip_addresses,
        reply_delimiter=desk.settings.reply_delimiter,
        secrets=secrets,
    )
    days = unpurged_days(context)
    compared = described(cleaned.tickets, raw_tickets)
    links = link_duplicates(compared, earlier_tickets(desk.warehouse, days[0], compared))
    duplicate_of = pd.Series([link and link.of for link in links], dtype="object")
    tickets = cleaned.tickets.assign(duplicate_of=duplicate_of)
    later = later_days_with_other_duplicates(
        desk.warehouse, days, compared.assign(duplicate_of=duplicate_of)
    )
    require_new_links(desk.warehouse, later, context.run_id)
    left_out = cleaned.left_out
    received_on = left_out["received_at"].dt.date
    record_each_day(
        context,
        tickets.assign(rule=pd.Series([link and link.rule for link in links], dtype="object")),
        days,
        "clean_tickets",
        lambda day, rows: {
            "languages": counts(rows["language"]),
            "left_out": left_out.loc[received_on == day, "reason"].value_counts().to_dict(),
            "duplicates": rows["rule"].value_counts().to_dict(),
            # No texts: what stands in the event log cannot be erased with its ticket.
            "preview": preview(rows, ["received_at", "language", "token_count", "masked"]),
        },
    )
    return tickets


@daily_check(
    asset="clean_tickets",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="No ticket has an empty text.",
)
def no_text_is_empty(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    rows = desk.warehouse.rows(
        "select received_at::date as day, list(ticket_id) filter (text is null or trim(text) = '')"
        " from clean_tickets where day between ? and ? group by all",
        [days[0], days[-1]],
    )
    return {
        day: dg.AssetCheckResult(
            passed=not empty,
            metadata={"empty_texts": len(empty or ()), "examples": (empty or [])[:5]},
        )
        for day, empty in rows
    }


@daily_check(
    asset="clean_tickets",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="Every language is one of TICKETS_LANGUAGES.",
)
def languages_are_known(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    rows = desk.warehouse.rows(
        "select received_at::date as day, language, count(*) from clean_tickets"
        " where day between ? and ? group by all order by 3 desc",
        [days[0], days[-1]],
    )
    tickets: dict[date, dict[str, int]] = {}
    for day, language, count in rows:
        tickets.setdefault(day, {})[language] = count
    known = set(desk.settings.languages)
    return {
        day: dg.AssetCheckResult(
            passed=of_day.keys() <= known,
            metadata={
                "languages": dg.MetadataValue.md(
                    markdown_table(("language", "tickets"), of_day.items())
                ),
                "unknown": [language for language in of_day if language not in known],
            },
        )
        for day, of_day in tickets.items()
    }


@daily_check(
    asset="clean_tickets",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="No address, phone number or other personal data is left in a text or its tokens. "
    "What only looks like some is a warning.",
)
def no_personal_data_is_left(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    from ticket_assets.text.privacy import find_personal_data

    rows = desk.warehouse.rows(
        # A text begins with its subject: read as it was cleaned, its passages are known already.
        "select received_at::date as day, ticket_id, case when starts_with(text, subject) then text"
        " else concat_ws(chr(10), subject, text) end, coalesce(tokens, '')"
        " from clean_tickets where day between ? and ?",
        [days[0], days[-1]],
    )
    secrets = desk.secrets_in_context
    find = functools.partial(
        find_personal_data,
        phone_regions=desk.settings.phone_regions,
        mask_ip_addresses=desk.settings.mask_ip_addresses,
        passwords=secrets is None,
    )
    suspicious: set[str] = set()
    if secrets is not None:
        are_suspicious = secrets.are_suspicious([text for *_, text, _ in rows])
        suspicious.update(row[1] for row, is_so in zip(rows, are_suspicious, strict=True) if is_so)
    left: dict[date, dict[str, list[str]]] = {day: {} for day, *_ in rows}
    certain = set()
    for day, ticket_id, text, tokens in rows:
        # Tokens have no sentences, in which a suspicion looks for what belongs together.
        kinds = find(text) or find(tokens, suspicions=False)
        if ticket_id in suspicious:
            kinds = sorted({*kinds, "PASSWORD"})
        if kinds:
            left[day][ticket_id] = kinds
            if find(text, suspicions=False) or find(tokens, suspicions=False):
                certain.add(day)
    tickets = Counter(day for day, *_ in rows)
    return {
        day: dg.AssetCheckResult(
            passed=not of_day,
            # A suspicion stops no day: nobody can unsay what a requester wrote.
            severity=dg.AssetCheckSeverity.ERROR if day in certain else dg.AssetCheckSeverity.WARN,
            metadata={
                "tickets": tickets[day],
                "tickets_with_personal_data": len(of_day),
                "examples": dict(list(of_day.items())[:5]),
            },
        )
        for day, of_day in left.items()
    }
