"""Files by name are the same in a folder and in a bucket."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.loopback import free_port
from tests.services.s3 import KEY_ID, SECRET
from ticket_assets.storage.blob_location import blobs_at
from ticket_assets.storage.blobs import BlobChangedError, BlobNotFoundError, BlobStoreError
from ticket_assets.storage.bucket_blobs import BucketBlobs
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.storage.s3_access import S3Access


def access(s3, **changes):
    return S3Access(
        **{"endpoint": s3.endpoint, "region": "eu-west-1", "key_id": KEY_ID, "secret": SECRET}
        | changes
    )


@pytest.fixture(params=["folder", "bucket"])
def blobs(request, tmp_path):
    if request.param == "folder":
        return blobs_at(tmp_path / "desk" / "files", S3Access())
    s3 = request.getfixturevalue("s3")
    return blobs_at(f"{s3.bucket()}/desk/files/", access(s3))


def test_what_was_written_is_read_listed_and_removed(blobs):
    blobs.write([("a/1.eml", b"one"), ("a/b/2.eml", b"two"), ("top", b"")])

    assert blobs.read("a/1.eml") == b"one"
    assert [(blob.name, blob.size) for blob in blobs.list()] == [
        ("a/1.eml", 3),
        ("a/b/2.eml", 3),
        ("top", 0),
    ]
    assert blobs.exists("a/b/2.eml")
    blobs.delete(["a/b/2.eml", "a/absent", "top"])
    assert not blobs.exists("a/b/2.eml")
    assert [blob.name for blob in blobs.list()] == ["a/1.eml"]
    assert blobs.folders("a") == []
    blobs.write([("a/b/c/3.eml", b""), ("a/b/4.eml", b"")])
    blobs.delete(["a/b/c/3.eml", "a/b/4.eml", "a/1.eml"])
    assert blobs.folders() == []


def test_an_empty_store_holds_nothing(blobs):
    assert list(blobs.list()) == []
    assert list(blobs.names("a")) == []
    assert blobs.folders() == []
    assert blobs.present(["a/b"]) == set()
    blobs.delete(["a/b"])
    blobs.delete([])
    with pytest.raises(BlobNotFoundError, match=f"There is no a/b in {blobs.location}"):
        blobs.read("a/b")


def test_a_listing_names_what_changed_and_when(blobs):
    before = datetime.now(UTC)
    blobs.replace("a", b"one")
    (first,) = blobs.list()
    blobs.replace("a", b"two")
    (second,) = blobs.list()

    assert first.version != second.version
    assert abs(first.modified_at - before) < timedelta(minutes=1)
    assert blobs.read_version("a") == (b"two", second.version)


def test_one_level_is_listed_without_those_below(blobs):
    blobs.write([("d/1", b""), ("d/x/2", b""), ("d/y/z/3", b""), ("e/4", b""), ("d2/5", b"")])

    assert set(blobs.names("d")) == {"1"}
    assert blobs.folders() == ["d", "d2", "e"]
    assert blobs.folders("d") == ["x", "y"]
    assert [blob.name for blob in blobs.list("d")] == ["d/1", "d/x/2", "d/y/z/3"]


NAMES = st.lists(st.sampled_from(["a", "b", "a.b", "a-b", "é ü#+%?", "0", "Z"]), min_size=1)


@given(st.sets(NAMES.map("/".join), max_size=8), st.none() | NAMES.map("/".join))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_listings_are_by_name_and_begin_after_one(blobs, names, after):
    # In a folder a name cannot be both a file and a folder.
    names = {f"{name}.eml" for name in names}
    blobs.write((name, b"x") for name in names)
    try:
        listed = [blob.name for blob in blobs.list(after=after)]
    finally:
        blobs.delete(names)

    assert listed == sorted(name for name in names if after is None or name > after)


@pytest.mark.slow
def test_many_are_written_and_read_at_once(blobs):
    contents = {f"{number % 3}/{number}": b"%d" % number for number in range(150)}

    blobs.write(contents.items())

    names = [*contents, "0/absent"]
    assert dict(blobs.read_many(names)) == contents
    assert list(dict(blobs.read_many(names))) == list(contents)
    assert dict(blobs.read_many(["0/111"], first_bytes=2)) == {"0/111": b"11"}
    assert dict(blobs.read_many(["0/9"], first_bytes=2)) == {"0/9": b"9"}
    assert blobs.present([*names, "5/absent"]) == set(contents)


def test_of_many_who_create_one_blob_one_does(blobs):
    with ThreadPoolExecutor(8) as threads:
        created = list(threads.map(lambda number: blobs.create("a/b", b"%d" % number), range(8)))

    assert sum(created) == 1
    assert blobs.read("a/b") == b"%d" % created.index(True)
    assert [blob.name for blob in blobs.list()] == ["a/b"]


def test_of_many_who_replace_one_version_one_does(blobs):
    version = blobs.replace("counter", b"0")

    def replace(number):
        try:
            return blobs.replace("counter", b"%d" % number, version)
        except BlobChangedError:
            return None

    with ThreadPoolExecutor(8) as threads:
        versions = list(threads.map(replace, range(1, 9)))

    (winner,) = [number for number, version in enumerate(versions, 1) if version]
    assert blobs.read_version("counter") == (b"%d" % winner, versions[winner - 1])
    with pytest.raises(BlobChangedError, match="has changed absent in"):
        blobs.replace("absent", b"", version)


def test_a_folder_of_the_store_is_a_store(blobs):
    models = blobs.under("models").under("champion")

    models.write([("a/b", b"model")])

    assert [blob.name for blob in models.list()] == ["a/b"]
    assert blobs.read("models/champion/a/b") == b"model"
    assert models.location == f"{blobs.location}/models/champion"


def test_another_process_opens_the_same_store(blobs):
    blobs.replace("a", b"here")

    assert pickle.loads(pickle.dumps(blobs)).read("a") == b"here"  # noqa: S301


def test_a_folder_holds_no_file_but_its_blobs(tmp_path):
    blobs = FolderBlobs(tmp_path)
    (tmp_path / "a").mkdir()
    unfinished = f".b.{'0' * 32}.tmp"
    for name in (unfinished, ".lock"):
        (tmp_path / "a" / name).write_text("unfinished")

    blobs.write([("a/b", b"text")])
    blobs.create("a/b", b"other text")

    assert [blob.name for blob in blobs.list()] == ["a/b"]
    assert list(blobs.names("a")) == ["b"]
    assert blobs.remove_unfinished() == [str(tmp_path / "a" / unfinished)]
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"b", ".lock"}


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(ValueError, match="is no name of a blob"):
        FolderBlobs(tmp_path).read(name)


def test_a_folder_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").write_text("a file where the folder should be")
    blobs = FolderBlobs(tmp_path / "file")

    for write in (
        lambda: blobs.write([("a", b"")]),
        lambda: blobs.replace("a", b""),
        lambda: blobs.create("a", b""),
    ):
        with pytest.raises(BlobStoreError, match=r"^Cannot write .*file: .*\. A file stands where"):
            write()


def every_request(blobs):
    return {
        "list": lambda: list(blobs.list()),
        "names": lambda: list(blobs.names()),
        "folders": blobs.folders,
        "read": lambda: blobs.read("a"),
        "read_many": lambda: list(blobs.read_many(["a"])),
        "create": lambda: blobs.create("a", b""),
        "replace": lambda: blobs.replace("a", b""),
        "write": lambda: blobs.write([("a", b""), ("b", b"")]),
        "delete": lambda: blobs.delete(["a"]),
    }


def messages(blobs):
    for name, request in every_request(blobs).items():
        with pytest.raises(BlobStoreError) as caught:
            request()
        assert not isinstance(caught.value, BlobNotFoundError), name
        yield str(caught.value)


def test_a_bucket_that_does_not_exist_is_named(s3):
    for message in messages(BucketBlobs("s3://absent/desk", access(s3))):
        assert message == (
            f"There is no bucket absent at {s3.endpoint}. Create it, or mend the URL"
            " s3://absent/desk (TICKETS_FILES)."
        )


def only_known_keys(s3, after_requests):
    connection = HTTPConnection("127.0.0.1", s3.port, timeout=30)
    connection.request("POST", "/moto-api/reset-auth", after_requests)
    assert connection.getresponse().status == 200
    connection.close()


def test_keys_that_are_refused_are_told_without_the_secret(s3):
    blobs = BucketBlobs(s3.bucket(), access(s3))
    only_known_keys(s3, "0")
    try:
        for message in messages(blobs):
            assert message.startswith(f"{s3.endpoint} refuses {blobs.location}: ")
            assert message.endswith(
                " Check TICKETS_S3_KEY_ID, its secret and rights, and TICKETS_S3_REGION."
            )
            assert SECRET not in message
            assert "\n" not in message
    finally:
        only_known_keys(s3, "inf")


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_named(s3):
    endpoint = f"http://127.0.0.1:{free_port()}"
    blobs = BucketBlobs("s3://bucket", access(s3, endpoint=endpoint))

    with pytest.raises(BlobStoreError) as caught:
        blobs.read("a")

    assert str(caught.value) == (
        f"{endpoint} does not answer for s3://bucket. Check TICKETS_S3_ENDPOINT and the network,"
        " then do the same again."
    )


def test_obstore_is_imported_for_a_bucket_alone():
    program = (
        "import sys; from ticket_assets.storage.folder_blobs import FolderBlobs;"
        "FolderBlobs.__module__; print('obstore' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.stdout == "False\n", done.stderr


@pytest.mark.slow
def test_of_several_writers_at_once_each_is_told_what_it_has_written(blobs):
    names = [f"day/{number}.eml" for number in range(200)]
    start = Barrier(3)

    def write():
        start.wait()
        return blobs.create_many((name, b"the same") for name in names)

    with ThreadPoolExecutor(3) as writers:
        written = [writer.result() for writer in [writers.submit(write) for _ in range(3)]]

    assert sorted(name for names in written for name in names) == sorted(names)
    assert {blobs.read(name) for name in names} == {b"the same"}
    assert blobs.create_many([("day/0.eml", b"other"), ("day/new", b"")]) == {"day/new"}
    assert blobs.read("day/0.eml") == b"the same"
