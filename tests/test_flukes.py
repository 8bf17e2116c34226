import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_prep.fluke_photo import Pose, project, unproject
from data_prep.fluke_plan import CHALLENGE_COUNTS
from data_prep.flukes import FlukeSettings, draw_collection, draw_identity, draw_photo, main, plan_collection
from siamese.errors import DiskError, SettingsError
from siamese.manifest import read_manifest

SMALL = FlukeSettings(photos=90, seed=5, width=96)


def read_table(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def open_photo(folder, image_id, mode="RGB"):
    with Image.open(folder / "photos" / f"{image_id}.jpg") as picture:
        return picture.convert(mode)


def points_of(text):
    return np.array([[float(number) for number in point.split()] for point in text.split(";")])


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """A small collection drawn by two processes, its manifest and its truth."""
    folder = tmp_path_factory.mktemp("flukes")
    draw_collection(folder, SMALL, workers=2)
    return folder, read_table(folder / "manifest.csv"), read_table(folder / "truth.csv").set_index("image_id")


@pytest.fixture(scope="module")
def large_plan():
    return plan_collection(FlukeSettings(photos=6000, seed=1))


@pytest.fixture(scope="module")
def animal():
    return draw_identity(np.random.default_rng(8), texture_width=140)


def test_one_process_draws_the_same_files_as_two(collection, tmp_path):
    folder, _, _ = collection
    draw_collection(tmp_path, SMALL, workers=1)
    names = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    assert names == sorted(path.relative_to(folder) for path in folder.rglob("*.*"))
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in names)


def test_another_seed_draws_other_animals_and_photos():
    first, second = (plan_collection(SMALL.model_copy(update={"seed": seed})) for seed in (5, 6))
    assert {plan.true_identity for plan in first}.isdisjoint(plan.true_identity for plan in second)


def test_photos_have_the_shares_of_the_challenge(large_plan):
    share = {name: np.mean([bool(getattr(plan, name)) for plan in large_plan]) for name in ("grey", "upside_down")}
    assert np.mean([plan.identity == "" for plan in large_plan]) == 0.38
    assert share["grey"] == pytest.approx(0.30, abs=0.02)
    assert share["upside_down"] == pytest.approx(0.015, abs=0.005)
    assert np.mean([plan.original is not None for plan in large_plan]) == 0.03


def test_split_holds_queries_of_which_28_in_100_are_new(large_plan):
    for side, share in (("validation", 0.135), ("test", 0.15)):
        queries = [plan for plan in large_plan if plan.split == side]
        assert len(queries) == 6000 * share
        assert np.mean([plan.identity == "" for plan in queries]) == pytest.approx(0.28, abs=0.001)


def test_every_known_query_has_a_readable_photo_of_its_animal_in_train(large_plan):
    catalog = {plan.identity for plan in large_plan if plan.split == "train" and not plan.unreadable}
    assert all(plan.identity in catalog for plan in large_plan if plan.identity)


def test_animals_of_new_queries_have_no_photo_elsewhere(large_plan):
    sides = pd.DataFrame([(plan.true_identity, plan.split) for plan in large_plan if not plan.identity])
    assert (sides.groupby(0)[1].nunique() == 1).all()


def test_a_copy_stays_with_its_original(large_plan):
    copies = [plan for plan in large_plan if plan.original is not None]
    assert len(copies) == 180
    for copy in copies:
        original = large_plan[copy.original]
        assert (copy.split, copy.true_identity, copy.grey) == (original.split, original.true_identity, original.grey)
        assert original.original is None


def test_conflicting_names_change_nothing_else(large_plan):
    plans = plan_collection(FlukeSettings(photos=6000, seed=1, conflict_share=0.01))
    changed = [(new, old) for new, old in zip(plans, large_plan, strict=True) if new != old]
    assert len(changed) == 60
    known = {plan.identity for plan in large_plan if plan.identity}
    for new, old in changed:
        assert new == replace(old, identity=new.identity, conflict=True)
        assert new.original is not None
        assert new.split == "train"
        assert new.identity in known - {new.true_identity}


