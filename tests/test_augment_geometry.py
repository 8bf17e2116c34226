import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops, random

from siamese.augment import Movement, draw_movement, move_boxes, move_points, source_points, warp
from siamese.augment.draws import Draw
from siamese.augment.geometry import moves, source_grid
from siamese.augment.warp import sample
from siamese.settings import AugmentationSettings

STILL = {"rotation": 0, "shear": 0, "zoom": (1, 1), "shift": 0}
# The widest ranges under which most of a picture stays within its frame.
WILD = AugmentationSettings(
    rotation=20,
    shear=10,
    zoom=(0.8, 1.2),
    shift=0.1,
    perspective=0.1,
    corners=(-0.1, 0.1),
    elastic=(0.01, 0.03),
    flip=0.5,
)


class LargestDraw(Draw):
    """Draws the upper end of every range."""

    def uniform(self, low, high, *shape):
        return ops.full((self.num_images, *shape), float(high))

    def share(self, probability, *shape):
        return ops.ones((self.num_images, *shape))

    def cut_normal(self, *shape):
        return ops.full((self.num_images, *shape), 2.0)


def draw_for(num_images, seed=None):
    kind = Draw if seed is not None else LargestDraw
    return kind(num_images, random.SeedGenerator(seed or 0))


def movement_of(num_images, height, width, seed=None, **values):
    settings = AugmentationSettings(**{**STILL, **values})
    return draw_movement(settings, draw_for(num_images, seed), height, width)


def change(images, seed=None, fill="mean", **values):
    movement = movement_of(len(images), *images.shape[1:3], seed=seed, **values)
    return ops.convert_to_numpy(warp(ops.cast(images, "float32"), movement, fill=fill))


def wild_movement(num_images, height, width, seed):
    return draw_movement(WILD, draw_for(num_images, seed), height, width)


def ramps(height, width):
    """Two images: the column of each pixel, and its row."""
    rows, columns = np.indices((height, width), dtype=np.float32)
    return np.stack([columns, rows])[..., None]


def centred(height, width):
    rows, columns = np.indices((height, width))
    return rows - (height - 1) / 2, columns - (width - 1) / 2


def lands_at(warped, height, width):
    """Where each output pixel took its value, `(x, y)` from the centre, read off two warped ramps."""
    return warped[0, ..., 0] - (width - 1) / 2, warped[1, ..., 0] - (height - 1) / 2


INNER = np.s_[6:-6, 8:-8]  # places whose source lies inside the image


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (5, 12, 20, 3)).astype(np.uint8)


def test_a_shift_moves_the_image_by_a_share_of_its_sides_and_fills_with_its_mean(images):
    changed = change(images, shift=0.25)  # 3 of 12 rows, 5 of 20 columns
    np.testing.assert_allclose(changed[:, :-3, :-5], images[:, 3:, 5:], atol=1e-2)
    mean = np.broadcast_to(images.mean(axis=(1, 2, 3))[:, None, None, None], images.shape)
    np.testing.assert_allclose(changed[:, -3:], mean[:, -3:], atol=1e-2)
    np.testing.assert_allclose(changed[:, :, -5:], mean[:, :, -5:], atol=1e-2)


def test_a_rotation_by_90_degrees_is_a_quarter_turn(rng):
    images = rng.integers(0, 256, (2, 16, 16, 1)).astype(np.uint8)
    np.testing.assert_allclose(change(images, rotation=90), np.rot90(images, axes=(1, 2)), atol=0.1)


def test_a_rotation_by_180_degrees_turns_an_oblong_image_upside_down(images):
    np.testing.assert_allclose(change(images, rotation=180), images[:, ::-1, ::-1], atol=0.1)


