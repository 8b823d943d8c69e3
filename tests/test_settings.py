from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from ticket_assets.mail.imap import ImapAccount
from ticket_assets.mail.sources import imap_account
from ticket_assets.settings import DRIFT_DISTANCES, PREFIX, Settings, SettingsError, load_settings

EXAMPLE = Path(__file__).parents[1] / ".env.example"
COMMENTED = re.compile(r"^#(TICKETS_\w+)=(.*)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def bare_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of ours, no `.env`, and no settings that were loaded before."""
    for variable in list(os.environ):
        if variable.upper().startswith(PREFIX):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def message_of_loading() -> str:
    with pytest.raises(SettingsError) as error:
        load_settings()
    message = str(error.value)
    assert "\n" not in message
    return message


def test_without_variables_every_setting_has_its_default() -> None:
    assert load_settings() == Settings.model_construct()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("DATA_DIR", "~nobody-of-that-name/data", "there is no such user's home folder"),
        ("FILES", "/srv/mail", "like s3://bucket/prefix"),
        ("FILES", "s3://Bucket", "like s3://bucket/prefix"),
        ("FIRST_DAY", "20.11.2026", "YYYY-MM-DD"),
        ("FIRST_DAY", "2026-11-31", "day value is outside expected range"),
        ("ROUTING", "~nobody-of-that-name/routing.yaml", "there is no such user's home folder"),
        ("LANGUAGES", "fr,xx", "'xx' is not one of de, en, es, fr, it, nl, pt"),
        ("LANGUAGES", ",", "at least 1 item"),
        ("PHONE_REGIONS", "FR,france", "'FRANCE' is not a country's two-letter code"),
        ("PHONE_REGIONS", "XX", "'XX' is not a country's two-letter code"),
        ("PHONE_REGIONS", ",", "at least 1 item"),
        ("MASK_IP_ADDRESSES", "perhaps", "valid boolean"),
        ("MAX_MESSAGE_MB", "0", "greater than or equal to 1"),
        ("MAX_MESSAGE_MB", "161", "less than or equal to 160"),
        ("MAX_MESSAGE_MB", "50 MB", "valid integer"),
        ("IMAP_PORT", "65536", "less than or equal to 65535"),
        ("IMAP_SECURITY", "ssl", "'tls', 'starttls' or 'plain'"),
        ("IMAP_FOLDERS", ",", "at least 1 item"),
        ("IMAP_PASSWORD_FILE", "~nobody-of-that-name/x", "there is no such user's home folder"),
        ("IMAP_BATCH", "0", "greater than or equal to 1"),
        ("ENCODER", " ", "at least 1 character"),
        ("ENCODER_PRECISION", "fp16", "'auto', 'int8', 'bf16' or 'fp32'"),
        ("ENCODER_MAX_TOKENS", "15", "greater than or equal to 16"),
        ("ENCODER_MAX_TOKENS", "8193", "less than or equal to 8192"),
        ("ENCODER_BATCH_TOKENS", "255", "greater than or equal to 256"),
        ("ENCODER_BATCH_TOKENS", "1000001", "less than or equal to 1000000"),
        ("ENCODER_THREADS", "0", "greater than or equal to 1"),
        ("ENCODER_THREADS", "1025", "less than or equal to 1024"),
        ("ALLOW_DOWNLOAD", "2", "valid boolean"),
        ("CHROMA_URL", "chroma:8000", "like http://chroma:8000"),
        ("CHROMA_URL", "http://chroma:8000/api", "like http://chroma:8000"),
        ("TARGET_PRECISION", "0.5", "greater than 0.5"),
        ("TARGET_PRECISION", "1", "less than 1"),
        ("TARGET_PRECISION", "nan", "less than 1"),
        ("PRECISION_RISK", "0", "greater than 0"),
        ("PRECISION_RISK", "0.6", "less than or equal to 0.5"),
        ("CONFIDENCE_FLOOR", "0.49", "greater than or equal to 0.5"),
        ("CONFIDENCE_FLOOR", "1", "less than or equal to 0.99"),
        ("MACRO_F1_FLOOR", "-0.1", "greater than or equal to 0"),
        ("MACRO_F1_FLOOR", "50", "less than or equal to 1"),
        ("HOLDOUT_SHARE", "0", "greater than 0"),
        ("HOLDOUT_SHARE", "0.6", "less than 0.6"),
        ("MIN_CLASS_TICKETS", "1", "greater than or equal to 2"),
        ("MIN_CLASS_TICKETS", "10001", "less than or equal to 10000"),
        ("SEED", "-1", "greater than or equal to 0"),
        ("SEED", "4294967296", "less than or equal to 4294967295"),
        ("NEIGHBOURS", "0", "greater than or equal to 1"),
        ("NEIGHBOURS", "51", "less than or equal to 50"),
        ("REJECTED_SHARE_LIMIT", "-0.1", "greater than or equal to 0"),
        ("REJECTED_SHARE_LIMIT", "2%", "valid number"),
        ("AUTO_SHARE_FLOOR", "-0.1", "greater than or equal to 0"),
        ("AUTO_SHARE_FLOOR", "inf", "less than or equal to 1"),
        ("DRIFT_MIN_TICKETS", "0", "greater than or equal to 1"),
        ("DRIFT_MIN_TICKETS", "100001", "less than or equal to 100000"),
        ("DRIFT_DISTANCES", "0.1", "a metric and a distance each"),
        ("DRIFT_DISTANCES", "langage=0.1", "of language, category,"),
        ("DRIFT_DISTANCES", "language=far", "valid number"),
        ("DRIFT_HTML_DAYS", "0", "greater than or equal to 1"),
        ("DRIFT_HTML_DAYS", "3651", "less than or equal to 3650"),
        ("DRIFT_HTML_DAYS", "3.5", "valid integer"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(f"TICKETS_{name}", value)

    message = message_of_loading()

    assert message.startswith(f"TICKETS_{name}=")
    assert " is not allowed: " in message
    assert allowed in message
    assert message.endswith(Settings.model_fields[name.lower()].description)


def test_the_message_holds_variable_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TICKETS_SEED", "seven")

    assert message_of_loading() == (
        "TICKETS_SEED='seven' is not allowed: Input should be a valid integer, unable to parse"
        " string as an integer. Seed of every random choice."
    )


def test_all_values_that_are_not_allowed_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKETS_SEED", "seven")
    monkeypatch.setenv("TICKETS_NEIGHBOURS", "none")

    message = message_of_loading()

    assert "TICKETS_SEED='seven' is not allowed" in message
    assert "TICKETS_NEIGHBOURS='none' is not allowed" in message


def test_a_drift_distance_that_is_not_named_keeps_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TICKETS_DRIFT_DISTANCES", "embedding=0.3, language=0.2")

    assert load_settings().drift_distances == DRIFT_DISTANCES | {"embedding": 0.3, "language": 0.2}


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKETS_LANGUAGES", "en, fr,")
    monkeypatch.setenv("TICKETS_PHONE_REGIONS", "lu,FR")

    assert load_settings().languages == ("en", "fr")
    assert load_settings().phone_regions == ("LU", "FR")


def test_an_empty_value_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.setenv(f"TICKETS_{field.upper()}", "")

    assert load_settings() == Settings.model_construct()


@pytest.mark.parametrize(
    ("value", "mapping"),
    [
        ("body=Details,category=Team", {"body": "Details", "category": "Team"}),
        (" body = Details, suite , category=A=B", {"body": "Details, suite", "category": "A=B"}),
        ("", {}),
    ],
)
def test_columns_of_exports_are_named_by_field(
    monkeypatch: pytest.MonkeyPatch, value: str, mapping: dict[str, str]
) -> None:
    monkeypatch.setenv("TICKETS_EXPORT_COLUMNS", value)

    assert load_settings().column_mapping == mapping


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (
            "bodi=Details",
            "'bodi' is not a field of a ticket, which are subject, body, sender, sender_name,"
            " recipients, received_at, message_id, in_reply_to, category, priority",
        ),
        ("body=", "body needs one column, as in body=Details"),
        ("body=A,body=B", "body needs one column, as in body=Details"),
        ("Details", "'Details' is not a field"),
    ],
)
def test_columns_of_exports_that_cannot_be_are_told(
    monkeypatch: pytest.MonkeyPatch, value: str, reason: str
) -> None:
    monkeypatch.setenv("TICKETS_EXPORT_COLUMNS", value)

    with pytest.raises(SettingsError, match=re.escape(reason)):
        load_settings()