def test_the_truth_tells_which_copies_carry_another_name(tmp_path):
    settings = FlukeSettings(photos=40, seed=3, width=64, duplicate_share=0.3, conflict_share=0.075)
    draw_collection(tmp_path, settings, workers=1)
    table, truth = read_table(tmp_path / "manifest.csv"), read_table(tmp_path / "truth.csv")
    told = (truth["conflict"] == "1").to_numpy()
    assert told.sum() == 3
    assert ((table["identity"] != "") & (table["identity"] != truth["true_identity"])).tolist() == told.tolist()


def test_a_collection_without_conflicts_keeps_its_card_and_its_truth(collection):
    folder, _, truth = collection
    assert "conflict" not in truth
    assert "conflict" not in (folder / "settings.json").read_text()


def test_photos_per_identity_follow_the_counts_of_the_challenge(large_plan):
    counts = pd.Series([plan.identity for plan in large_plan if plan.identity]).value_counts()
    for photos in (1, 2, 3):
        expected = CHALLENGE_COUNTS[photos] / sum(CHALLENGE_COUNTS.values())
        assert np.mean(counts == photos) == pytest.approx(expected, abs=0.04)
    assert 20 <= counts.max() <= 73


def test_the_manifest_is_read_by_the_package(collection):
    folder, table, _ = collection
    manifest = read_manifest(folder / "manifest.csv")
    assert len(manifest) == len(table) == 90
    assert (manifest.boxes[:, 2:] > 0).all()


def test_unreadable_files_are_unreadable_and_the_others_are_not(collection):
    folder, _, truth = collection
    assert sorted(truth["unreadable"].unique()) == ["", "empty", "truncated"]
    for image_id, reason in truth["unreadable"].items():
        if reason:
            with pytest.raises(OSError, match="truncated|cannot identify"):
                open_photo(folder, image_id)
        else:
            size = truth.loc[image_id, ["photo_width", "photo_height"]].astype(int)
            assert open_photo(folder, image_id).size == tuple(size)


def test_grey_photos_have_equal_channels_and_the_others_do_not(collection):
    folder, _, truth = collection
    for image_id, row in truth[truth["unreadable"] == ""].iterrows():
        pixels = np.asarray(open_photo(folder, image_id)).astype(int)
        assert (np.ptp(pixels, axis=2).max() <= 1) == (row["grey"] == "1")


def test_a_copy_shows_its_original_in_other_pixels(collection):
    folder, _, truth = collection
    copies = truth[(truth["duplicate_of"] != "") & (truth["unreadable"] == "")]
    assert len(copies) > 0
    for image_id, row in copies.iterrows():
        copy = open_photo(folder, image_id, "L")
        original = open_photo(folder, row["duplicate_of"], "L")
        assert copy.width < original.width
        small = [
            np.asarray(picture.resize((32, 16), Image.Resampling.BOX), float).ravel() for picture in (copy, original)
        ]
        assert np.corrcoef(*small)[0, 1] > 0.97


def test_mask_key_points_and_box_agree(collection):
    _, table, truth = collection
    inside = []
    for row in table.itertuples():
        size = truth.loc[row.image_id, ["photo_width", "photo_height"]].astype(float).to_numpy()
        x, y, width, height = truth.loc[row.image_id, ["true_x", "true_y", "true_width", "true_height"]].astype(float)
        mask, keypoints = np.clip(points_of(row.mask), 0, size), points_of(row.keypoints)
        ends = np.r_[mask.min(axis=0), mask.max(axis=0)]
        assert ends == pytest.approx([x, y, x + width, y + height], abs=0.02 * max(size))
        inside += [((keypoints >= 0) & (keypoints <= size)).all()]
    assert np.mean(inside) > 0.85


def test_the_box_of_the_manifest_is_a_little_off(collection):
    _, table, truth = collection
    drawn = table[["x", "width"]].astype(float).to_numpy()
    true = truth.loc[table["image_id"], ["true_x", "true_width"]].astype(float).to_numpy()
    error = np.abs(drawn - true)[:, 0] / true[:, 1]
    assert 0.002 < error.mean() < 0.03