def test_a_rotation_keeps_lengths_also_when_height_and_width_differ():
    height, width = 24, 48
    x, y = lands_at(change(ramps(height, width), rotation=20), height, width)
    rows, columns = centred(height, width)
    np.testing.assert_allclose(np.hypot(x, y)[INNER], np.hypot(rows, columns)[INNER], atol=1e-2)
    angle = np.deg2rad(20)
    np.testing.assert_allclose(x[INNER], (np.cos(angle) * columns - np.sin(angle) * rows)[INNER], atol=1e-2)


def test_a_zoom_of_one_half_shows_twice_as_much():
    x, y = lands_at(change(ramps(16, 32), zoom=(0.5, 0.5)), 16, 32)
    rows, columns = centred(16, 32)
    np.testing.assert_allclose(x[5:11, 10:22], 2 * columns[5:11, 10:22], atol=1e-2)
    np.testing.assert_allclose(y[5:11, 10:22], 2 * rows[5:11, 10:22], atol=1e-2)


def test_a_shear_slants_what_is_upright():
    x, y = lands_at(change(ramps(24, 48), shear=30), 24, 48)
    rows, columns = centred(24, 48)
    np.testing.assert_allclose(x[INNER], (columns - 0.5 * rows)[INNER], atol=1e-2)
    np.testing.assert_allclose(y[INNER], (np.cos(np.deg2rad(30)) * rows)[INNER], atol=1e-2)


def test_a_perspective_shrinks_one_side_and_stretches_the_other():
    x, y = lands_at(change(ramps(24, 48), perspective=0.2), 24, 48)
    rows, columns = centred(24, 48)
    depth = 1 + 0.2 * columns / 24 + 0.2 * rows / 12
    np.testing.assert_allclose(x[INNER], (columns / depth)[INNER], atol=2e-2)
    np.testing.assert_allclose(y[INNER], (rows / depth)[INNER], atol=2e-2)


def test_a_flip_mirrors_the_image_and_a_vertical_one_turns_it_upside_down(images):
    np.testing.assert_allclose(change(images, seed=1, flip=1), images[:, :, ::-1], atol=1e-2)
    np.testing.assert_allclose(change(images, seed=1, flip_vertical=1), images[:, ::-1], atol=1e-2)


def test_a_flip_mirrors_what_the_rest_of_the_geometry_has_made(images):
    rest = {"rotation": 20, "shear": 10, "zoom": (0.8, 0.9), "perspective": 0.2}
    made = change(images, **rest)
    np.testing.assert_allclose(change(images, **rest, flip=0.5), made[:, :, ::-1], atol=0.1)
    np.testing.assert_allclose(change(images, **rest, flip_vertical=0.5), made[:, ::-1], atol=0.1)


def test_corners_that_move_inward_cut_the_rest_off():
    x, y = lands_at(change(ramps(21, 41), corners=(0, 0.2)), 21, 41)
    np.testing.assert_allclose([x[0, 0], x[0, -1], y[0, 0], y[-1, -1]], [-12, 12, -6, 6], atol=1e-2)
    rows, columns = centred(21, 41)
    np.testing.assert_allclose(x, 0.6 * columns, atol=1e-2)  # all four by the same share is a zoom
    np.testing.assert_allclose(y, 0.6 * rows, atol=1e-2)


def test_each_corner_of_the_new_image_shows_the_place_that_was_drawn_for_it():
    class Inset(LargestDraw):
        def uniform(self, low, high, *shape):
            own = np.array([[[0, 0], [0.1, 0.2], [0.2, 0.1], [0.05, 0.3]]])
            return ops.convert_to_tensor(own, "float32") if shape == (4, 2) else super().uniform(low, high, *shape)

    corners = np.array([[[0, 0], [40, 0], [40, 20], [0, 20]]], "float32")
    expected = np.array([[[0, 0], [36, 4], [32, 18], [2, 14]]])
    for shift in (0, 0.1):  # what the corners leave of the image is shifted as a whole
        settings = AugmentationSettings(**{**STILL, "shift": shift}, corners=(0, 0.3))
        movement = draw_movement(settings, Inset(1, random.SeedGenerator(0)), 21, 41)
        shown = expected + [shift * 41, shift * 21]
        np.testing.assert_allclose(source_points(corners, movement), shown, atol=1e-3)


