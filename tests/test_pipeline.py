import json
import re

import numpy as np
import pandas as pd
import pytest

from siamese.catalog import load_catalog
from siamese.checks.leaks import find_leaks
from siamese.collection import Collection
from siamese.errors import DiskError, InfeasiblePairing, LeakError, ManifestError, SettingsError, SiameseError
from siamese.judging import judge
from siamese.manifest import Manifest, from_folder, read_manifest
from siamese.models.storage import load_model
from siamese.pipeline import _checked, result_lines, train
from siamese.settings import (
    PreprocessingSettings,
    ProtocolSettings,
    Settings,
    SplitSettings,
    read_settings,
    settings_from_dict,
)
from siamese.splits import with_split
from siamese.store import build_store, open_store


def changed(settings, **sections):
    """The settings with other values in some sections."""
    values = settings.model_dump()
    for section, fields in sections.items():
        values[section].update(fields)
    return settings_from_dict(values)


def snapshot(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def collection(photo_folder, tmp_path):
    """Nine photos, Mara, Tano and Zuri split by hand; row 8 is a stranger."""
    manifest = from_folder(photo_folder)
    split = ["train", "validation", "test", "train", "train", "test", "catalog", "test", "test"]
    manifest = manifest.with_column("split", np.array(split, dtype=object))
    manifest = manifest.with_column("viewpoint", np.array(list("lrllrrlrl"), dtype=object))
    with build_store(manifest, tmp_path / "s.h5", PreprocessingSettings(height=8, width=8)) as store:
        yield Collection(manifest, store)


# the run folder


def test_a_run_leaves_every_file_it_promises(finished_run):
    found = {path.relative_to(finished_run.folder).as_posix() for path in finished_run.folder.rglob("*")}
    assert {"settings.yaml", "manifest.csv", "store.h5", "quarantine.csv", "history.csv", "state.npz"} <= found
    assert {"model/encoder.keras", "model/comparator.keras", "model/model.json", "model/model_card.md"} <= found
    assert {"catalog/catalog.json", "catalog/embeddings.npy", "catalog/images.csv"} <= found
    report = {"metrics.json", "summary.md", "ranking.csv", "submission.csv", "curves.png", "sheet.png"}
    assert {f"report/{name}" for name in report} <= found
    assert not [name for name in found if "unfinished" in name]


def test_the_metrics_have_what_the_report_promises(finished_run):
    metrics = json.loads((finished_run.folder / "report" / "metrics.json").read_text(encoding="utf-8"))
    for name in ("map5", "map5_known", "top1", "top5", "auc_new"):
        assert 0 <= metrics[name] <= 1
    assert metrics["seconds"] > 0
    assert sorted(metrics["baselines"]) == ["always_new", "chance", "nearest_pixels", "untrained"]
    for baseline in metrics["baselines"].values():
        assert 0 <= baseline["map5"] <= 1
        assert 0 <= baseline["map5_known"] <= 1
    assert metrics["num_rounds"] == 2
    assert metrics["num_quarantined"] == 1
    assert list(metrics["protocols"]) == ["other_photos"]
    assert metrics["map5"] == finished_run.metrics["map5"]


def test_the_run_folder_keeps_the_resolved_settings_and_the_manifest_with_its_split(finished_run, tiny_settings):
    assert read_settings(finished_run.folder / "settings.yaml") == tiny_settings
    manifest = read_manifest(finished_run.folder / "manifest.csv")
    assert len(manifest) == 49
    assert set(manifest.column("split")) == {"train", "validation", "test"}


def test_an_unreadable_photo_is_quarantined_and_told_and_nothing_else_stops(finished_run):
    quarantine = pd.read_csv(finished_run.folder / "quarantine.csv")
    assert quarantine["image_id"].tolist() == ["animal0/broken"]
    assert any(sentence.startswith("1 of 49 photos could not be read") for sentence in finished_run.listener.sentences)
    with open_store(finished_run.folder / "store.h5") as store:
        assert len(store) == 48


def test_the_listener_hears_of_every_stage_and_round(finished_run):
    assert finished_run.listener.records == [(1, 2), (2, 2)]
    assert set(finished_run.listener.stages) == {"photos", "copies", "labels", "bursts", "embed", "assign", "fit"}


def test_the_saved_catalog_holds_the_known_photos_but_those_of_the_test(finished_run):
    manifest = read_manifest(finished_run.folder / "manifest.csv")
    known = (manifest.identity != "") & (manifest.column("split") != "test") & (manifest.image_ids != "animal0/broken")
    catalog = load_catalog(finished_run.folder / "catalog")
    assert catalog.image_ids.tolist() == manifest.image_ids[known].tolist()
    assert catalog.identity.tolist() == manifest.identity[known].tolist()


def test_the_model_card_tells_data_metrics_and_limits(finished_run):
    card = (finished_run.folder / "model" / "model_card.md").read_text(encoding="utf-8")
    assert "48 photos, 7 individuals" in card
    assert "## Limits" in card
    stored = load_model(finished_run.folder / "model").card
    assert stored["metrics"]["map5"] == finished_run.metrics["map5"]
    with open_store(finished_run.folder / "store.h5") as store:
        assert stored["data"] == store.fingerprint


def test_the_closing_lines_compare_the_model_with_its_baselines(finished_run):
    text = result_lines(finished_run.metrics)
    for words in ("this model", "nearest pixels", "untrained encoder", "always new", "chance", "protocol other_photos"):
        assert words in text
    assert re.search(r"top-1 error: \d", text)


def test_the_same_command_goes_on_and_a_full_disk_leaves_the_finished_model(
    own_run, finished_run, small_collection, tiny_settings, listener, full_disk
):
    before = snapshot(own_run / "model")
    with full_disk(20_000), pytest.raises(DiskError, match=r"model: the model could not be saved .* untouched"):
        train(small_collection, tiny_settings, own_run, listener)
    assert snapshot(own_run / "model") == before
    assert listener.records == [(1, 2), (2, 2)]
    assert "fit" not in listener.stages  # nothing was trained again
    load_model(own_run / "model")


@pytest.mark.parametrize("num_bytes", [500, 10_000])
def test_a_full_disk_at_the_start_gives_a_sentence(
    small_collection, tiny_settings, tmp_path, listener, full_disk, num_bytes
):
    with full_disk(num_bytes), pytest.raises(DiskError, match="must be writable. Received: File too large"):
        train(small_collection, tiny_settings, tmp_path / "run", listener)


def test_the_final_rounds_train_a_second_model_on_all_named_photos_and_leave_the_evaluated_one(
    small_collection, tiny_settings, tmp_path, finished_run, listener
):
    settings = changed(tiny_settings, training={"final_rounds": 1})
    train(small_collection, settings, tmp_path, listener)
    encoders = [
        load_model(folder).encoder.get_weights() for folder in (finished_run.folder / "model", tmp_path / "model")
    ]
    assert all(np.array_equal(one, other) for one, other in zip(*encoders, strict=True))
    final = load_model(tmp_path / "final" / "model")
    assert not np.array_equal(final.encoder.get_weights()[0], encoders[0][0])
    assert final.decision == load_model(tmp_path / "model").decision
    assert "nothing is left to measure it on" in (tmp_path / "final" / "model" / "model_card.md").read_text()
    assert len(load_catalog(tmp_path / "final" / "catalog")) == 42  # the test's photos too
    assert listener.records[-2:] == [(2, 2), (1, 1)]


def test_validated_rounds_are_kept_in_the_history_and_early_stopping_ends_the_training(
    small_collection, tiny_settings, tmp_path, listener
):
    rules = {
        "validate_every": 1,
        "early_stop": {"patience": 1, "min_delta": 1.0},
    }  # nothing is gain enough after round 1
    phase = {"rounds": 5, "learning_rate": 0.002, "noise": 10}
    train(small_collection, changed(tiny_settings, training={**rules, "schedule": [phase]}), tmp_path, listener)
    history = pd.read_csv(tmp_path / "history.csv")
    assert len(history) == 2
    assert history["validation_map5"].between(0, 1).all()
    assert (history["validation_top1"] <= history["validation_map5"]).all()


def test_with_validation_the_protocol_decides_the_training_too(small_collection, tiny_settings, tmp_path, listener):
    validating = changed(tiny_settings, training={"validate_every": 1})
    train(small_collection, validating, tmp_path, listener)
    with pytest.raises(SiameseError, match="other settings or other photos"):
        train(small_collection, changed(validating, evaluation={"must_differ": ["image_id"]}), tmp_path, listener)


def test_other_settings_are_refused_and_leave_the_run_as_it_was(own_run, small_collection, tiny_settings, listener):
    before = snapshot(own_run)
    other = changed(tiny_settings, preprocessing={"height": 24}, training={"seed": 5})
    with pytest.raises(SiameseError, match="a run folder belongs to one training. Received: other settings or other"):
        train(small_collection, other, own_run, listener)
    assert snapshot(own_run) == before


def test_other_photos_are_refused_and_leave_the_run_as_it_was(own_run, whales, tmp_path, tiny_settings, listener):
    before = snapshot(own_run)
    with pytest.raises(SiameseError, match="a run folder belongs to one training"):
        train(write_manifest(tmp_path, **whales), tiny_settings, own_run, listener)
    assert snapshot(own_run) == before


# what cannot be trained on


def write_manifest(folder, **columns):
    path = folder / "manifest.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


@pytest.fixture
def whales(tmp_path, draw_photo):
    """Columns of twelve photos: four of each of three whales, two flanks, split by hand."""
    paths = [draw_photo(tmp_path / f"{number}.jpg", seed=number).name for number in range(12)]
    return {
        "image_id": [f"photo{number}" for number in range(12)],
        "path": paths,
        "identity": [name for name in ("Mara", "Tano", "Zuri") for _ in range(4)],
        "viewpoint": ["left", "left", "right", "right"] * 3,
        "split": ["train", "train", "validation", "test"] * 3,
    }


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"split": ["train", "train", "validation", "tset"] * 3}, ManifestError, "`split` must be one of .* 'tset'"),
        ({"split": ["train", "train", "train", "test"] * 3}, ManifestError, "must have photos with split `validation`"),
        (
            {"split": ["train", "validation", "test", "test"] * 3},
            ManifestError,
            "at least two individuals with 2 photos",
        ),
        (
            {"identity": ["Mara"] * 8 + ["Tano"] * 4},
            InfeasiblePairing,
            "No individual may have more than half .* Received: 'Mara' with 4 of 6. Leave out 2 photos",
        ),
        ({"identity": [""] * 12}, ManifestError, "at least two individuals with 2 photos each. Received: 0"),
    ],
)
def test_a_collection_that_cannot_be_trained_on_is_told(
    whales, tmp_path, tiny_settings, listener, changes, error, sentence
):
    with pytest.raises(error, match=sentence):
        train(write_manifest(tmp_path, **{**whales, **changes}), tiny_settings, tmp_path / "run", listener)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sections", "error", "sentence"),
    [
        (
            {"training": {"positives_share": ["flank"]}},
            ManifestError,
            "ask for the column `flank`. Received: a manifest",
        ),
        ({"training": {"min_photos": 3}}, ManifestError, "at least two individuals with 3 photos each. Received: 0"),
        ({"preprocessing": {"height": 8}, "encoder": {"stem_stride": 16}}, SettingsError, "at least 16 pixels high"),
        ({"encoder": {"stripes": 9}}, SettingsError, "`encoder.stripes` must be at most the width"),
        ({"augmentation": {"new_identities": ["turn90"]}}, SettingsError, "`turn90` needs square images"),
        ({"evaluation": {"must_share": ["flank"]}}, ManifestError, "ask for the column `flank`"),
        (
            {"evaluation": {"protocols": {"honest": {"must_differ": ["date"]}}}},
            ManifestError,
            "ask for the column `date`",
        ),
    ],
)
def test_settings_that_do_not_fit_the_collection_are_told_before_anything_is_done(
    whales, tmp_path, tiny_settings, listener, sections, error, sentence
):
    settings = changed(tiny_settings, **sections)
    with pytest.raises(error, match=sentence):
        train(write_manifest(tmp_path, **whales), settings, tmp_path / "run", listener)
    assert not (tmp_path / "run").exists()