def test_a_mail_account_is_what_its_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKETS_IMAP_HOST", "imap.example.org")
    monkeypatch.setenv("TICKETS_IMAP_USER", "desk")
    monkeypatch.setenv("TICKETS_IMAP_PASSWORD", "s3cret")
    monkeypatch.setenv("TICKETS_IMAP_FOLDERS", "INBOX, Réseau & VPN,INBOX")

    account = imap_account(load_settings())

    assert account == ImapAccount(
        "imap.example.org",
        "desk",
        "s3cret",
        folders=("INBOX", "Réseau & VPN"),
    )
    assert account.address == "imap.example.org:993"
    assert "s3cret" not in f"{load_settings()!r} {account!r}"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "No mail account is set: set TICKETS_IMAP_HOST and TICKETS_IMAP_USER,"),
        ({"HOST": "x"}, "No mail account is set: set TICKETS_IMAP_HOST and TICKETS_IMAP_USER,"),
        ({"HOST": "x", "USER": "y"}, "Set exactly one of TICKETS_IMAP_PASSWORD,"),
        (
            {"HOST": "x", "USER": "y", "PASSWORD": "z", "TOKEN_FILE": "t"},
            "Set exactly one of TICKETS_IMAP_PASSWORD,",
        ),
    ],
)
def test_a_mail_account_that_is_not_whole_is_an_error(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], reason: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"TICKETS_IMAP_{name}", value)

    with pytest.raises(SettingsError) as error:
        imap_account(load_settings())

    assert str(error.value).startswith(reason)