def test_a_bend_that_is_the_same_everywhere_is_a_shift():
    bent = change(ramps(20, 40), elastic=(0.02, 0.025))  # two deviations of 2.5 %: 2 columns, 1 row
    x, y = lands_at(bent, 20, 40)
    rows, columns = centred(20, 40)
    np.testing.assert_allclose(x[2:-2, 3:-3], columns[2:-2, 3:-3] + 2, atol=1e-2)
    np.testing.assert_allclose(y[2:-2, 3:-3], rows[2:-2, 3:-3] + 1, atol=1e-2)


def test_a_bend_runs_straight_from_node_to_node():
    bends = np.zeros((1, 3, 3, 2), "float32")
    bends[0, 1, 1] = 4, 2  # the middle node alone
    movement = Movement(np.eye(3, dtype="float32")[None], bends, height=9, width=17)
    places = np.array([[[8, 4], [4, 4], [8, 2], [4, 2], [0, 4], [16, 8], [-5, 4]]], "float32")
    expected = places + np.array([[4, 2], [2, 1], [2, 1], [1, 0.5], [0, 0], [0, 0], [0, 0]])
    np.testing.assert_allclose(source_points(places, movement), expected, atol=1e-5)


def test_the_grid_of_pixels_is_that_of_the_points():
    movement = wild_movement(3, 14, 22, seed=5)
    columns, rows = np.meshgrid(np.arange(22, dtype="float32"), np.arange(14, dtype="float32"))
    points = np.repeat(np.stack([columns, rows], axis=-1).reshape(1, -1, 2), 3, axis=0)
    grid = ops.convert_to_numpy(source_grid(movement)).reshape(3, -1, 2)
    np.testing.assert_allclose(grid, source_points(points, movement), atol=1e-3)


@pytest.mark.parametrize("fill", ["mean", "edge", "zero"])
def test_gathering_neighbours_gives_what_the_kernel_of_the_backend_gives(images, fill):
    movement = movement_of(5, 12, 20, seed=3, rotation=40, zoom=(0.6, 0.9), perspective=0.1)
    pixels = ops.cast(images, "float32")
    mean = ops.mean(pixels, axis=(1, 2, 3), keepdims=True) if fill == "mean" else 0.0
    gathered = sample(pixels - mean, source_grid(movement), edge=fill == "edge") + mean
    np.testing.assert_allclose(gathered, warp(pixels, movement, fill=fill), atol=0.1)


def test_what_lies_beyond_the_edge_is_black_or_the_edge(images):
    for values in ({"shift": 0.25}, {"shift": 0.25, "elastic": (0, 1e-6)}):  # each of the two ways to read pixels
        black, edge = (change(images, fill=fill, **values) for fill in ("zero", "edge"))
        np.testing.assert_allclose(black[:, -3:], 0, atol=1e-2)
        np.testing.assert_allclose(black[:, :-3, :-5], images[:, 3:, 5:], atol=1e-1)
        np.testing.assert_allclose(edge[:, -3:, :-5], np.repeat(images[:, -1:, 5:], 3, axis=1), atol=1e-1)


def test_the_values_of_a_mask_do_not_mix(rng):
    masks = (3 * rng.integers(0, 3, (6, 24, 24, 1))).astype(np.float32)
    for movement in (wild_movement(6, 24, 24, seed=2), movement_of(6, 24, 24, seed=2, rotation=30)):
        moved = ops.convert_to_numpy(warp(masks, movement, fill="zero", interpolation="nearest"))
        assert set(np.unique(moved)) <= {0, 3, 6}
        assert not np.array_equal(moved, masks)