def test_positive_pairs_that_share_nothing_are_told(whales, tmp_path, tiny_settings, listener):
    whales["viewpoint"] = ["left", "right", "left", "right"] * 3
    settings = changed(tiny_settings, training={"positives_share": ["viewpoint"]})
    with pytest.raises(ManifestError, match="must agree in viewpoint to be positive pairs. Received: no two that do"):
        train(write_manifest(tmp_path, **whales), settings, tmp_path / "run", listener)


def test_a_run_looks_for_copies_first_and_keeps_them_on_one_side(photo_folder, tmp_path, tiny_settings, listener):
    for name in ("Mara", "Tano"):
        for number in range(4, 9):
            copy = (photo_folder / name / "1.jpg").read_bytes()
            (photo_folder / name / f"{number}.jpg").write_bytes(copy)
    checked = _checked(from_folder(photo_folder), tiny_settings, tmp_path, listener)
    assert (len(checked.manifest), checked.unreadable) == (9, {})  # the ten spare copies are left out
    assert (tmp_path / "photos.csv").is_file()
    given = from_folder(photo_folder)
    given = given.with_column("split", np.where(np.arange(len(given)) % 2, "train", "test"))
    kept = _checked(given, tiny_settings, tmp_path, listener).manifest
    assert len(kept) == 19  # what a split was given for stays, and is told
    assert find_leaks(kept).serious


