import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import Listener
from PIL import Image

import siamese
from siamese.catalog import load_catalog
from siamese.collection import Collection
from siamese.errors import ManifestError, SettingsError, SiameseError
from siamese.manifest import read_manifest
from siamese.pipeline import train
from siamese.pseudo_labels import best_named
from siamese.settings import read_settings, settings_from_dict
from siamese.store import open_store
from siamese.studies import _known_and_validation, _load_trainer, _open_collection, study_noise, study_pseudo_labels

NUM_ANIMALS, NUM_PHOTOS = 6, 12
STEPS = {"train": range(4), "unknown": range(4, 8), "validation": range(8, 11), "test": range(11, 12)}


def snapshot(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def draw_animal(path, animal, photo):
    """Draws stripes, upright or level, three widths of them, so that hardly any training tells six animals apart."""
    width, is_level = 1 + animal // 2, animal % 2
    stripes = 180 * (np.indices((16, 32))[1 - is_level] // width % 2)
    pixels = stripes + np.random.default_rng([animal, photo]).integers(0, 60, (16, 32))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def easy_collection(tmp_path_factory):
    """Six animals that are easily told apart: of each, four photos train, four are unknown, three validate, one tests.

    Copies were looked for, as it were, so that nothing is left out as one.
    """
    folder = tmp_path_factory.mktemp("easy")
    rows = []
    for animal in range(NUM_ANIMALS):
        for photo in range(NUM_PHOTOS):
            name = f"animal{animal}_{photo}"
            draw_animal(folder / f"{name}.png", animal, photo)
            kind = next(kind for kind, photos in STEPS.items() if photo in photos)
            identity, split = ("", "train") if kind == "unknown" else (f"animal{animal}", kind)
            rows.append((name, f"{name}.png", identity, split, "", ""))
    columns = ["image_id", "path", "identity", "split", "duplicate_group", "burst"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "manifest.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def easy_settings():
    layers = {"stem_filters": 8, "stem_kernel": 3, "stem_pool": False, "stem_convolutions": 0, "depth": 1}
    return settings_from_dict(
        {
            "preprocessing": {"height": 16, "width": 32, "channels": 1},
            "augmentation": {"zoom": (1, 1), "rotation": 0, "shear": 0, "shift": 0},
            "encoder": {**layers, "widths": [16], "bottlenecks": [8], "batch_norm_momentum": 0.9},
            "comparator": {"hidden_units": 8},
            "training": {
                "batch_size": 12,
                "pairs_per_image": 6,
                "schedule": [{"rounds": 6, "epochs_per_round": 4, "learning_rate": 0.003, "noise": 10}],
            },
            "evaluation": {"sheet_queries": 3},
        }
    )


@pytest.fixture(scope="module")
def easy_run(easy_collection, easy_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "easy"
    train(easy_collection / "manifest.csv", easy_settings, folder, Listener())
    return folder


# K


def test_a_study_of_k_leaves_the_run_folder_as_it_is(finished_run):
    before, told = snapshot(finished_run.folder), []
    table = study_noise(finished_run.folder, [10, 1], on_progress=lambda done, total: told.append((done, total)))
    assert snapshot(finished_run.folder) == before
    assert table["noise"].tolist() == [10, 1]
    assert np.isfinite(table["loss"]).all()
    assert told == [(1, 2), (2, 2)]


def test_a_study_of_k_begins_where_the_run_ended(finished_run):
    settings = read_settings(finished_run.folder / "settings.yaml")
    with _open_collection(finished_run.folder, settings) as collection:
        trainer, phase = _load_trainer(finished_run.folder, settings, collection, lambda *stage: None)
    kept = siamese.load(finished_run.folder / "model").model
    parts = [(trainer.model.encoder, kept.encoder), (trainer.model.comparator, kept.comparator)]
    for mine, other in parts:
        assert all(np.array_equal(*pair) for pair in zip(mine.get_weights(), other.get_weights(), strict=True))
    history = pd.read_csv(finished_run.folder / "history.csv")
    assert phase.learning_rate == pytest.approx(history["learning_rate"].iloc[-1])
    assert int(trainer.model.optimizer.iterations.numpy()) > 0


def test_a_folder_without_a_state_is_told(own_run, tmp_path):
    (own_run / "state.npz").unlink()
    with pytest.raises(SiameseError, match=r"state.npz: there must be the state of a training. Received: .* one round"):
        study_noise(own_run, [1])
    with pytest.raises(SettingsError, match=r"settings.yaml: the settings cannot be read"):
        study_noise(tmp_path, [1])


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_damaged_state_is_told(own_run, content):
    (own_run / "state.npz").write_bytes(content)
    with pytest.raises(SiameseError, match=r"state.npz: there must be the state of a training. Received: \S"):
        study_noise(own_run, [1])


@pytest.mark.parametrize("changes", [{"widths": [16]}, {"depth": 2}, {"widths": [8, 8], "bottlenecks": [4, 4]}])
def test_settings_that_are_not_those_of_the_state_are_told(own_run, changes):
    settings = yaml.safe_load((own_run / "settings.yaml").read_text())
    settings["encoder"] |= changes
    (own_run / "settings.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SiameseError, match="state.npz: the state must be that of .*settings.yaml. Received: that of"):
        study_noise(own_run, [1])


def test_a_store_of_other_photos_is_told(own_run):
    manifest = read_manifest(own_run / "manifest.csv", check_files=False)
    manifest.select(np.arange(len(manifest)) > 0).write(own_run / "manifest.csv")
    with pytest.raises(SiameseError, match="store.h5: the image store must be that of"):
        study_noise(own_run, [1])


def test_the_command_writes_table_and_picture_and_tells_json(finished_run, run_program, tmp_path):
    table, picture = tmp_path / "k.csv", tmp_path / "k.png"
    code, out, err = run_program(
        *("study", "noise", "--run", finished_run.folder, "--k", 10, "--k", 0.5),
        *("--out", table, "--picture", picture, "--json"),
    )
    assert code == 0, err
    rows = json.loads(out)
    assert [row["noise"] for row in rows] == [10, 0.5]
    assert rows[0]["loss"] == pytest.approx(pd.read_csv(table)["loss"][0])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "2 of 2 epochs" in err


def test_the_command_prints_a_table(finished_run, run_program):
    code, out, err = run_program("study", "noise", "--run", finished_run.folder, "--k", 3)
    assert code == 0, err
    assert out.split()[:4] == ["noise", "seed", "loss", "accuracy"]


def test_the_command_tells_wrong_input_in_a_sentence(finished_run, run_program):
    code, _, err = run_program("study", "noise", "--run", finished_run.folder, "--k", -1)
    assert code == 2
    assert "siamese: `noises` must be one or more numbers" in err


# pseudo-labels


def test_unknown_photos_get_names_that_are_right_and_the_run_stays_as_it_is(easy_run):
    before = snapshot(easy_run)
    found = study_pseudo_labels(easy_run, precision=0.7)
    assert snapshot(easy_run) == before
    assert found.num_asked == NUM_ANIMALS * len(STEPS["unknown"])
    assert found.cut.num_measured == NUM_ANIMALS * len(STEPS["validation"])
    assert found.new_share == 0
    right = found.table["image_id"].str.split("_").str[0] == found.table["identity"]
    assert len(found.table) > found.num_asked / 2
    assert right.mean() >= 0.7
    assert (found.table["score"] >= found.cut.score).all()


def test_the_enlarged_collection_differs_in_the_named_photos_alone(easy_run, easy_collection):
    found = study_pseudo_labels(easy_run, precision=0.7)
    before, after = read_manifest(easy_collection / "manifest.csv"), found.manifest
    labelled = after.column("pseudo_label") == "true"
    assert sorted(after.image_ids[labelled]) == sorted(found.table["image_id"])
    assert set(before.identity[labelled]) == {""}
    assert set(after.column("split")[labelled]) == {"train"}
    assert after.identity[~labelled].tolist() == before.identity[~labelled].tolist()
    assert after.column("split").tolist() == before.column("split").tolist()


def test_a_training_takes_the_enlarged_collection(easy_run, tiny_settings, tmp_path, run_program, listener):
    out = tmp_path / "enlarged.csv"
    command = ("study", "pseudo-labels", "--run", easy_run, "--precision", 0.7, "--out", out)
    code, told, err = run_program(*command)
    assert code == 0, err
    assert "validation answers" in told
    assert "photos get a pseudo-label, of 6 individuals" in told
    assert "new individuals than of the validation's: 0%" in err
    train(out, tiny_settings, tmp_path / "run", listener)
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["num_images"][0] > NUM_ANIMALS * len(STEPS["train"])
    catalog = load_catalog(tmp_path / "run" / "catalog")
    manifest = read_manifest(out)
    answers = (manifest.identity != "") & (manifest.column("pseudo_label") == "false")
    assert catalog.image_ids.tolist() == manifest.image_ids[answers & (manifest.column("split") != "test")].tolist()
    with pytest.raises(ManifestError, match="may name photos from outside alone. Received: its own. Those it was left"):
        study_pseudo_labels(tmp_path / "run", precision=0.1)


def test_pseudo_labels_answer_no_query_of_an_evaluation(easy_run, tiny_settings):
    found = study_pseudo_labels(easy_run, precision=0.7)
    with open_store(easy_run / "store.h5") as store:
        collection = Collection(found.manifest, store)
        for split in ("validation", "test"):
            side = collection.side(split, tiny_settings)
            marks = found.manifest.column("pseudo_label")
            assert set(marks[side.catalog]) == {"false"} == set(marks[side.queries])
            assert "" not in set(collection.identity[side.catalog])
        known, _ = _known_and_validation(collection)
        assert set(found.manifest.column("pseudo_label")[known]) == {"false"}


def test_a_split_that_would_ask_about_pseudo_labels_is_refused(easy_run, easy_settings, tmp_path, listener):
    manifest = study_pseudo_labels(easy_run, precision=0.7).manifest
    moved = np.where(manifest.column("pseudo_label") == "true", "test", manifest.column("split")).astype(object)
    manifest.with_column("split", moved).write(tmp_path / "moved.csv")
    with pytest.raises(ManifestError, match="A pseudo-label must train, never be asked about"):
        train(tmp_path / "moved.csv", easy_settings, tmp_path / "run", listener)


def test_photos_from_outside_are_named_and_added(easy_run, tmp_path, run_program):
    for animal in range(NUM_ANIMALS):
        draw_animal(tmp_path / "new" / f"later{animal}.png", animal, NUM_PHOTOS)
    (tmp_path / "new" / "broken.png").write_bytes(b"no photo")
    out = tmp_path / "enlarged.csv"
    command = ("study", "pseudo-labels", "--run", easy_run, "--queries", tmp_path / "new", "--precision", 0.7)
    code, told, err = run_program(*command, "--out", out, "--json")
    assert code == 0, err
    numbers = json.loads(told)
    assert numbers["num_asked"] == NUM_ANIMALS
    assert numbers["lower"] >= 0.7
    manifest = read_manifest(out)  # checks that every photo is found
    added = manifest.select(manifest.column("pseudo_label") == "true")
    assert len(added) == numbers["num_labels"] > NUM_ANIMALS / 2
    assert all(identity == f"animal{name[-1]}" for name, identity in zip(added.image_ids, added.identity, strict=True))
    assert len(manifest) == NUM_ANIMALS * NUM_PHOTOS + len(added)


def test_photos_of_the_run_are_not_named_as_if_from_outside(easy_run, easy_collection, tmp_path):
    shutil.copy(easy_collection / "animal0_11.png", tmp_path / "animal0_11.png")  # a test photo
    with pytest.raises(ManifestError, match="trained or is evaluated on. Received: animal0_11"):
        study_pseudo_labels(easy_run, precision=0.7, queries=tmp_path)


def test_known_photos_from_outside_are_not_asked_about(easy_run, tmp_path):
    draw_animal(tmp_path / "animal0" / "later.png", 0, NUM_PHOTOS)
    with pytest.raises(ManifestError, match="there must be photos of unknown individuals. Received: none"):
        study_pseudo_labels(easy_run, precision=0.7, queries=tmp_path)


def test_photos_that_reach_the_cut_more_seldom_than_the_validation_are_refused(easy_run, tmp_path):
    folder, matcher = shutil.copytree(easy_run, tmp_path / "run"), siamese.load(easy_run / "model")
    manifest = read_manifest(folder / "manifest.csv")
    known = manifest.select((manifest.column("split") == "train") & (manifest.identity != ""))
    validation = manifest.select(manifest.column("split") == "validation")
    answers = best_named(matcher.rank(validation, known, top_k=3)).sort_values("score")
    low = answers["image_id"][: len(answers) // 3].to_numpy()  # called new, so that the cut stands above them
    identity = np.where(np.isin(manifest.image_ids, low), "", manifest.identity).astype(object)
    manifest.with_column("identity", identity).write(folder / "manifest.csv")
    lowest = validation.paths[answers.index[0]]
    for number in range(20):
        (tmp_path / "new").mkdir(exist_ok=True)
        shutil.copy(lowest, tmp_path / "new" / f"stranger{number}.png")
    with pytest.raises(SiameseError, match="photos of which 0.0% reach the cut, against (6|7|8)"):
        study_pseudo_labels(folder, precision=0.7, queries=tmp_path / "new")
    assert study_pseudo_labels(folder, precision=0.7).new_share == pytest.approx(1 / 3)


def test_a_run_without_unknown_photos_to_name_says_so(easy_run, tmp_path):
    folder = shutil.copytree(easy_run, tmp_path / "run")
    manifest = read_manifest(folder / "manifest.csv", check_files=False)
    everywhere = np.where(manifest.identity == "", "somebody", manifest.identity).astype(object)
    manifest.with_column("identity", everywhere).write(folder / "manifest.csv")
    with pytest.raises(ManifestError, match="photos of unknown individuals with the split train or catalog. Received:"):
        study_pseudo_labels(folder, precision=0.7)


def test_a_precision_that_cannot_be_shown_is_told(easy_run):
    with pytest.raises(SiameseError, match="must be shown on at least 149 validation answers. Received: 18"):
        study_pseudo_labels(easy_run, precision=0.98)