def test_left_tip_stands_left_of_the_notch_unless_the_photo_is_upside_down(animal):
    for upside_down in (False, True):
        photo = draw_photo(animal, np.random.default_rng(2), width=96, upside_down=upside_down)
        left, notch, right, base = photo.keypoints
        assert (left[0] < notch[0] < right[0]) != upside_down
        assert (notch[1] < base[1]) != upside_down


def test_a_photo_turned_upside_down_is_the_same_photo_turned(animal):
    upright, turned = (
        draw_photo(animal, np.random.default_rng(4), width=96, upside_down=flag) for flag in (False, True)
    )
    size = np.array(upright.image.shape[1::-1])
    np.testing.assert_array_equal(turned.image, upright.image[::-1, ::-1])
    np.testing.assert_allclose(turned.keypoints, size - upright.keypoints)
    np.testing.assert_allclose(turned.box[:2] + turned.box[2:], size - upright.box[:2])


def test_without_difficulty_the_pose_hardly_varies(animal):
    truths = [draw_photo(animal, np.random.default_rng(seed), width=96, difficulty=0.0).truth for seed in range(3)]
    assert {(truth["roll"], truth["yaw"], truth["curl_left"], truth["exposure"]) for truth in truths} == {
        (0, 0, 0.14, 1)
    }


def test_drawing_a_photo_leaves_the_animal_as_it_was(animal):
    before = animal.texture.copy(), animal.outline.copy()
    draw_photo(animal, np.random.default_rng(0), width=96, companion=animal, caption=True, grey=True)
    np.testing.assert_array_equal(animal.texture, before[0])
    np.testing.assert_array_equal(animal.outline, before[1])


def test_the_two_lobes_of_an_animal_differ(animal):
    mirrored = animal.texture[:, ::-1, 0].astype(int)
    inside = (animal.texture[..., 1] == 255) & (animal.texture[:, ::-1, 1] == 255)
    assert np.mean(np.abs(animal.texture[..., 0] - mirrored)[inside] > 30) > 0.05


def test_unproject_finds_what_project_showed(rng):
    pose = Pose(roll=12, yaw=-30, pitch=35, distance=7, curl=(0.3, 0.1), flex=(0.1, -0.1))
    places = rng.uniform((-1, 0), (1, 0.7), (200, 2))
    np.testing.assert_allclose(unproject(project(places, pose), pose), places, atol=1e-3)


def test_a_finished_collection_is_kept_and_another_is_refused(collection):
    folder, _, _ = collection
    before = (folder / "manifest.csv").stat().st_mtime_ns
    assert draw_collection(folder, SMALL) == folder / "manifest.csv"
    assert (folder / "manifest.csv").stat().st_mtime_ns == before
    with pytest.raises(SettingsError, match="must be empty or hold a collection of the same settings"):
        draw_collection(folder, SMALL.model_copy(update={"seed": 6}))


def test_a_collection_says_when_it_cannot_be_written(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DiskError, match="must be a folder with room for the photos"):
        draw_collection(tmp_path / "taken", SMALL, workers=1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--photos", "3"], "--photos is wrong: Input should be greater than or equal to 20. Received: '3'"),
        (["--difficulty", "hard"], "--difficulty is wrong"),
        (["--workers", "0"], "`workers` must be at least 1. Received: workers=0"),
    ],
)
def test_wrong_arguments_get_a_sentence_and_code_2(arguments, sentence, tmp_path, capsys):
    assert main(["--out", str(tmp_path / "out"), *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_line_wants_a_place_to_write(capsys):
    assert main([]) == 2
    assert "--out or --sheet must be given" in capsys.readouterr().err


def test_the_command_line_draws_a_sheet_and_prints_json(tmp_path, capsys):
    assert main(["--sheet", str(tmp_path / "sheet.png"), "--width", "64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sheet"] == str(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (6 * 226, 4 * 142)