def test_the_home_folder_is_found_from_its_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Path(".env").write_text("TICKETS_DATA_DIR=~/tickets\nTICKETS_ROUTING=~/routing.yaml\n")

    assert load_settings().data_dir == tmp_path / "tickets"
    assert load_settings().routing == tmp_path / "routing.yaml"
    assert load_settings().warehouse_path == tmp_path / "tickets" / "warehouse.duckdb"


def test_settings_are_read_from_the_env_file() -> None:
    Path(".env").write_text(
        "# the helpdesk's own\n"
        "TICKETS_FIRST_DAY=2026-11-20\n"
        'export TICKETS_DATA_DIR="données"  # quoted\n'
        "tickets_mask_ip_addresses=no\n",
        "utf-8",
    )

    settings = load_settings()

    assert settings.first_day == date(2026, 11, 20)
    assert settings.data_dir == Path("données")
    assert settings.mask_ip_addresses is False


def test_an_env_file_with_a_byte_order_mark_is_read() -> None:
    Path(".env").write_text("TICKETS_SEED=12\n", "utf-8-sig")

    assert load_settings().seed == 12


def test_a_variable_of_the_environment_wins_over_the_env_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("TICKETS_SEED=12\n")
    monkeypatch.setenv("TICKETS_SEED", "13")

    assert load_settings().seed == 13


def test_an_env_file_that_is_not_utf8_is_named() -> None:
    Path(".env").write_bytes("TICKETS_DATA_DIR=données\n".encode("latin-1"))

    message = message_of_loading()

    assert message.startswith("Cannot read .env: it is not UTF-8 (")
    assert message.endswith("). Save it so.")


def test_a_misspelt_variable_of_the_environment_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TICKETS_ENCODR", "all-minilm-l6-v2")

    assert message_of_loading() == (
        "TICKETS_ENCODR in the environment is not a setting; TICKETS_ENCODER is."
        " `.env.example` lists them all."
    )


