"""The same commands make the same tables in the files of one machine and on DuckLake, a bucket and
a Chroma server; what is erased there is in no byte of them."""

import io
import json

import psycopg2
import pytest

from tests.days import last_friday
from tests.services.stores import Stores
from tests.traces import traces, traces_in
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.sample.mailbox import generate, write_mailbox
from ticket_assets.storage.bucket_blobs import BucketBlobs
from ticket_assets.storage.collection import ChromaServer, remove_collection

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

MESSAGES, DAYS = 260, 6


@pytest.fixture(scope="module")
def shared(shared_stores):
    return shared_stores()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    return Stores(tmp_path_factory.mktemp("embedded") / "desk")


@pytest.fixture(scope="module")
def mails():
    return list(generate(messages=MESSAGES, days=DAYS, until=last_friday()))


@pytest.fixture(scope="module")
def sorted_on_both(embedded, shared, mails, tmp_path_factory):
    """Both desks after the same mail was imported and run."""
    sample = write_mailbox(tmp_path_factory.mktemp("sample"), mails)
    for stores in (embedded, shared):
        stores.tickets("import", sample.mailbox, "--labels", sample.labels)
        stores.tickets("run")
    return embedded, shared


def landed(stores):
    """The original messages of each day."""
    landing = stores.desk().landing
    return {
        day: [(message.content_hash, message.received_at) for message in landing.messages(day)]
        for day in landing.days()
    }


def assert_same(embedded, shared):
    ours, theirs = shared.tables(), embedded.tables()
    assert ours.keys() == theirs.keys()
    for name, rows in theirs.items():
        assert ours[name] == rows, name
    assert landed(shared) == landed(embedded)


def test_a_run_makes_the_same_tables(sorted_on_both):
    embedded, shared = sorted_on_both

    assert_same(embedded, shared)
    assert len(shared.tables()["ticket_predictions"]) > 200
    assert not (shared.folder / "data" / "warehouse.duckdb").exists()
    assert not (shared.folder / "data" / "landing").exists()
    assert not (shared.folder / "data" / "collection").exists()


def verdicts(stores):
    """The latest verdict of each check on each day."""
    with (
        desk_instance(stores.desk().folder) as instance,
        instance.event_log_storage.index_connection() as connection,
    ):
        rows = connection.exec_driver_sql(
            "select asset_key, check_name, partition, execution_status"
            " from asset_check_executions order by id"
        ).fetchall()
    return {tuple(of_what): status for *of_what, status in rows}


def test_the_checks_give_the_same_verdicts(sorted_on_both):
    embedded, shared = sorted_on_both

    assert verdicts(shared) == verdicts(embedded)
    assert len(verdicts(shared)) > 100


def test_the_doctor_finds_what_is_damaged_there_and_brings_it_back(sorted_on_both, mails, tmp_path):
    embedded, shared = sorted_on_both
    assert shared.tickets("doctor").startswith("All is well.")
    desk = shared.desk()
    day = desk.landing.days()[1]
    altered, *_ = desk.landing.messages(day)
    desk.landing.files.replace(altered.name, b"altered")
    manifest, *_ = desk.landing.manifests([str(day)])
    desk.landing.files.replace(manifest, desk.landing.files.read(manifest)[:-40])
    encoder, *_ = desk.warehouse.rows("select distinct model from ticket_embeddings")[0]
    remove_collection(encoder, ChromaServer(shared.chroma.url))

    found = json.loads(shared.tickets("doctor", "--json", status=1))["findings"]
    repaired = json.loads(shared.tickets("doctor", "--repair", "--json", status=1))["findings"]

    kinds = ["1 original altered", "1 manifest with lines", "1 original in no manifest"]
    assert [
        finding["what"][: len(kind)] for finding, kind in zip(found[:3], kinds, strict=True)
    ] == kinds
    assert found[-1]["what"].startswith("the collection: 25")
    assert [finding["is_repaired"] for finding in repaired] == [False, True, True, True]
    again = write_mailbox(tmp_path, mails)
    assert "1 damaged original replaced" in shared.tickets("import", again.mailbox)
    shared.tickets("run")
    assert shared.tickets("doctor").startswith("All is well.")
    assert_same(embedded, shared)


