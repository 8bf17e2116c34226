"""Tests of `siamese.blends`."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.blends import CONVERSIONS, METHODS, NEW_VOTE, Blend, Scale, convert
from siamese.errors import SiameseError
from siamese.identity_scores import IdentityScores
from siamese.open_scores import OpenScores

NAMES = np.array(["ann", "bob", "cleo"], dtype=object)
FIRST = [[0.5, 0.25, 0.0], [0.0, 0.75, 0.25]]
SECOND = [[0.25, 0.75, 0.5], [1.0, 0.25, 0.25]]


def model(scores, new, *, photo=0, names=NAMES):
    scores = np.array(scores, dtype=np.float32)
    return OpenScores(IdentityScores(names, scores, np.full(scores.shape, photo)), np.array(new, dtype=np.float64))


def two_models():
    return [model(FIRST, [0.5, 0.25], photo=1), model(SECOND, [0.25, 0.5], photo=2)]


def first_answers(scores, k=6):
    return scores.rank(np.arange(len(scores.new)), top_k=k).identities.tolist()


@st.composite
def several_models(draw, probabilities=False):
    """Two to four models of the same queries, with ties and, in the same cells, identities that may not answer."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    num_models, shape = draw(st.integers(2, 4)), (draw(st.integers(1, 4)), draw(st.integers(1, 8)))
    may_not = rng.random(shape) < 0.2
    low, high, unit = (0, 9, 8) if probabilities else (-16, 17, 4)  # eighths and quarters add up exactly
    names = np.array([f"animal{number}" for number in range(shape[1])], dtype=object)
    return [
        model(
            np.where(may_not, -np.inf, rng.integers(low, high, shape) / unit),
            rng.integers(low, high, shape[0]) / unit,
            names=names,
        )
        for _ in range(num_models)
    ]


def test_the_mean_of_two_models_is_that_worked_out_by_hand():
    blended = METHODS["mean"](two_models(), [3, 1])
    assert blended.table.scores.tolist() == [[0.4375, 0.375, 0.125], [0.25, 0.625, 0.25]]
    assert blended.new.tolist() == [0.4375, 0.3125]
    assert first_answers(blended) == [["ann", "new_individual", "bob", "cleo", "", ""]] + [
        ["bob", "new_individual", "ann", "cleo", "", ""]
    ]


def test_the_model_with_most_weight_shows_its_photo():
    assert (METHODS["mean"](two_models(), [0.45, 0.55]).table.best_image == 2).all()
    assert (METHODS["vote"](two_models(), [2, 1]).table.best_image == 1).all()


def test_the_renormalised_mean_is_that_worked_out_by_hand():
    blended = METHODS["renormalised"](two_models(), [2, 2])
    means = [0.375, 0.5, 0.25, 0.375]  # ann, bob, cleo, new
    expected = [(mean + 1e-4) / (1.5 + 4e-4) for mean in means]
    np.testing.assert_allclose([*blended.table.scores[0], blended.new[0]], expected, rtol=1e-6)


def test_votes_are_those_of_the_five_best_of_each_model():
    names = np.array(list("abcdefg"), dtype=object)
    one = model([[0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]], [0.9], names=names)
    other = model([[0.0, 0.0, 0.0, 0.0, 0.5, 0.25, 0.25]], [0.1], names=names)
    votes = METHODS["vote"]([one, other], [1, 3])
    # The five of the other are e, f, g and, of equals, a and b.
    np.testing.assert_allclose(
        votes.table.scores[0], [0.175, 0.15, 0.125, 0.1, 0.075 + 0.375, 0.1875, 0.1875], rtol=1e-6
    )
    assert votes.new.tolist() == pytest.approx([NEW_VOTE])


@pytest.mark.parametrize(
    ("conversion", "expected"),
    [
        ("none", [2.0, 0.0, -1.0, 1.0]),
        ("probability", [1 / (1 + math.exp(-5)), 1 / (1 + math.exp(-1)), 1 / (1 + math.e), 1 / (1 + math.exp(-3))]),
        ("softmax", [math.exp(x) / sum(map(math.exp, (10, 2, -2, 6))) for x in (10, 2, -2, 6)]),
        ("rank", [1, 1 / 3, 1 / 4, 1 / 2]),
        (
            "triple_log",
            [1 / (1 + math.log(1 + math.log(1 + math.log(1 + math.exp(-odds))))) for odds in (5, 1, -1, 3)],
        ),
    ],
)
def test_each_conversion_gives_the_numbers_worked_out_by_hand(conversion, expected):
    found = convert(model([[2.0, 0.0, -1.0]], [1.0]), conversion, Scale(slope=2, intercept=1, temperature=2))
    np.testing.assert_allclose([*found.table.scores[0], found.new[0]], expected, rtol=1e-6)