def test_a_collection_of_bursts_is_told_before_and_after_the_training(
    small_collection, tmp_path, tiny_settings, listener
):
    manifest = from_folder(small_collection)
    seconds = [f"2020-05-{1 + row // 3 % 28:02d}T10:00:{row % 3:02d}" for row in range(len(manifest))]
    manifest.with_column("date", np.array(seconds, dtype=object)).write(tmp_path / "m.csv")
    metrics = train(tmp_path / "m.csv", tiny_settings, tmp_path / "run", listener)
    (warning,) = metrics["warnings"]
    assert "no honest test is possible" in warning
    assert warning in listener.sentences
    assert warning in (tmp_path / "run" / "report" / "summary.md").read_text(encoding="utf-8")


def test_a_split_that_leaks_is_told_or_refused(photo_folder, tmp_path, tiny_settings, listener):
    (photo_folder / "Mara" / "2.jpg").write_bytes((photo_folder / "Mara" / "1.jpg").read_bytes())
    split = ["train", "test", "train", "train", "train", "validation", "train", "train", "test"]
    manifest = from_folder(photo_folder).with_column("split", np.array(split, dtype=object))
    manifest.write(tmp_path / "m.csv")
    settings = changed(tiny_settings, split={"leaks": "refuse"})
    with pytest.raises(LeakError, match="`split` must keep copies on one side. .* 'Mara/2' and 'Mara/1'"):
        train(tmp_path / "m.csv", settings, tmp_path / "run", listener)
    assert any("1 of 2 test photos (50 %) has a copy in training" in sentence for sentence in listener.sentences)