def test_four_processes_sort_four_ranges_of_days_at_once(sorted_on_both):
    """No row is lost or doubled, no run fails, none waits for another to end."""
    embedded, shared = sorted_on_both
    days = sorted(landed(shared))
    ranges = [(days[0], days[1]), (days[2], days[2]), (days[3], days[3]), (days[4], days[-1])]

    processes = [
        shared.start("run", "--job", "classify_mail", "--from", first, "--to", last)
        for first, last in ranges
    ]

    codes = [process.wait(600) for process in processes]
    assert codes == [0] * 4, [process.output() for process in processes]
    assert_same(embedded, shared)


def test_two_runs_for_one_day_at_once_both_succeed(sorted_on_both):
    embedded, shared = sorted_on_both
    day = str(sorted(landed(shared))[1])

    processes = [shared.start("run", "--job", "classify_mail", "--day", day) for _ in range(2)]

    codes = [process.wait(600) for process in processes]
    assert codes == [0] * 2, [process.output() for process in processes]
    assert_same(embedded, shared)


def test_nothing_is_left_to_do(sorted_on_both):
    for stores in sorted_on_both:
        assert "Nothing new" in stores.tickets("run")


@pytest.fixture(scope="module")
def erased(sorted_on_both):
    """A sender, and a text of theirs, after both desks have erased them and run again."""
    embedded, shared = sorted_on_both
    (sender, text, _), *_ = embedded.desk().warehouse.rows(
        "select sender, c.text, length(c.text) from clean_tickets c join raw_tickets"
        " using (ticket_id) where c.duplicate_of is null and sender is not null"
        " order by length(c.text) desc"
    )
    line = max(text.splitlines(), key=len)
    found = traces_in([sender, line], stored(shared))
    assert set().union(*found.values()) == {sender, line}
    for stores in sorted_on_both:
        stores.tickets("erase", "--sender", sender, "--yes")
    return sender, line


def stored(stores):
    """Everything in bucket, catalogue, collection and Dagster's history, with its names."""
    blobs = BucketBlobs(stores.bucket, stores.s3.access)
    yield from blobs.read_many([blob.name for blob in blobs.list()])
    with psycopg2.connect(**stores.database) as connection, connection.cursor() as cursor:
        cursor.execute("select tablename from pg_tables where schemaname = 'public'")
        for (table,) in cursor.fetchall():
            content = io.BytesIO()
            cursor.copy_expert(f'copy "{table}" to stdout', content)
            yield table, content.getvalue()
    for folder in (stores.chroma.folder, stores.folder):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield str(path), path.read_bytes()


def test_what_is_erased_is_in_no_byte(sorted_on_both, erased):
    embedded, shared = sorted_on_both

    assert traces_in(erased, stored(shared)) == {}
    assert traces(erased, embedded.folder / "data") == {}


def test_both_are_the_same_after_an_erasure_and_another_run(sorted_on_both, erased):
    embedded, shared = sorted_on_both
    assert_same(embedded, shared)

    for stores in sorted_on_both:
        stores.tickets("run")

    assert_same(embedded, shared)
    champions = [stores.desk().models.champion_name() for stores in sorted_on_both]
    assert champions[0] == champions[1]


def test_both_go_back_to_the_former_model(sorted_on_both, erased):
    embedded, shared = sorted_on_both
    present = embedded.desk().models.champion_name()

    for stores in sorted_on_both:
        stores.tickets("model", "rollback")
        stores.tickets("run")

    assert embedded.desk().models.champion_name() != present
    assert shared.desk().models.champion_name() == embedded.desk().models.champion_name()
    assert_same(embedded, shared)


def test_both_purge_the_same_mail(sorted_on_both, erased):
    embedded, shared = sorted_on_both
    before = len(landed(embedded))

    for stores in sorted_on_both:
        stores.tickets("purge", TICKETS_RAW_MAIL_DAYS="3")

    assert len(landed(embedded)) < before
    assert_same(embedded, shared)


def test_a_backup_of_shared_stores_comes_back_as_one_folder(sorted_on_both, erased, tmp_path):
    _, shared = sorted_on_both
    shared.tickets("backup", tmp_path / "backup")
    alone = Stores(tmp_path / "alone")

    alone.tickets("restore", tmp_path / "backup")

    assert_same(alone, shared)
    assert alone.desk().models.champion_name() == shared.desk().models.champion_name()
