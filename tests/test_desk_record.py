"""A desk remembers what it was made with and refuses a start that differs, before it writes."""

import tarfile
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.services.s3 import settings_of
from ticket_assets.cli import app
from ticket_assets.desk import Desk
from ticket_assets.desk_record import DeskRecordError, read_record
from ticket_assets.planning.recipe import recipe
from ticket_assets.routing import RoutingError
from ticket_assets.settings import PREFIX, Settings, load_settings

FORMER = Path(__file__).parent / "former" / "desk-0.1.0.tar.xz"
MAIL = (
    b"From: anne@example.org\nSubject: VPN\nDate: Mon, 2 Mar 2026 09:00:00 +0000\n\nLe VPN tombe.\n"
)
QUEUES = {"réseau": {"queue": "infra"}, "paie": {"queue": "rh"}}
ROUTING = {
    "categories": QUEUES,
    "priorities": ["basse", "haute"],
    "review_queue": "accueil",
}


@pytest.fixture
def variables(tmp_path, monkeypatch):
    """Sets settings by field; those of a developer stay out."""
    monkeypatch.chdir(tmp_path)

    def change(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"{PREFIX}{name.upper()}", str(value))
        load_settings.cache_clear()

    change(data_dir=tmp_path / "data")
    yield change
    load_settings.cache_clear()


@pytest.fixture
def tickets(variables):
    """Runs the command; its exit code and all that it printed, on one line."""

    def run(*arguments):
        result = CliRunner().invoke(app, list(arguments))
        error = str(result.exception) if result.exception else ""
        return result.exit_code, " ".join(f"{result.output} {error}".split())

    return run


@pytest.fixture
def routing(tmp_path):
    """The desk's own routing file."""
    path = tmp_path / "routing.yaml"
    path.write_text(yaml.safe_dump(ROUTING, sort_keys=False), "utf-8")
    return path


@pytest.fixture
def mail(tmp_path):
    path = tmp_path / "vpn.eml"
    path.write_bytes(MAIL)
    return path


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_forgotten_routing_file_stops_every_command_that_uses_the_desk(
    tickets, variables, routing, mail, tmp_path
):
    variables(routing=routing)
    assert tickets("import", str(mail))[0] == 0
    variables(routing="")
    before = contents(tmp_path / "data")

    for command in (
        ["import", str(mail)],
        ["run"],
        ["status"],
        ["classify", "Le VPN tombe"],
        ["erase", "--sender", "anne@example.org", "--dry-run"],
        ["model", "list"],
    ):
        code, message = tickets(*command)
        assert code == 1
        assert "TICKETS_ROUTING: without the categories réseau, paie" in message
        assert "tickets run --accept-settings" in message

    assert contents(tmp_path / "data") == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"categories": {**ROUTING["categories"], "voix": {"queue": "infra"}}},
            "new categories voix",
        ),
        (
            {"categories": {**ROUTING["categories"], "paie": {"queue": "finance"}}},
            "queue of paie finance, was rh",
        ),
        ({"priorities": ["haute", "basse"]}, "priorities haute, basse, were basse, haute"),
        ({"review_queue": "tri"}, "review queue tri, was accueil"),
    ],
)
def test_an_edited_routing_file_is_told_in_words(variables, routing, tmp_path, change, words):
    variables(routing=routing)
    Desk(load_settings()).record_settings()
    routing.write_text(yaml.safe_dump(ROUTING | change, sort_keys=False), "utf-8")

    with pytest.raises(DeskRecordError, match=words):
        Desk(load_settings()).require_same_settings()

    Desk(load_settings()).record_settings(accept=True)
    Desk(load_settings()).require_same_settings()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"encoder": "all-minilm-l6-v2"}, "TICKETS_ENCODER: all-minilm-l6-v2, was multilingual-e5"),
        ({"encoder_precision": "bf16"}, "TICKETS_ENCODER_PRECISION: bf16, was fp32"),
        ({"encoder_max_tokens": 128}, "TICKETS_ENCODER_MAX_TOKENS: 128, was 256"),
        ({"encoder_dimension": 128}, "TICKETS_ENCODER_DIMENSION: 128, was unset"),
    ],
)
def test_another_encoder_is_refused_until_it_is_accepted(tmp_path, setting, words):
    made = Settings(_env_file=None, data_dir=tmp_path / "data", encoder_precision="fp32")
    Desk(made).record_settings()
    changed = Desk(made.model_copy(update=setting))

    with pytest.raises(DeskRecordError, match=words):
        changed.record_settings()

    changed.record_settings(accept=True)
    changed.require_same_settings()
    with pytest.raises(DeskRecordError):
        Desk(made).require_same_settings()