@given(seed=st.integers(1, 10_000))
@settings(max_examples=12)
def test_a_painted_dot_ends_where_move_points_says(seed):
    height, width = 64, 128
    rng = np.random.default_rng(seed)
    points = rng.uniform([40, 20], [width - 40, height - 20], (4, 1, 2)).astype("float32")
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(columns - points[..., :1], rows - points[..., 1:])
    dots = 255 * np.exp(-0.5 * (distance / 2) ** 2)[..., None].astype("float32")
    movement = wild_movement(4, height, width, seed)
    moved = ops.convert_to_numpy(warp(dots, movement, fill="zero"))[..., 0]
    predicted = ops.convert_to_numpy(move_points(points, movement))[:, 0]
    inside = ((predicted > 8) & (predicted < [width - 8, height - 8])).all(axis=1)
    weight = moved[inside].sum(axis=(1, 2))
    centre = np.stack([(moved[inside] * axis).sum(axis=(1, 2)) / weight for axis in (columns, rows)], axis=-1)
    np.testing.assert_allclose(centre, predicted[inside], atol=1)


@given(seed=st.integers(1, 10_000))
@settings(max_examples=12)
def test_points_moved_and_asked_for_again_are_where_they_were(seed):
    points = np.random.default_rng(seed).uniform([0, 0], [127, 63], (5, 7, 2)).astype("float32")
    before = points.copy()
    movement = wild_movement(5, 64, 128, seed)
    np.testing.assert_allclose(source_points(move_points(points, movement), movement), points, atol=0.1)
    assert np.array_equal(points, before)


def test_a_missing_point_stays_missing_and_alone():
    points = np.array([[[np.nan, np.nan], [30, 20]]], "float32")
    for movement in (wild_movement(1, 64, 128, seed=4), movement_of(1, 64, 128, seed=4, rotation=10)):
        moved = ops.convert_to_numpy(move_points(points, movement))
        assert np.isnan(moved[0, 0]).all()
        assert np.isfinite(moved[0, 1]).all()


def test_a_flip_moves_a_box_to_the_other_side():
    movement = movement_of(1, 20, 40, seed=1, flip=1)
    boxes = np.array([[[2, 3, 10, 5], [0, 0, 40, 20]]], "float32")
    np.testing.assert_allclose(move_boxes(boxes, movement), [[[28, 3, 10, 5], [0, 0, 40, 20]]], atol=1e-4)


def test_a_turned_box_grows_to_the_hull_of_its_corners():
    movement = movement_of(1, 41, 41, rotation=45)
    boxes = np.array([[[10.5, 10.5, 20, 20]]], "float32")  # around the centre
    half = 10 * np.sqrt(2)
    np.testing.assert_allclose(
        move_boxes(boxes, movement), [[[20.5 - half, 20.5 - half, 2 * half, 2 * half]]], atol=1e-3
    )


def test_a_bend_pushes_the_middle_of_an_edge_out():
    bends = np.zeros((1, 3, 3, 2), "float32")
    bends[0, 0, 1] = 0, 2  # the upper mid-point of the image shows what lies two pixels lower
    movement = Movement(np.eye(3, dtype="float32")[None], bends, height=21, width=41)
    x, y, width, height = ops.convert_to_numpy(move_boxes(np.array([[[10.5, 4.5, 20, 10]]], "float32"), movement))[0, 0]
    assert (x, width, y + height) == pytest.approx((10.5, 20, 14.5), abs=0.05)  # the lower edge lies on the next node
    assert y == pytest.approx(4.5 - 1.5, abs=0.05)  # (2 - y / 5) lower: y + 2 - y / 5 = 4


def test_a_box_is_the_hull_of_its_moved_points(rng):
    movement = wild_movement(6, 64, 128, seed=11)
    boxes = np.concatenate([rng.uniform(10, 30, (6, 2, 2)), rng.uniform(5, 30, (6, 2, 2))], axis=-1).astype("float32")
    hulls = ops.convert_to_numpy(move_boxes(boxes, movement))
    for share in ([0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]):
        moved = ops.convert_to_numpy(move_points(boxes[..., :2] + boxes[..., 2:] * share - 0.5, movement)) + 0.5
        assert (moved >= hulls[..., :2] - 1e-3).all()
        assert (moved <= hulls[..., :2] + hulls[..., 2:] + 1e-3).all()