def test_equals_share_the_better_rank():
    found = convert(model([[2.0, 2.0, 1.0]], [1.0]), "rank", Scale())
    np.testing.assert_allclose([*found.table.scores[0], found.new[0]], [1, 1, 1 / 3, 1 / 3], rtol=1e-6)


def by_loop(method, models, weights):
    """Blends cell by cell."""
    total = sum(weights)
    num_queries, num_names = models[0].table.scores.shape
    cells = np.empty((num_queries, num_names + 1))
    for query in range(num_queries):
        rows = [[*map(float, one.table.scores[query]), float(one.new[query])] for one in models]
        if method == "vote":
            for row in rows:
                best = sorted(range(num_names), key=lambda column: (-row[column], column))[:5]
                row[:] = [
                    (row[column] if column in best else 0.0) if row[column] > -math.inf else -math.inf
                    for column in range(num_names)
                ] + [0.185]
        for column in range(num_names + 1):
            values = [row[column] for row in rows]
            may = all(value > -math.inf for value in values)
            cells[query, column] = (
                sum(w * value for w, value in zip(weights, values, strict=True)) / total if may else -math.inf
            )
        if method == "renormalised":
            cells[query] += 1e-4
            cells[query] /= sum(cell for cell in cells[query] if cell > -math.inf)
    return cells


@given(several_models(probabilities=True), st.sampled_from(list(METHODS)), st.data())
def test_every_method_is_what_a_plain_loop_gives(models, method, data):
    weights = data.draw(st.lists(st.integers(1, 4), min_size=len(models), max_size=len(models)))
    blended = METHODS[method](models, weights)
    cells = by_loop(method, models, weights)
    np.testing.assert_allclose(blended.table.scores, cells[:, :-1], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(blended.new, cells[:, -1], rtol=1e-6)
    assert ((blended.table.best_image == -1) == (blended.table.scores == -np.inf)).all()


@given(several_models(), st.sampled_from(list(CONVERSIONS)), st.sampled_from(["mean", "renormalised", "vote"]))
def test_equal_models_give_the_ranking_of_one(models, conversion, method):
    scale = Scale(slope=0.5)
    if method != "mean" and conversion not in ("probability", "softmax"):
        return
    one = models[0]
    blended = Blend(("a", "b"), (0.5, 0.5), (scale, scale), method, conversion).of({"a": one, "b": one})
    if method == "vote":  # beyond five nobody is voted for, and the new individual has a place of its own
        known = [[name for name in row if name != "new_individual"][:5] for row in first_answers(blended, 9)]
        assert known == [[name for name in row if name != "new_individual"][:5] for row in first_answers(one, 9)]
    else:
        assert first_answers(blended, 9) == first_answers(one, 9)


@given(several_models(probabilities=True), st.sampled_from(list(METHODS)), st.randoms(use_true_random=False))
def test_the_order_of_the_models_and_the_size_of_the_weights_do_not_matter(models, method, random):
    pairs = list(zip(models, [1, 2, 1, 4], strict=False))
    blended = METHODS[method](*zip(*pairs, strict=True))
    random.shuffle(pairs)
    again = METHODS[method]([one for one, _ in pairs], [8 * weight for _, weight in pairs])
    np.testing.assert_allclose(again.table.scores, blended.table.scores, rtol=1e-6)
    if method == "mean" and len(models) == 4:  # a sum of eighths of eighths is exact, so ties stay ties
        assert first_answers(again, 9) == first_answers(blended, 9)


@given(several_models(), st.sampled_from(list(CONVERSIONS)), st.integers(0, 1))
def test_all_weight_on_one_model_gives_its_ranking(models, conversion, number):
    weights = np.eye(len(models))[number]
    scales = (Scale(slope=0.5),) * len(models)
    given = {str(place): one for place, one in enumerate(models)}
    blended = Blend(tuple(given), tuple(weights), scales, "mean", conversion).of(given)
    assert first_answers(blended, 9) == first_answers(models[number], 9)


def test_who_may_not_answer_in_one_model_may_not_in_the_blend():
    masked = model([[-np.inf, 0.25, 0.0], FIRST[1]], [0.5, -np.inf])
    for method in METHODS:
        blended = METHODS[method]([masked, two_models()[1]], [0, 1])
        assert (blended.table.scores == -np.inf).tolist() == [[True, False, False], [False] * 3]
        assert (blended.new == -np.inf).tolist() == [False, True]


@pytest.mark.parametrize("conversion", list(CONVERSIONS))
def test_a_query_that_nobody_may_answer_stays_so(conversion):
    found = convert(model([[-np.inf] * 3], [-np.inf]), conversion, Scale(slope=0.0))
    assert (found.table.scores == -np.inf).all()
    assert (found.new == -np.inf).all()


def test_the_new_individual_is_moved_beside_the_models_own_places():
    blend = Blend(("a", "b"), (0.5, 0.5), (Scale(), Scale()), new_shift=-0.125)
    assert blend.of(dict(zip("ab", two_models(), strict=True))).new.tolist() == [0.25, 0.25]


def test_many_rows_are_worked_block_by_block_with_the_same_result(rng, monkeypatch):
    names = np.array([f"animal{number}" for number in range(20)], dtype=object)
    models = {name: model(rng.random((30, 20)), rng.random(30), names=names) for name in "ab"}
    blend = Blend(("a", "b"), (0.5, 0.5), (Scale(), Scale()), "vote", "softmax")
    whole = blend.of(models)
    monkeypatch.setattr("siamese.identity_scores.BLOCK_CELLS", 50)
    blocks = blend.of(models)
    assert np.array_equal(whole.table.scores, blocks.table.scores)
    assert np.array_equal(whole.new, blocks.new)


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("conversion", ["probability", "softmax"])
def test_nothing_that_is_given_changes(method, conversion):
    models = dict(zip("ab", two_models(), strict=True))
    Blend(("a", "b"), (0.5, 0.5), (Scale(), Scale()), method, conversion).of(models)
    for one, same in zip(models.values(), two_models(), strict=True):
        assert np.array_equal(one.table.scores, same.table.scores)
        assert np.array_equal(one.table.best_image, same.table.best_image)
        assert np.array_equal(one.new, same.new)


def test_a_blend_comes_back_from_json():
    blend = Blend(("a", "b"), (0.45, 0.55), (Scale(1.5, -3.0), Scale(2.0, -1.0, 0.5)), "vote", "softmax", 0.25)
    assert Blend.from_dict(json.loads(json.dumps(blend.to_dict()))) == blend


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"weights": None}, "A blend must hold names, weights, scales, method, conversion, new_shift, as it was saved"),
        ({"taste": 1}, "A blend must hold names.*Received: .*taste"),
        ({"method": "sum"}, "one of mean, renormalised, vote after one of none.*Received: sum after none"),
    ],
)
def test_a_spoilt_blend_is_told(change, match):
    with pytest.raises(SiameseError, match=match):
        Blend.from_dict(Blend(("a",), (1.0,), (Scale(),)).to_dict() | change)


