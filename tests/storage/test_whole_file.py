from pathlib import Path

import pytest

from ticket_assets.storage.whole_file import replace_file


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
