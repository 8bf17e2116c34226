"""Tests of `siamese.report.sheets`."""

import numpy as np
import pytest
from PIL import Image

from siamese.errors import SiameseError
from siamese.identity_scores import NEW_INDIVIDUAL
from siamese.report import sheets
from siamese.report.sheets import SheetMatch, SheetRow, contact_sheet, query_sheet, sample_queries, sheet_rows
from tests.test_evaluate import decision, evaluated


def image(shade, size=(64, 128), channels=1):
    return np.full((*size, channels), shade, dtype=np.uint8)


def row(*matches, truth="w_1", **options):
    return SheetRow("photo_7", truth, image(90, **options), matches)


def match(right, **options):
    return SheetMatch("w_1" if right else "w_2", 3.2, 0.97, right, image(120, **options), "photo_3")


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def count_colour(picture, colour):
    return int(np.all(picture == colour, axis=-1).sum())


def frame_of(picture, colour, rows=slice(130, None)):
    """Box of a colour below the legend: top, bottom, left, right."""
    found = np.argwhere(np.all(picture[rows] == colour, axis=-1))
    return (*(found[:, 0].min() + rows.start, found[:, 0].max() + rows.start), found[:, 1].min(), found[:, 1].max())


def test_a_right_match_is_framed_green_and_a_wrong_one_red(tmp_path):
    query_sheet(tmp_path / "sheet.png", [row(match(True), match(False))])
    picture = pixels(tmp_path / "sheet.png")
    green, red = frame_of(picture, sheets.GREEN), frame_of(picture, sheets.RED)
    assert green[3] < red[2]
    assert green[:2] == red[:2]
    middle = (green[0] + green[1]) // 2
    assert [tuple(pixel) for pixel in picture[middle, green[2] : green[2] + 5]] == [sheets.GREEN] * 5
    assert tuple(picture[middle, green[2] + 5]) == (120, 120, 120)


def test_frames_do_not_hang_on_colour_alone(tmp_path):
    """Seen in grey, a tick is not a cross."""
    query_sheet(tmp_path / "right.png", [row(match(True))])
    query_sheet(tmp_path / "wrong.png", [row(match(False))])
    marks = []
    for name, colour in (("right", sheets.GREEN), ("wrong", sheets.RED)):
        picture = pixels(tmp_path / f"{name}.png")
        top, _, _, right = frame_of(picture, colour)
        badge = picture[top + 9 : top + 9 + sheets.BADGE, right - 8 - sheets.BADGE : right - 8]
        marks.append(np.all(badge == sheets.PAPER, axis=-1))
    assert np.mean(marks[0] != marks[1]) > 0.05


def test_the_new_individual_has_a_tile_without_photo_in_its_place(tmp_path):
    new = SheetMatch(NEW_INDIVIDUAL, 1.0, 0.2, right=False)
    query_sheet(tmp_path / "with.png", [row(match(True), new, match(False))])
    query_sheet(tmp_path / "without.png", [row(match(True), match(False), match(False))])
    plates = [count_colour(pixels(tmp_path / name), sheets.PLATE) for name in ("with.png", "without.png")]
    assert plates[0] - plates[1] > 20_000


def test_a_grey_photo_is_shown_grey_and_a_colour_one_in_its_colours(tmp_path):
    colourful = image(0, channels=3)
    colourful[...] = (200, 120, 40)
    query_sheet(tmp_path / "sheet.png", [SheetRow("q", "w", image(90), (SheetMatch("w", 1, 1, True, colourful, "c"),))])
    picture = pixels(tmp_path / "sheet.png")
    assert count_colour(picture, (90, 90, 90)) > 30_000
    assert count_colour(picture, (200, 120, 40)) > 25_000


@pytest.mark.parametrize("size", [(64, 128), (105, 105), (160, 80), (384, 384)])
def test_rows_and_columns_have_room_for_any_shape(tmp_path, size):
    rows = [row(*(match(rank == 1, size=size) for rank in range(5)), size=size)] * 3
    query_sheet(tmp_path / "sheet.png", rows)
    height, width = pixels(tmp_path / "sheet.png").shape[:2]
    assert 700 < height < 1400
    assert 1300 < width < 2100


def test_long_names_lose_their_middle_and_fit():
    font = sheets._font(sheets.CAPTION_SIZE)
    name = "2019-07-18_very_long_name_of_a_photo_0042"
    short = sheets._shortened(name, font, 172)
    assert font.getlength(short) <= 172
    assert short.startswith("2019")
    assert short.endswith("0042")
    assert sheets._shortened("w_1", font, 172) == "w_1"


def test_a_sheet_shows_what_the_ranking_says():
    evaluation = evaluated()
    rows = sheet_rows(
        evaluation,
        np.array([2, 3]),
        query_images=lambda indices: np.stack([image(int(index)) for index in indices]),
        catalog_images=lambda indices: np.stack([image(100 + int(index)) for index in indices]),
        catalog_ids=np.array(["p0", "p1", "p2", "p3"], dtype=object),
    )
    assert [(row.image_id, row.truth, int(row.image[0, 0, 0])) for row in rows] == [("c", "cleo", 2), ("d", "", 3)]
    assert [answer.identity for answer in rows[0].matches] == [NEW_INDIVIDUAL, "cleo", "ann", "bob"]
    assert [answer.right for answer in rows[0].matches] == [False, True, False, False]
    assert [answer.right for answer in rows[1].matches] == [True, False, False, False]
    assert [answer.image_id for answer in rows[0].matches] == ["", "p2", "p0", "p1"]
    assert int(rows[0].matches[1].image[0, 0, 0]) == 102
    assert rows[0].matches[0].image is None
    assert rows[0].matches[0].score == decision().threshold


def test_queries_are_drawn_from_the_counted_ones(rng):
    evaluation = evaluated()
    assert sample_queries(evaluation, 100, rng=rng).tolist() == [0, 1, 2, 3, 4]
    drawn = sample_queries(evaluation, 3, rng=rng)
    assert len(set(drawn.tolist())) == 3
    assert drawn.tolist() == sorted(drawn.tolist())


def test_the_same_rows_give_the_same_file(tmp_path):
    for name in ("one.png", "two.png"):
        query_sheet(tmp_path / name, [row(match(True))])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_contact_sheet_holds_each_image_once(tmp_path):
    contact_sheet(
        tmp_path / "sheet.png", [image(shade) for shade in (10, 60, 110)], ["a", "b\nsecond line", ""], columns=2
    )
    picture = pixels(tmp_path / "sheet.png")
    areas = [count_colour(picture, (shade, shade, shade)) for shade in (10, 60, 110)]
    assert areas == [areas[0]] * 3


def test_an_empty_sheet_is_told(tmp_path):
    with pytest.raises(SiameseError, match=r"at least one query. Received: none"):
        query_sheet(tmp_path / "sheet.png", [])
    assert not list(tmp_path.iterdir())


def test_missing_captions_are_told(tmp_path):
    with pytest.raises(SiameseError, match=r"Received: 1 images, 0 captions, columns=6. Give one caption per image"):
        contact_sheet(tmp_path / "sheet.png", [image(1)], [])


def test_an_image_of_floats_is_told(tmp_path):
    with pytest.raises(SiameseError, match=r"must be uint8 of shape.*Received: float64 of shape \(64, 128, 1\)"):
        contact_sheet(tmp_path / "sheet.png", [image(1) / 255], ["a"])
