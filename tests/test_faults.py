import pandas as pd
import pytest

from data_prep.faults import list_faults, main, write_faults
from siamese.errors import DiskError, ImageError
from siamese.images import read_image
from siamese.manifest import read_manifest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    write_faults(folder)
    return folder


def test_thirty_files_are_broken_and_twelve_odd():
    faults = list_faults()
    broken = [fault.fault for fault in faults if not fault.readable]
    assert len(set(broken)) == len(broken) >= 30
    assert len(faults) - len(broken) >= 12


def test_every_run_writes_the_same_files(folder, tmp_path):
    write_faults(tmp_path)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == names
    small = [name for name in names if (folder / name).is_file() and name.name != "large.jpg"]
    assert len(small) > 50
    assert all((folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in small)


def test_the_truth_names_every_file_that_is_there(folder):
    truth = pd.read_csv(folder / "truth.csv", keep_default_na=False)
    there = {f"photos/{path.name}" for path in (folder / "photos").iterdir()}
    assert there == set(truth["path"]) - {"photos/missing.jpg"}
    assert read_manifest(folder / "manifest.csv", check_files=False).table["path"].tolist() == truth["path"].tolist()
    assert (folder / "photos" / "large.jpg").stat().st_size == 300_000_000


def test_what_is_called_readable_is(folder):
    for fault in list_faults():
        if fault.readable:
            assert read_image(folder / "photos" / fault.name, 3).shape in ((160, 240, 3), (240, 160, 3))


@pytest.mark.parametrize("name", ["cut.webp", "cut_third.jpg", "no_start.png", "far.tif", "page.jpg", "missing.jpg"])
def test_what_is_called_broken_is(name, folder):
    with pytest.raises(ImageError):
        read_image(folder / "photos" / name, 3)


def test_a_place_that_is_taken_is_told(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DiskError, match="must be a folder with room for the files"):
        write_faults(tmp_path / "taken")


def test_the_command_line_counts_the_files(tmp_path, capsys):
    assert main(["--out", str(tmp_path)]) == 0
    broken = sum(not fault.readable for fault in list_faults())
    assert f"broken: {broken}\n" in capsys.readouterr().out