def test_a_misspelt_variable_of_the_env_file_is_an_error() -> None:
    Path(".env").write_text("tickets_neighbors=3\n")

    assert message_of_loading() == (
        "TICKETS_NEIGHBORS in .env is not a setting; TICKETS_NEIGHBOURS is."
        " `.env.example` lists them all."
    )


def test_a_variable_that_resembles_no_setting_is_an_error_without_a_guess(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TICKETS_QUXQUXQUXQUXQUX", "1")

    assert message_of_loading() == (
        "TICKETS_QUXQUXQUXQUXQUX in the environment is not a setting."
        " `.env.example` lists them all."
    )


def test_variables_of_other_programs_are_no_concern_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("DAGSTER_HOME=/srv/dagster\nSEED=12\nTICKET_SEED=13\n")
    monkeypatch.setenv("ENCODER", "none")

    assert load_settings() == Settings.model_construct()


@pytest.mark.parametrize(
    "variable",
    [
        "TICKETS_SERVICE_HOST",
        "TICKETS_SERVICE_PORT",
        "TICKETS_SERVICE_PORT_HTTP",
        "TICKETS_PORT",
        "TICKETS_PORT_80_TCP",
        "TICKETS_PORT_80_TCP_ADDR",
        "TICKETS_CHROMA_SERVICE_HOST",
        "TICKETS_CHROMA_PORT_8000_TCP_PROTO",
    ],
)
def test_what_kubernetes_says_of_a_service_named_like_us_is_ignored(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "tcp://10.0.0.7:80")

    assert load_settings() == Settings.model_construct()


def comment_above(variable: str) -> str:
    """The comment of a variable in the example file, on one line."""
    before = EXAMPLE.read_text("utf-8").split(f"#{variable}=")[0]
    return " ".join(before.rsplit("\n\n", 1)[1].replace("# ", "").split())


def test_the_example_has_every_setting_once() -> None:
    variables = [name for name, _ in COMMENTED.findall(EXAMPLE.read_text("utf-8"))]

    assert sorted(variables) == sorted(
        f"TICKETS_{field.upper()}" for field in Settings.model_fields
    )


def test_a_line_of_the_example_is_empty_where_there_is_no_default() -> None:
    empty = {
        variable: value == "" for variable, value in COMMENTED.findall(EXAMPLE.read_text("utf-8"))
    }

    assert empty == {
        f"TICKETS_{field.upper()}": about.default is None
        for field, about in Settings.model_fields.items()
    }


def test_the_whole_example_uncommented_loads() -> None:
    Path(".env").write_text(COMMENTED.sub(r"\1=\2", EXAMPLE.read_text("utf-8")), "utf-8")

    assert load_settings() == Settings.model_construct()


def test_the_example_says_of_a_setting_what_its_description_says() -> None:
    for field, about in Settings.model_fields.items():
        comment = comment_above(f"TICKETS_{field.upper()}")
        bounds = [
            str(getattr(constraint, kind)).removesuffix(".0")
            for constraint in about.metadata
            for kind in ("ge", "gt", "le", "lt")
            if hasattr(constraint, kind)
        ]

        assert about.description is not None, field
        assert comment.startswith(about.description), field
        numbers = re.findall(r"\b\d+(?:\.\d+)?", comment.removeprefix(about.description))
        assert numbers == bounds, field


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHROMA_URL", "http://desk:correct-horse@chroma:8000"),
        ("CHROMA_URL", "http://desk:correct-horse/@chroma:8000"),
        ("S3_ENDPOINT", "https://desk:correct-horse@s3.example.org:9000x"),
        ("REPORTS_URL", "//correct-horse@host"),
        ("ZAMMAD_URL", "https://correct-horse@zammad.example.org"),
        ("FILES", "s3://desk:correct-horse@bucket/x"),
    ],
)
def test_a_refused_address_is_shown_without_its_password(name, value, monkeypatch):
    monkeypatch.setenv(f"TICKETS_{name}", value)

    with pytest.raises(SettingsError, match=f"TICKETS_{name}=") as refusal:
        load_settings()

    assert "correct" not in str(refusal.value)
    assert "…@" in str(refusal.value)