def test_the_pixels_of_the_training_photos_set_the_normalisation(small_collection, tiny_settings, tmp_path, listener):
    settings = changed(tiny_settings, encoder={"normalisation": "collection"})
    metrics = train(small_collection, settings, tmp_path / "run", listener)
    assert np.isfinite(metrics["map5"])
    run = read_manifest(tmp_path / "run" / "manifest.csv")
    with open_store(tmp_path / "run" / "store.h5") as store:
        trained = (run.column("split") == "train") & (run.identity != "") & np.isin(run.image_ids, store.image_ids)
        images = store.read(np.flatnonzero(np.isin(store.image_ids, run.image_ids[trained])))
    layer = load_model(tmp_path / "run" / "model").encoder.get_layer("standardise")
    np.testing.assert_allclose(layer.mean, images.mean(), rtol=1e-5)
    np.testing.assert_allclose(layer.deviation, images.std(), rtol=1e-4)


# sides and protocols


def test_a_split_column_is_kept_and_a_missing_one_is_drawn_by_the_seed(photo_folder, collection):
    kept = with_split(collection.manifest, SplitSettings())
    pd.testing.assert_frame_equal(kept.table, collection.manifest.table)
    drawn = [with_split(from_folder(photo_folder), SplitSettings()).column("split").tolist() for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) <= {"train", "validation", "test"}


