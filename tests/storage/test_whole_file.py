from pathlib import Path

import pytest

from ticket_assets.storage.whole_file import FILES_AT_ONCE, replace_file, replace_files


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "champion.json"
    path.write_text("a longer text than the new one")

    replace_file(path, "é\n")

    assert path.read_bytes() == "é\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "champion.json"
    path.write_text("former")

    with pytest.raises(UnicodeEncodeError):
        replace_file(path, "half \ud800")

    assert path.read_text() == "former"


def test_many_files_are_replaced_whole_and_nothing_is_left_beside_them(tmp_path: Path) -> None:
    contents = {tmp_path / f"{number}.eml": b"%d" % number for number in range(FILES_AT_ONCE + 1)}
    (tmp_path / "7.eml").write_bytes(b"a longer text than the new one")

    replace_files((str(path), content) for path, content in contents.items())

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_files_before_one_that_cannot_be_written_are_there_in_whole_groups(tmp_path: Path) -> None:
    files = [(str(tmp_path / f"{number}.eml"), b"text") for number in range(FILES_AT_ONCE + 1)]

    with pytest.raises(FileNotFoundError):
        replace_files([*files, (str(tmp_path / "no" / "a.eml"), b"text")])

    assert set(map(str, tmp_path.glob("*.eml"))) == {path for path, _ in files[:FILES_AT_ONCE]}
