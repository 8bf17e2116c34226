import base64
import io
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from siamese.checks.check import check_collection
from siamese.checks.labels import ALIKE, SAME_PHOTO
from siamese.checks.page import page_html
from siamese.checks.plots import dates_plot, measure_plot, photos_per_identity_plot, sizes_plot
from siamese.checks.sheets import choose_sheets
from siamese.checks.statistics import identity_statistics
from siamese.checks.thumbnails import MOST_BYTES, SIDE, read_thumbnails, thumbnail
from siamese.manifest import from_folder, from_table
from siamese.settings import CheckSettings


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A photo that JPEG cannot shrink."""
    path = tmp_path_factory.mktemp("noise") / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    from tests.conftest import _draw_photo

    folder = tmp_path_factory.mktemp("photos")
    for seed in range(6):
        _draw_photo(folder / f"animal{seed % 2}" / f"{seed}.jpg", seed=seed)
    return check_collection(from_folder(folder), CheckSettings(workers=1, worst_photos=3))


def decoded(address):
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_a_thumbnail_keeps_its_shape(tmp_path, draw_photo):
    assert decoded(thumbnail(draw_photo(tmp_path / "a.jpg", size=(960, 480)))).size == (SIDE, SIDE // 2)


def test_a_thumbnail_stands_upright(tmp_path, draw_photo):
    path = draw_photo(tmp_path / "a.jpg", size=(960, 480))
    with Image.open(path) as photo:
        exif = photo.getexif()
        exif[0x0112] = 6
        photo.save(tmp_path / "turned.jpg", exif=exif)
    assert decoded(thumbnail(tmp_path / "turned.jpg")).size == (SIDE // 2, SIDE)


def test_a_thumbnail_stays_small_whatever_the_photo(noise):
    assert len(base64.b64decode(thumbnail(noise).partition(",")[2])) <= MOST_BYTES


def test_a_photo_that_went_away_has_no_thumbnail(tmp_path, draw_photo):
    there = str(draw_photo(tmp_path / "a.jpg"))
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    found = read_thumbnails([there, str(tmp_path / "gone.jpg"), str(tmp_path / "broken.jpg"), there])
    assert list(found) == [there]


def test_the_page_shows_a_plate_for_a_photo_that_went_away(check):
    gone = replace(check, facts=check.facts.assign(path=check.facts["path"] + ".gone"))
    assert "no longer readable" in page_html(gone)
    assert "no longer readable" not in page_html(check)


def test_the_worst_photos_are_chosen_in_order(check):
    sheets = {sheet.title: sheet for sheet in choose_sheets(check)}
    darkest = [tile.path for tile in sheets["Darkest"].strips[0].tiles]
    assert darkest == check.facts.sort_values("brightness")["path"].tolist()[:3]
    assert [len(sheets[name].strips[0].tiles) for name in ("Least contrast", "Least sharp", "Smallest")] == [3, 3, 3]


def test_names_of_look_alike_photos_are_shown_and_those_of_copies_only_once(check):
    suspect = {"identity_a": "A", "identity_b": "B", "bits": 2, "num_pairs": 1}
    suspect |= {"photo_a": check.manifest.image_ids[0], "photo_b": check.manifest.image_ids[1]}
    suspects = pd.DataFrame([{**suspect, "evidence": ALIKE}, {**suspect, "evidence": SAME_PHOTO}])
    sheets = {sheet.title: sheet for sheet in choose_sheets(replace(check, suspects=suspects))}
    (strip,) = sheets["Two names, one animal?"].strips
    assert strip.heading == "A and B: photos almost alike"
    assert [tile.image_id for tile in strip.tiles] == check.manifest.image_ids[:2].tolist()


def test_unreadable_photos_stand_on_no_sheet(check):
    facts = check.facts.assign(reason=np.where(check.facts.index == 0, "cut short", ""), brightness=0.0)
    shown = [
        tile.path
        for sheet in choose_sheets(replace(check, facts=facts))
        if not sheet.grouped
        for strip in sheet.strips
        for tile in strip.tiles
    ]
    assert facts["path"][0] not in shown
    assert facts["path"][1] in shown


def test_text_is_escaped(check):
    evil = "<script>alert('x')</script>"
    manifest = check.manifest.with_column("identity", np.full(6, evil))
    manifest = manifest.with_column("image_id", np.array([f"{evil}{n}" for n in range(6)], dtype=object))
    page = page_html(replace(check, manifest=manifest, unreadable={evil: evil}))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 10
    for attribute in re.findall(r"(?:alt|title)=['\"]([^'\"]*)['\"]", page):
        assert "<" not in attribute


def test_a_large_collection_of_noise_makes_a_page_under_five_megabytes(tmp_path, noise):
    num_files = 600
    paths = [tmp_path / f"{number}.png" for number in range(num_files)]
    for path in paths:
        path.hardlink_to(noise)
    table = pd.DataFrame({"image_id": [f"{'long name ' * 30}{n}" for n in range(num_files)]})
    table = table.assign(path=[path.name for path in paths], identity=[f"animal {n % 60}" for n in range(num_files)])
    small = check_collection(from_table(table, tmp_path), CheckSettings(), with_photos=False)
    rng = np.random.default_rng(0)
    facts = small.facts.assign(width=400, height=400, contrast=rng.random(num_files), brightness=1.0, sharpness=1.0)
    group = np.arange(num_files) // 20
    full = replace(
        small,
        facts=facts,
        duplicates=replace(small.duplicates, group=group),
        manifest=small.manifest.with_column("burst", group.astype(str)),
        settings=CheckSettings(worst_photos=500),
        findings={**small.findings, "with_photos": True},
        unreadable={f"{'x' * 500}{n}": "y" * 2000 for n in range(3000)},
    )
    page = page_html(full)
    assert page.count("data:image/jpeg") > 200
    assert len(page.encode()) < 5_000_000
    assert "20 more groups in duplicates.csv." in page
    assert "2,900 more photos in quarantine.csv." in page


def test_plots_are_the_same_bytes_each_time():
    counted = identity_statistics(["Mara"] * 30 + ["Tano"])
    assert photos_per_identity_plot(counted) == photos_per_identity_plot(counted)


def test_many_photos_of_one_individual_share_the_last_bar():
    assert ">18+<" in photos_per_identity_plot(identity_statistics(["Mara"] * 30 + ["Tano"]))
    assert "18+" not in photos_per_identity_plot(identity_statistics(["Mara"] * 5 + ["Tano"]))


def test_sides_of_a_split_are_drawn_apart():
    values, side = pd.Series([1.0, 2.0, 3.0]), pd.Series(["train", "train", "test"])
    drawn = measure_plot(values, "contrast", side)
    assert ">train (2)<" in drawn
    assert ">test (1)<" in drawn
    assert "train" not in measure_plot(values, "contrast", pd.Series(["", "", ""]))


def test_thousands_of_sizes_weigh_little(rng):
    sizes = pd.DataFrame({"width": rng.integers(100, 3000, 5000), "height": rng.integers(100, 3000, 5000)})
    assert len(sizes_plot(sizes)) < 400_000


def test_decades_are_drawn_by_year():
    assert ">1990-01<" in dates_plot({"1990-01": 3, "1990-06": 2})
    assert ">1990<" in dates_plot({"1990-01": 3, "2019-06": 2})