def test_a_desk_of_the_former_default_keeps_its_encoder_until_another_is_chosen(tmp_path):
    chosen = Settings(_env_file=None, data_dir=tmp_path / "data", encoder="multilingual-e5-small")
    Desk(chosen).record_settings()

    # When nobody names an encoder, after the upgrade
    unset = Settings(_env_file=None, data_dir=tmp_path / "data")
    upgraded = Desk(unset)
    upgraded.require_same_settings()
    upgraded.record_settings(accept=True)

    assert unset.encoder == "multilingual-e5-small-tickets"
    assert read_record(upgraded.files)[0].encoder == "multilingual-e5-small"
    assert upgraded.encoder.model.name == "multilingual-e5-small"
    assert recipe(upgraded) == recipe(Desk(chosen))
    # And when it is named, it is refused until it is accepted.
    named = Desk(unset.model_copy(update={"encoder": unset.encoder}))
    with pytest.raises(
        DeskRecordError, match=r"TICKETS_ENCODER: multilingual-e5-small-tickets, was"
    ):
        named.require_same_settings()
    named.record_settings(accept=True)
    # Which makes all days anew.
    assert recipe(named) != recipe(Desk(chosen))
    assert recipe(Desk(unset)) == recipe(named)
    assert Desk(unset).encoder.model.name == "multilingual-e5-small-tickets"


def test_a_process_that_encodes_goes_on_with_its_encoder_or_not_at_all(tmp_path):
    chosen = Settings(_env_file=None, data_dir=tmp_path / "data", encoder="multilingual-e5-small")
    Desk(chosen).record_settings()
    unset = Settings(_env_file=None, data_dir=tmp_path / "data")
    running = Desk(unset)
    made_by = recipe(running)
    assert running.encoder.model.name == "multilingual-e5-small"

    # When the desk is moved to the new default meanwhile
    Desk(unset.model_copy(update={"encoder": unset.encoder})).record_settings(accept=True)

    # Then its rows do not count as made by the new one,
    assert recipe(running) == made_by != recipe(Desk(unset))
    # and it neither starts anything else nor records its number format.
    for step in (running.require_same_settings, running.record_settings, running.record_precision):
        with pytest.raises(DeskRecordError, match=r"multilingual-e5-small, was .*-tickets"):
            step()
    assert read_record(running.files)[0].encoder_precision is None


def test_auto_keeps_the_precision_that_the_desk_was_made_with(tmp_path):
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", encoder="all-minilm-l6-v2")
    first = Desk(settings.model_copy(update={"encoder_precision": "fp32"}))
    first.record_settings()

    later = Desk(settings)
    later.record_settings()

    assert later.encoder.precision == "fp32"
    assert read_record(Desk(settings).files)[0].encoder_precision == "fp32"


def test_the_precision_that_auto_chose_is_recorded_with_the_first_vectors(tmp_path):
    desk = Desk(Settings(_env_file=None, data_dir=tmp_path / "data", encoder="all-minilm-l6-v2"))
    desk.record_settings()
    assert read_record(desk.files)[0].encoder_precision is None

    desk.record_precision()

    assert read_record(desk.files)[0].encoder_precision == desk.encoder.precision


