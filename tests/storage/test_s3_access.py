import pytest

from ticket_assets.settings import Settings, SettingsError
from ticket_assets.storage.s3_access import S3Access, s3_access


def test_a_secret_comes_from_its_file_and_is_never_shown(tmp_path):
    (tmp_path / "secret").write_text("s3cret/with+signs=\n")

    access = s3_access(
        Settings(
            s3_endpoint="http://minio:9000",
            s3_region="eu-west-3",
            s3_key_id="AKIDESK",
            s3_secret_file=tmp_path / "secret",
        )
    )

    assert access == S3Access("http://minio:9000", "eu-west-3", "AKIDESK", "s3cret/with+signs=")
    assert "s3cret" not in repr(access)


def test_without_a_key_the_chain_of_the_cloud_decides():
    assert s3_access(Settings()) == S3Access()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"s3_key_id": "AKIDESK"}, "TICKETS_S3_KEY_ID needs a secret and the other way round"),
        ({"s3_secret": "x"}, "TICKETS_S3_KEY_ID needs a secret and the other way round"),
        (
            {"s3_key_id": "AKIDESK", "s3_secret": "x", "s3_secret_file": "y"},
            "Set one of TICKETS_S3_SECRET and TICKETS_S3_SECRET_FILE, not both.",
        ),
        (
            {"s3_key_id": "AKIDESK", "s3_secret_file": "not there"},
            "Cannot read TICKETS_S3_SECRET_FILE=not there: ",
        ),
    ],
)
def test_access_that_is_set_in_part_is_one_line(settings, message):
    with pytest.raises(SettingsError) as refusal:
        s3_access(Settings(**settings))

    assert str(refusal.value).startswith(message)