def test_known_photos_of_the_other_splits_answer_the_queries(collection):
    assert collection.identity.tolist() == ["Mara"] * 3 + ["Tano"] * 3 + ["Zuri"] * 2 + [""]
    test, validation = (collection.side(split, Settings()) for split in ("test", "validation"))
    assert (test.queries.tolist(), test.catalog.tolist()) == ([2, 5, 7, 8], [0, 1, 3, 4, 6])
    assert (validation.queries.tolist(), validation.catalog.tolist()) == ([1], [0, 3, 4, 6])


def test_left_out_one_by_one_the_queries_answer_each_other(collection):
    settings = settings_from_dict({"evaluation": {"catalog": "leave_one_out"}})
    side = collection.side("test", settings)
    assert (side.queries.tolist(), side.catalog.tolist()) == ([2, 5, 7, 8], [2, 5, 7])
    allowed = collection.allowed(side, ProtocolSettings())
    assert allowed.tolist() == [[False, True, True], [True, False, True], [True, True, False], [True, True, True]]


def test_the_truth_is_empty_for_who_is_not_in_the_catalog(collection):
    side = collection.side("validation", Settings())
    assert collection.truth(side).tolist() == ["Mara"]
    assert collection.truth(collection.side("test", Settings())).tolist() == ["Mara", "Tano", "Zuri", ""]
    without_zuri = Manifest(collection.manifest.table.query("image_id != 'Zuri/1'").reset_index(drop=True), "/")
    fewer = Collection(without_zuri, collection.store)
    assert fewer.truth(fewer.side("test", Settings())).tolist() == ["Mara", "Tano", "", ""]


def test_a_protocol_says_what_query_and_answer_share_and_in_what_they_differ(collection):
    side = collection.side("test", Settings())  # queries l, r, r, l; catalog l, r, l, r, l
    same = collection.allowed(side, ProtocolSettings(must_share=("viewpoint",)))
    assert same.astype(int).tolist() == [[1, 0, 1, 0, 1], [0, 1, 0, 1, 0], [0, 1, 0, 1, 0], [1, 0, 1, 0, 1]]
    other = collection.allowed(side, ProtocolSettings(must_differ=("viewpoint",)))
    assert np.array_equal(other, ~same)
    with pytest.raises(ManifestError, match="the column `flank`"):
        collection.allowed(side, ProtocolSettings(must_share=("flank",)))


def test_scores_that_know_the_truth_are_judged_perfect(collection):
    settings = settings_from_dict({"evaluation": {"protocols": {"same_side": {"must_share": ["viewpoint"]}}}})

    def score(side):
        names = collection.identity
        return (names[side.queries][:, None] == names[side.catalog][None, :]).astype(np.float32)

    judged = judge(collection, settings, score)
    assert judged.evaluation.metrics["top1"] == 1
    assert judged.evaluation.metrics["map5"] == 1
    assert judged.side.queries.tolist() == [2, 5, 7, 8]
    assert judged.protocols["same_side"]["num_known"] == 2  # Zuri's only catalog photo shows the other side


# the model, once more


def test_the_loaded_model_gives_the_evaluation_of_the_report(finished_run, matcher):
    manifest = read_manifest(finished_run.folder / "manifest.csv")
    test = manifest.select(manifest.column("split") == "test")
    ranking = matcher.rank(test, finished_run.folder / "catalog").to_frame()
    reported = pd.read_csv(finished_run.folder / "report" / "ranking.csv", dtype={"image_id": str, "identity": str})
    both = ranking[ranking["image_id"].isin(reported["image_id"])].reset_index(drop=True)
    assert both["image_id"].tolist() == reported["image_id"].tolist()
    assert both["identity"].tolist() == reported["identity"].tolist()
    np.testing.assert_allclose(both["score"], reported["score"], rtol=1e-6)