@pytest.mark.parametrize(
    ("models", "weights", "match"),
    [
        ([], [], "At least one model must be blended. Received: none"),
        (two_models(), [1], r"number from 0 on for each of the 2 models.*Received: \[1.0\]"),
        (two_models(), [1, -1], r"not all of them 0. Received: \[1.0, -1.0\]"),
        (two_models(), [0, 0], r"Received: \[0.0, 0.0\]"),
        (two_models(), [1, math.nan], r"Received: \[1.0, nan\]"),
        ([two_models()[0], model(SECOND[:1], [0.0])], [1, 1], "Received: 2 queries of model 1, 1 of model 2"),
        (
            [two_models()[0], model(SECOND, [0.0, 0.0], names=np.array(["ann", "bob", "dora"], dtype=object))],
            [1, 1],
            "must know the same identities.*Received: 'cleo' in only one of models 1 and 2",
        ),
        (
            [two_models()[0], model(SECOND, [0.0, 0.0], names=NAMES[::-1])],
            [1, 1],
            "in one order. Received: 'ann' at another place of models 1 and 2",
        ),
    ],
)
def test_what_does_not_fit_together_is_told(models, weights, match):
    for method in METHODS.values():
        with pytest.raises(SiameseError, match=match):
            method(models, weights)


@pytest.mark.parametrize("method", ["vote", "renormalised"])
@pytest.mark.parametrize(("value", "shown"), [(1.5, "1.5"), (-0.5, "-0.5")])
def test_votes_of_something_else_than_probabilities_are_refused(method, value, shown):
    odd = model([[0.0, value, 0.0]] * 2, [0.5, 0.5])
    with pytest.raises(SiameseError, match=f"must be made of probabilities. Received: {shown} of model 2"):
        METHODS[method]([two_models()[0], odd], [1, 1])


def test_a_model_too_few_is_told():
    blend = Blend(("a", "b"), (0.5, 0.5), (Scale(), Scale()))
    with pytest.raises(SiameseError, match="must hold the scores of a, b. Missing: b"):
        blend.of({"a": two_models()[0]})


def test_an_unknown_conversion_is_told():
    with pytest.raises(SiameseError, match="must be one of none, probability.*Received: cubes"):
        convert(two_models()[0], "cubes", Scale())
