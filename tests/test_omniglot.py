import hashlib
import io
import os
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from data_prep import omniglot
from data_prep.omniglot import OmniglotSettings, find_archives, main, make_collection
from siamese.collection import Collection
from siamese.errors import ManifestError, SiameseError
from siamese.manifest import read_manifest
from siamese.settings import Settings

REAL = Path(os.environ.get("SIAMESE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "omniglot"


def png(number):
    file = io.BytesIO()
    Image.fromarray(np.full((5, 5), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


def background_files():
    """Two alphabets of two characters, three drawers each, and what macOS adds."""
    drawings = {
        f"images_background_small1/{alphabet}/character{character:02d}/{code:04d}_{drawer:02d}.png": png(drawer)
        for code, (alphabet, character) in enumerate([("Greek", 1), ("Greek", 2), ("Latin", 1), ("Latin", 2)])
        for drawer in (1, 2, 20)
    }
    return drawings | {"__MACOSX/images_background_small1/Greek/character01/._0000_01.png": b"no drawing"}


def run_files(run, prefix=""):
    """Two characters; the first test drawing shows the second character."""
    return {
        f"{prefix}{run}/training/class01.png": png(1),
        f"{prefix}{run}/training/class02.png": png(2),
        f"{prefix}{run}/test/item01.png": png(3),
        f"{prefix}{run}/test/item02.png": png(4),
        f"{prefix}{run}/class_labels.txt": (
            f"{run}/test/item01.png {run}/training/class02.png\r\n{run}/test/item02.png {run}/training/class01.png\r\n"
        ).encode(),
    }


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def archives(tmp_path):
    folder = tmp_path / "archives"
    write_zip(folder / "images_background_small1.zip", background_files())
    write_zip(folder / "all_runs.zip", run_files("run01") | run_files("run02"))
    return folder


def rows_of(manifest):
    return manifest.table.set_index("image_id")


def test_drawings_get_identity_drawer_and_split(archives, tmp_path):
    assert main(["--archives", str(archives), "--out", str(tmp_path / "out")]) == 0
    rows = rows_of(read_manifest(tmp_path / "out" / "manifest.csv"))
    assert len(rows) == 12 + 8
    columns = ["identity", "split", "run", "alphabet", "drawer"]
    expected = {
        "Greek/character02/0001_02": ["Greek/character02", "train", "", "Greek", "2"],
        "Greek/character02/0001_20": ["Greek/character02", "validation", "", "Greek", "20"],
        "run01/training/class02": ["run01/class02", "catalog", "run01", "", ""],
        "run01/test/item01": ["run01/class02", "test", "run01", "", ""],
        "run02/test/item02": ["run02/class01", "test", "run02", "", ""],
    }
    assert {name: rows.loc[name, columns].tolist() for name in expected} == expected


def test_drawings_keep_the_bytes_of_the_archive(archives, tmp_path):
    manifest = make_collection(*find_archives(archives), tmp_path / "out", OmniglotSettings())
    row = manifest.image_ids.tolist().index("run02/test/item02")
    assert manifest.paths[row].read_bytes() == png(4)


def test_a_test_drawing_is_answered_by_its_run_alone(archives, tmp_path):
    manifest = make_collection(*find_archives(archives), tmp_path / "out", OmniglotSettings())
    settings = Settings.model_validate({"evaluation": {"must_share": ["run"]}})
    collection = Collection(manifest, store=None)
    side = collection.side("test", settings)
    allowed = collection.allowed(side, settings.evaluation)
    answers = [set(manifest.image_ids[side.catalog[row]]) for row in allowed]
    runs = manifest.column("run")[side.queries]
    assert answers == [{f"{run}/training/class01", f"{run}/training/class02"} for run in runs]


def test_another_drawer_can_choose_the_threshold(archives, tmp_path):
    manifest = make_collection(*find_archives(archives), tmp_path, OmniglotSettings(validation_drawer=2))
    chosen = manifest.column("split") == "validation"
    assert set(manifest.column("drawer")[chosen]) == {"2"}
    assert chosen.sum() == 4


def test_a_drawer_that_nobody_was_is_refused(archives, tmp_path, capsys):
    assert main(["--archives", str(archives), "--out", str(tmp_path / "out"), "--validation-drawer", "21"]) == 2
    assert "one of the drawers 1 to 20. Received: 21." in capsys.readouterr().err


def test_runs_may_come_in_parts_and_in_a_folder(archives, tmp_path):
    (archives / "all_runs.zip").unlink()
    write_zip(archives / "one_shot_runs_01.zip", run_files("run01"))
    write_zip(archives / "one_shot_runs_02_03.zip", run_files("run02", "all_runs/") | run_files("run03", "all_runs/"))
    manifest = make_collection(*find_archives(archives), tmp_path / "out", OmniglotSettings())
    assert set(manifest.column("run")) == {"", "run01", "run02", "run03"}


def test_drawings_that_are_there_are_not_touched(archives, tmp_path):
    first = make_collection(*find_archives(archives), tmp_path, OmniglotSettings())
    for path in first.paths:
        os.utime(path, (1, 1))
    first.paths[0].write_bytes(b"half a drawing")
    again = make_collection(*find_archives(archives), tmp_path, OmniglotSettings())
    assert {path.stat().st_mtime for path in again.paths[1:]} == {1}
    assert again.paths[0].read_bytes() == png(1)


@pytest.mark.parametrize("name", ["images_background_small1.zip", "all_runs.zip"])
def test_a_missing_archive_gets_a_sentence_and_exit_code_2(archives, tmp_path, capsys, name):
    (archives / name).unlink()
    assert main(["--archives", str(archives), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert name in error
    assert "Download" in error
    assert not (tmp_path / "out").exists()


def test_a_damaged_archive_gets_a_sentence(archives, tmp_path):
    (archives / "all_runs.zip").write_bytes(b"<html>not found</html>")
    with pytest.raises(ManifestError, match=r"all_runs.zip: the archive must be a zip file.*Download it again"):
        make_collection(*find_archives(archives), tmp_path / "out", OmniglotSettings())


@pytest.mark.parametrize("name", ["../run01/test/item09.png", "/run01/test/item09.png", "a\\..\\..\\b.png", "C:/b.png"])
def test_a_path_that_leaves_the_folder_is_refused_before_anything_is_written(archives, tmp_path, name):
    write_zip(archives / "images_background_small1.zip", background_files() | {name: png(9)})
    with pytest.raises(ManifestError, match="must stay in its folder"):
        make_collection(*find_archives(archives), tmp_path / "out", OmniglotSettings())
    assert not (tmp_path / "out").exists()


def test_a_test_drawing_without_a_label_is_named(archives, tmp_path):
    files = run_files("run01")
    files["run01/class_labels.txt"] = files["run01/class_labels.txt"].splitlines()[0]
    write_zip(archives / "all_runs.zip", files)
    with pytest.raises(ManifestError, match="Received: none for run01/test/item02"):
        make_collection(*find_archives(archives), tmp_path / "out", OmniglotSettings())


def test_a_label_without_its_training_drawing_is_named(archives, tmp_path):
    files = run_files("run01")
    del files["run01/training/class01.png"]
    write_zip(archives / "all_runs.zip", files)
    with pytest.raises(ManifestError, match="run01/test/item02 of run01/class01, which is missing"):
        make_collection(*find_archives(archives), tmp_path / "out", OmniglotSettings())


def test_an_unreadable_line_of_labels_is_named(archives, tmp_path):
    files = run_files("run01") | {"run01/class_labels.txt": b"item01 is class02\n"}
    write_zip(archives / "all_runs.zip", files)
    with pytest.raises(ManifestError, match="class_labels.txt, line 1: .*'item01 is class02'"):
        make_collection(*find_archives(archives), tmp_path / "out", OmniglotSettings())


@pytest.fixture
def server(archives):
    """Serves the folder of archives on this machine; gives its address."""
    handler = partial(QuietHandler, directory=str(archives))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_fetched_archive_of_another_hash_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(omniglot, "OFFICIAL", server)
    with pytest.raises(SiameseError, match="Download it by hand and give its folder with --archives"):
        omniglot.fetch_background(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.zip"))


def test_the_background_is_fetched_once_and_the_runs_are_asked_for(server, archives, tmp_path, monkeypatch):
    content = (archives / "images_background_small1.zip").read_bytes()
    monkeypatch.setattr(omniglot, "OFFICIAL", server)
    monkeypatch.setattr(omniglot, "BACKGROUND_SHA256", hashlib.sha256(content).hexdigest())
    folder = omniglot.fetch_background(tmp_path / "cache")
    (archives / "images_background_small1.zip").unlink()
    assert omniglot.fetch_background(tmp_path / "cache") == folder
    assert (folder / "images_background_small1.zip").read_bytes() == content
    with pytest.raises(ManifestError, match=r"all_runs.zip into this folder and give it: --archives .*cache"):
        find_archives(folder)


def test_fetching_without_pooch_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(SiameseError, match=r"pip install 'siamese\[data\]'"):
        omniglot.fetch_background()


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the Omniglot archives in the folder that SIAMESE_DATA names")
def test_the_published_archives_become_whole_runs(tmp_path):
    manifest = make_collection(*find_archives(REAL), tmp_path, OmniglotSettings())
    split, run = manifest.column("split"), manifest.column("run")
    assert [(split == side).sum() for side in ("train", "validation")] == [136 * 19, 136]
    for name in set(run) - {""}:
        catalog, test = ((run == name) & (split == side) for side in ("catalog", "test"))
        assert catalog.sum() == test.sum() == 20
        assert set(manifest.identity[catalog]) == set(manifest.identity[test])
    assert (
        hashlib.sha256((REAL / "images_background_small1.zip").read_bytes()).hexdigest() == omniglot.BACKGROUND_SHA256
    )
