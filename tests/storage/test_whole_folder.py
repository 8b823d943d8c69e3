"""A folder is the old one or the new one, whoever writes it and whenever a writer dies."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from ticket_assets.storage.whole_folder import finish_replacing, only_writer, replacing_folder


def test_the_new_folder_takes_the_place_of_the_old_one(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()

    with replacing_folder(folder) as draft:
        (draft / "new").touch()

    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_an_error_leaves_the_old_folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()

    with pytest.raises(FileNotFoundError), replacing_folder(folder) as draft:
        (draft / "missing" / "new").touch()

    assert [path.name for path in folder.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        ({"model", ".model.draft"}, "model"),
        ({"model", ".model.complete"}, ".model.complete"),
        ({".model.former", ".model.complete"}, ".model.complete"),
        ({"model", ".model.former"}, "model"),
    ],
)
def test_what_a_dead_writer_left_is_completed_or_taken_back(tmp_path, left, kept):
    for name in left:
        (tmp_path / name).mkdir()
        (tmp_path / name / "came from").write_text(name)

    finish_replacing(tmp_path / "model")

    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "came from").read_text() == kept


def test_of_writers_at_once_one_writes_and_the_others_use_it(tmp_path):
    folder = tmp_path / "models" / "model"
    writers = []

    def write(writer):
        with only_writer(folder):
            if not folder.exists():
                with replacing_folder(folder) as draft:
                    (draft / str(writer)).touch()
                    writers.append(writer)
        return [path.name for path in folder.iterdir()]

    with ThreadPoolExecutor(4) as threads:
        seen = list(threads.map(write, range(4)))

    assert len(writers) == 1
    assert seen == [[str(writers[0])]] * 4
    assert list(folder.parent.iterdir()) == [folder]
