"""Tests of `siamese.stacking`."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from siamese.catalog import Catalog
from siamese.decision import choose_threshold
from siamese.errors import SiameseError
from siamese.settings.ensemble import StackingSettings
from siamese.stacking import fit_stacking

DIMS = {"one": 6, "two": 4}


def photos(identity, seed, *, start=0, spread=0.3):
    """Photos of animals that lie about places of their own, as two models embed them."""
    identity = np.array(identity, dtype=object)
    image_ids = np.array([f"photo{start + row}" for row in range(len(identity))], dtype=object)
    rng = np.random.default_rng(seed)
    catalogs = []
    for model, dim in DIMS.items():
        places = {
            name: np.random.default_rng([*map(ord, model + name)]).normal(size=dim) for name in sorted(set(identity))
        }
        embeddings = np.array([places[name] for name in identity]) + spread * rng.normal(size=(len(identity), dim))
        catalogs.append(Catalog(image_ids, identity, embeddings.astype(np.float32), model))
    return catalogs


def catalog_and_queries(num_photos=3, num_identities=8):
    names = [f"animal{number}" for number in range(num_identities)]
    known = photos(names * num_photos + ["", ""], 1)
    asked = photos([*names, "stranger", "foreigner"], 2, start=100)
    truth = np.array([*names, "", ""], dtype=object)
    return known, asked, truth


@pytest.mark.parametrize("num_identities", [2, 8])
def test_the_scores_are_scikit_learns_log_probabilities(num_identities):
    known, asked, truth = catalog_and_queries(num_identities=num_identities)
    found = fit_stacking(known, asked, truth).scores(asked)
    named = known[0].identity != ""
    inputs, queries = (np.concatenate([part.embeddings for part in side], axis=1) for side in (known, asked))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=10, tol=1e-8, max_iter=1000))
    model.fit(inputs[named], known[0].identity[named].astype(str))
    np.testing.assert_allclose(found.table.scores, model.predict_log_proba(queries), atol=0.02)
    assert found.table.names.tolist() == model.classes_.tolist()
    assert found.table.scores.dtype == np.float32
    np.testing.assert_allclose(np.exp(found.table.scores).sum(axis=1), 1, rtol=1e-5)


def test_two_models_together_name_animals_and_strangers():
    known, asked, truth = catalog_and_queries()
    found = fit_stacking(known, asked, truth)
    assert found.has_converged
    others = photos(truth[:8].tolist() + ["nobody"], 5, start=200)
    answers = found.scores(others).rank(others[0].image_ids).identities[:, 0]
    assert answers[:8].tolist() == truth[:8].tolist()
    assert found.threshold == choose_threshold(found.scores(asked).table, truth)
    assert (found.scores(others).new == found.threshold).all()


def test_the_photo_shown_is_the_one_most_alike_by_the_mean_cosine():
    known, asked, truth = catalog_and_queries()
    found = fit_stacking(known, asked, truth).scores(asked).table
    for query in range(len(truth)):
        for column, name in enumerate(found.names):
            mine = [row for row in range(len(known[0])) if known[0].identity[row] == name]
            cosines = [
                sum(
                    float(ask.embeddings[query] @ know.embeddings[row])
                    / float(np.linalg.norm(ask.embeddings[query]) * np.linalg.norm(know.embeddings[row]))
                    for ask, know in zip(asked, known, strict=True)
                )
                for row in mine
            ]
            assert found.best_image[query, column] == mine[int(np.argmax(cosines))]


def test_photos_of_unknown_individuals_teach_nothing_and_rows_stay_those_of_the_catalog():
    known, asked, truth = catalog_and_queries()
    named = known[0].identity != ""
    order = np.argsort(named, kind="stable")  # the unknown ones first
    moved = [part.select(order) for part in known]
    table = fit_stacking(moved, asked, truth).scores(asked).table
    without = fit_stacking([part.select(named) for part in known], asked, truth).scores(asked).table
    np.testing.assert_allclose(table.scores, without.scores, atol=1e-4)
    assert np.array_equal(table.best_image, without.best_image + 2)


def test_one_photo_of_each_individual_is_enough():
    known, asked, truth = catalog_and_queries(num_photos=1, num_identities=30)
    table = fit_stacking(known, asked, truth).scores(asked).table
    assert np.mean(table.ranks_of(truth)[:30] == 1) > 0.9


def test_whom_the_protocol_forbids_does_not_answer():
    known, asked, truth = catalog_and_queries()
    allowed = np.ones((len(truth), len(known[0])), dtype=bool)
    allowed[0, known[0].identity == "animal0"] = False
    table = fit_stacking(known, asked, truth).scores(asked, allowed=allowed).table
    assert table.scores[0, 0] == -np.inf
    assert table.best_image[0, 0] == -1
    assert np.isfinite(table.scores).sum() == table.scores.size - 1


def test_a_protocol_that_parts_the_photos_of_an_individual_is_refused():
    known, asked, truth = catalog_and_queries()
    allowed = np.ones((len(truth), len(known[0])), dtype=bool)
    allowed[0, 0] = False
    with pytest.raises(SiameseError, match="All photos of an identity must be allowed.*Received: some of animal0"):
        fit_stacking(known, asked, truth).scores(asked, allowed=allowed)


def test_a_validation_query_in_the_catalog_is_refused():
    known, asked, truth = catalog_and_queries()
    inside = [
        Catalog(np.append(part.image_ids[1:], "photo3"), part.identity, part.embeddings, part.model) for part in asked
    ]
    with pytest.raises(SiameseError, match="must not stand in the catalog that taught.*Received: photo3 in both"):
        fit_stacking(known, inside, truth)


def test_a_solver_that_was_stopped_says_so():
    known, asked, truth = catalog_and_queries()
    assert not fit_stacking(known, asked, truth, settings=StackingSettings(most_steps=1)).has_converged


def test_a_number_that_never_changes_does_no_harm():
    known, asked, truth = catalog_and_queries()
    for side in (known, asked):
        side[0].embeddings[:, 0] = 0
    assert np.isfinite(fit_stacking(known, asked, truth).scores(asked).table.scores).all()


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda known, asked, truth: ([], asked, truth), "At least one model must be stacked. Received: none"),
        (
            lambda known, asked, truth: ([known[0], known[1].select(slice(1, None))], asked, truth),
            "same photos in the same order. Received: other `image_ids` of model 2",
        ),
        (
            lambda known, asked, truth: (known, asked[::-1], truth),
            "embedded by the 2 models that were stacked.*Received: two, one. Embed them by one, two",
        ),
        (lambda known, asked, truth: (known, asked[:1], truth), "Received: one. Embed them by one, two"),
        (lambda known, asked, truth: (known, asked, truth[1:]), "`truth` must hold one value per query"),
        (
            lambda known, asked, truth: ([part.select(slice(0, 1)) for part in known], asked, truth),
            "must name at least two individuals. Received: 1",
        ),
    ],
)
def test_what_does_not_fit_together_is_told(spoil, match):
    known, asked, truth = spoil(*catalog_and_queries())
    with pytest.raises(SiameseError, match=match):
        fit_stacking(known, asked, truth)


def test_nothing_that_is_given_changes():
    known, asked, truth = catalog_and_queries()
    fit_stacking(known, asked, truth).scores(asked)
    for side, same in zip((known, asked), catalog_and_queries()[:2], strict=True):
        for part, again in zip(side, same, strict=True):
            assert np.array_equal(part.embeddings, again.embeddings)
            assert np.array_equal(part.identity, again.identity)
