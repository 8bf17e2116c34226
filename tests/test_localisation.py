"""Tests of `siamese.evaluation.localisation`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import SiameseError
from siamese.evaluation.localisation import box_diagonals, box_iou, landmark_distances, share_within

boxes = st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(1, 8), st.integers(1, 8))


def pixels_of(box):
    x, y, width, height = box
    return {(column, row) for column in range(x, x + width) for row in range(y, y + height)}


def test_overlap_is_counted_by_hand():
    right = [[0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 4]]
    found = [[0, 0, 4, 4], [4, 0, 4, 4], [1, 1, 2, 2], [0, 2, 4, 4]]
    assert box_iou(right, found).tolist() == [1.0, 0.0, 4 / 16, 8 / 24]


@given(st.lists(st.tuples(boxes, boxes), min_size=1, max_size=10))
def test_overlap_is_that_of_the_pixels(pairs):
    right, found = zip(*pairs, strict=True)
    expected = [len(pixels_of(a) & pixels_of(b)) / len(pixels_of(a) | pixels_of(b)) for a, b in pairs]
    assert box_iou(right, found) == pytest.approx(np.array(expected))
    assert box_iou(found, right) == pytest.approx(np.array(expected))


@given(st.lists(st.tuples(boxes, boxes), min_size=1, max_size=10), st.floats(-50, 50), st.floats(0.1, 20))
def test_overlap_does_not_depend_on_place_and_scale(pairs, shift, scale):
    right, found = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    moved = [side * scale + [shift, shift, 0, 0] for side in (right, found)]
    assert box_iou(*moved) == pytest.approx(box_iou(right, found), abs=1e-9)


def test_an_unknown_box_has_no_overlap():
    assert np.isnan(box_iou([[0, 0, 1, 1]], [[np.nan] * 4])).tolist() == [True]


def test_distances_are_counted_by_hand():
    right = np.array([[[0.0, 0.0], [10.0, 10.0]], [[5.0, 5.0], [np.nan, np.nan]]])
    found = np.array([[[3.0, 4.0], [10.0, 12.0]], [[5.0, 5.0], [1.0, 1.0]]])
    np.testing.assert_array_equal(landmark_distances(right, found), [[5, 2], [0, np.nan]])
    np.testing.assert_array_equal(landmark_distances(right, found, [10.0, 2.0]), [[0.5, 0.2], [0, np.nan]])


@given(st.integers(0, 1000))
def test_distances_over_the_diagonal_do_not_depend_on_scale(seed):
    rng = np.random.default_rng(seed)
    right, found = rng.normal(size=(2, 5, 4, 2)) * 30
    area = np.column_stack([np.zeros((5, 2)), rng.uniform(1, 9, (5, 2))])
    plain = landmark_distances(right, found, box_diagonals(area))
    loop = [
        [np.linalg.norm(right[i, k] - found[i, k]) / np.linalg.norm(area[i, 2:]) for k in range(4)] for i in range(5)
    ]
    np.testing.assert_allclose(plain, loop)
    np.testing.assert_allclose(landmark_distances(3 * right, 3 * found, box_diagonals(3 * area)), plain)


def test_what_was_not_found_lies_within_no_limit():
    assert share_within([[0.1, 0.2], [np.nan, 0.3]], [0.1, 0.25, 9.0]).tolist() == [0.25, 0.5, 0.75]
    assert np.isnan(share_within([], [0.1])).all()


def test_the_callers_arrays_stay_as_they_are():
    right, found = np.array([[0, 0, 2, 2]]), np.array([[1, 1, 2, 2]])
    box_iou(right, found)
    assert (right.tolist(), found.tolist()) == ([[0, 0, 2, 2]], [[1, 1, 2, 2]])


@pytest.mark.parametrize(
    ("right", "found", "message"),
    [
        ([[0, 0, 1, 1]], [[0, 0, 1, 1]] * 2, "for the same photos. Received: 1 and 2"),
        ([[0, 0, 1, 1], [0, 0, 0, 1]], [[0, 0, 1, 1]] * 2, r"`y_true` .* row 1 is \[0.0, 0.0, 0.0, 1.0\]"),
        ([[0, 0, 1, 1]], [[0, 0, 1]], r"`y_pred` must be boxes .* Received: shape \(1, 3\)\."),
    ],
)
def test_other_boxes_are_told(right, found, message):
    with pytest.raises(SiameseError, match=message):
        box_iou(right, found)


def test_landmarks_of_two_shapes_are_told():
    with pytest.raises(SiameseError, match=r"one shape, \(number, num_landmarks, 2\). Received: shapes \(1, 2, 2\)"):
        landmark_distances(np.zeros((1, 2, 2)), np.zeros((1, 3, 2)))


def test_a_size_of_nothing_is_told():
    with pytest.raises(SiameseError, match=r"`size` must hold a number above 0 for each photo, shape \(1,\)"):
        landmark_distances(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), size=[0.0])