def test_another_encoder_chooses_its_precision_anew(tmp_path):
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", encoder="all-minilm-l6-v2")
    desk = Desk(settings)
    desk.record_settings()
    desk.record_precision()

    Desk(settings.model_copy(update={"encoder": "multilingual-e5-small"})).record_settings(
        accept=True
    )

    assert read_record(desk.files)[0].encoder_precision is None


def test_a_routing_file_that_is_missing_stops_an_empty_desk_too(tmp_path):
    """A code location that came up with it would fail at each tick instead."""
    missing = tmp_path / "missing.yaml"
    desk = Desk(Settings(_env_file=None, data_dir=tmp_path / "data", routing=missing))

    with pytest.raises(RoutingError, match=str(missing)):
        desk.require_same_settings()


def test_looking_at_an_empty_desk_makes_nothing(tickets, tmp_path):
    assert tickets("status")[0] == 0

    assert not (tmp_path / "data").exists()


@pytest.fixture
def former(tmp_path):
    """Settings over the data folder that version 0.1.0 wrote, which has no record."""
    with tarfile.open(FORMER) as archive:
        archive.extractall(tmp_path, filter="data")
    return Settings(_env_file=None, data_dir=tmp_path / "data", encoder="all-minilm-l6-v2")


def test_a_desk_of_before_is_taken_for_what_its_tables_say(former):
    desk = Desk(former)

    desk.record_settings()

    assert read_record(desk.files)[0].encoder_precision == "fp32"
    assert desk.encoder.model_id == "all-minilm-l6-v2@edd9d7c36fae-openvino/fp32/256"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"encoder": "multilingual-e5-small"}, "TICKETS_ENCODER: multilingual-e5-small, was all-"),
        ({"encoder_precision": "bf16"}, "TICKETS_ENCODER_PRECISION: bf16, was fp32"),
    ],
)
def test_a_desk_of_before_is_not_started_with_another_encoder(former, setting, words):
    with pytest.raises(DeskRecordError, match=words):
        Desk(former.model_copy(update=setting)).record_settings()

    assert read_record(Desk(former).files) == (None, None)


def test_a_desk_of_before_is_not_started_with_other_labels(former, routing):
    other = Desk(former.model_copy(update={"routing": routing}))
    with pytest.raises(DeskRecordError, match=r"TICKETS_ROUTING .* tickets run --accept-settings"):
        other.record_settings()

    other.record_settings(accept=True)

    record, _ = read_record(other.files)
    assert list(record.queues) == ["réseau", "paie"]
    assert record.encoder == "all-minilm-l6-v2"


def test_a_record_that_cannot_be_read_says_what_to_do(file_store):
    file_store.replace("desk.json", b"{")

    with pytest.raises(DeskRecordError, match=r"desk\.json .* Restore it, or remove it"):
        read_record(file_store)


def test_two_first_starts_at_once_agree_or_the_second_is_refused(tmp_path, file_store, monkeypatch):
    """Both have seen that nothing is recorded yet, and one writes first."""
    for name, value in settings_of(file_store).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TICKETS_DATA_DIR", str(tmp_path / "data"))
    first, alike, other = (
        Desk(Settings(_env_file=None, encoder_max_tokens=tokens)) for tokens in (256, 256, 128)
    )
    for late in (alike, other):
        late._recorded = overtaken(late, first)

    alike.record_settings()
    with pytest.raises(DeskRecordError, match="TICKETS_ENCODER_MAX_TOKENS: 128, was 256"):
        other.record_settings()

    assert read_record(first.files)[0].encoder_max_tokens == 256


def overtaken(desk, first):
    """What the desk has recorded, until `first` records its settings right afterwards."""

    def recorded(**options):
        del desk._recorded
        known = desk._recorded(**options)
        first.record_settings()
        return known

    return recorded