def test_without_any_geometry_nothing_moves():
    movement = movement_of(3, 12, 20, seed=1)
    np.testing.assert_allclose(movement.matrices, np.tile(np.eye(3), (3, 1, 1)), atol=1e-6)
    assert movement.bends is None


@pytest.mark.parametrize(
    "values",
    [
        {"rotation": 1}, {"shear": 1}, {"zoom": (0.9, 1)}, {"shift": 0.1}, {"shift": (0, 0.1)}, {"perspective": 0.1},
        {"corners": (-0.1, 0)}, {"elastic": (0, 0.01)}, {"flip": 0.1}, {"flip_vertical": 0.1},
    ],
)  # fmt: skip
def test_every_part_of_the_geometry_counts_as_a_movement(values):
    assert moves(AugmentationSettings(**{**STILL, **values}))
    assert not moves(AugmentationSettings(**STILL))


def test_both_axes_zoom_alike_where_they_go_together():
    for axes in ("together", "each"):
        matrices = np.asarray(movement_of(50, 20, 40, seed=1, zoom=(0.5, 2), zoom_axes=axes).matrices)
        assert np.allclose(matrices[:, 0, 0], matrices[:, 1, 1]) == (axes == "together")


def test_height_and_width_may_shift_by_shares_of_their_own():
    matrices = np.asarray(movement_of(400, 20, 40, seed=1, shift=(0.5, 0.1)).matrices)
    assert 3.8 < np.abs(matrices[:, 0, 2]).max() <= 4
    assert 9.5 < np.abs(matrices[:, 1, 2]).max() <= 10


def test_each_part_of_the_geometry_moves_its_share_of_the_images():
    chances = {"rotation": 0.3, "shift": 0.8}
    matrices = np.asarray(
        movement_of(2000, 20, 40, seed=7, rotation=30, shift=0.2, geometry_probability=chances).matrices
    )
    turned = np.abs(matrices[:, 0, 0] - 1) > 1e-6
    centre = matrices @ [19.5, 9.5, 1]
    shifted = np.abs(centre[:, 0] - 19.5) > 1e-3
    assert turned.mean() == pytest.approx(0.3, abs=0.04)
    assert shifted.mean() == pytest.approx(0.8, abs=0.04)
    assert (turned & shifted).mean() == pytest.approx(0.24, abs=0.04)


def test_one_share_may_hold_for_all_of_the_geometry_together():
    every = {"rotation": 30, "zoom": (0.5, 0.9), "corners": (0.1, 0.2), "elastic": (0.01, 0.02)}
    movement = movement_of(2000, 20, 40, seed=7, **every, geometry_probability={"all": 0.4})
    moved = np.abs(np.asarray(movement.matrices) - np.eye(3)).max(axis=(1, 2)) > 1e-5
    bent = np.abs(np.asarray(movement.bends)).max(axis=(1, 2, 3)) > 0
    assert moved.mean() == pytest.approx(0.4, abs=0.04)
    assert np.array_equal(moved, bent)


def test_the_share_of_a_part_counts_within_the_share_of_all():
    chances = {"all": 0.5, "rotation": 0.5}
    movement = movement_of(2000, 20, 40, seed=7, rotation=30, shift=0.2, geometry_probability=chances)
    matrices = np.asarray(movement.matrices)
    turned = np.abs(matrices[:, 0, 0] - 1) > 1e-6
    shifted = np.abs(matrices @ [19.5, 9.5, 1] - [19.5, 9.5, 1]).max(axis=1) > 1e-3
    assert turned.mean() == pytest.approx(0.25, abs=0.04)
    assert not turned[~shifted].any()
