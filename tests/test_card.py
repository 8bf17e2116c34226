"""Tests of `siamese.report.card` and of the words on the page."""

import numpy as np
import pandas as pd
import pytest

from siamese.evaluation.measures import measure_all
from siamese.report.card import card_text, versions
from siamese.report.words import cautions, plain_summary
from siamese.settings import Settings
from tests.test_evaluate import decision, evaluated


@pytest.fixture(scope="module")
def table():
    return measure_all(evaluated(), num_draws=200)


def card(table, split=("train", "test", "train", "test"), **changed):
    return card_text(
        identity=np.array(["ann", "ann", "bob", ""], dtype=object),
        split=np.array(split, dtype=object),
        fingerprint="0123456789abcdef0123",
        settings=Settings(),
        decision={**decision().to_dict(), "match_cuts": [1, 2]},
        table=table,
        metrics={**evaluated().metrics, **changed},
    )


def test_the_card_tells_data_rule_thresholds_limits_and_versions(table):
    text = card(table)
    assert text.startswith("# Model card\n\nTells individuals apart by photo")
    for sentence in (
        "- 4 photos, 2 individuals by name; 1 without a name.",
        "- test: 2 photos of 1 individuals.",
        "- train: 2 photos of 2 individuals.",
        "- Fingerprint of the stored photos: 0123456789abcdef.",
        "- Score of an individual from those of its photos: max (settings.yaml",
        "- Best score under which an animal is called new: 5.",
        "- Score from which two photos are called the same animal: 1.",
        "- Thresholds hold for photos like those of the validation",
        "- No date, place, sex or age enters a score.",
        f"- numpy {np.__version__}",
    ):
        assert sentence in text
    assert "\n\n\n" not in text
    assert "match cuts" not in text.lower()


def test_the_card_says_what_was_not_measured(table):
    assert "No test photo showed a new individual" not in card(table)
    assert "No test photo showed a new individual" in card(table, num_new=0)
    assert "12 photos could not be read" in card(table, num_quarantined=12)


def test_the_card_says_where_the_validation_shows_animals_that_were_trained_on(table):
    warned = "The validation photos show animals that also trained the model."
    assert warned in card(table, split=("train", "validation", "train", "test"))
    assert warned not in card(table, split=("train", "train", "validation", "validation"))


def test_a_rate_that_was_not_measured_is_left_out(table):
    assert "Share of pairs of different animals" not in card(table)


def test_versions_hold_python_and_the_packages():
    found = versions()
    assert found["numpy"] == np.__version__
    assert list(found)[:3] == ["python", "siamese", "keras"]


def test_the_summary_counts_in_hundreds(table):
    metrics = {**evaluated().metrics, "baselines": {"nearest_pixels": {"top1": 0.284}}}
    words = plain_summary(table, metrics)
    assert words.startswith(
        "The model was asked who is on 5 photos that took no part in its training: 3 of animals in its catalog, 2 of "
        "others. The catalog holds 3 animals. Of 100 photos of animals in the catalog, the animal found most alike was "
        "the right one for 67 (95 % interval: "
    )
    for sentence in (
        ", and the right one was among the five most alike for 100",
        "answers new individual: rightly for 50 of 100 photos of animals that the catalog does not hold",
        ", and by mistake for 33 of 100 photos of animals that it holds",
        "All in all the first answer was right for 40 of 100 (95 %",
        "Comparing the pixels alone would have found the right animal for 28 of 100.",
    ):
        assert sentence in words


def test_the_summary_calls_nothing_certain_that_is_not():
    table = pd.DataFrame({"metric": ["top1"], "value": [0.997], "low": [0.992], "high": [1.0]})
    words = plain_summary(table, {"num_queries": 1, "num_known": 1, "num_identities": 1, "num_new": 0})
    assert words == (
        "The model was asked who is on 1 photo that took no part in its training: all of animals in its catalog. "
        "The catalog holds 1 animal. Of 100 photos of animals in the catalog, the animal found most alike was the "
        "right one for over 99 (95 % interval: over 99 to 100)."
    )


def test_the_summary_passes_over_what_was_not_measured():
    nothing = pd.DataFrame({"metric": ["top1"], "value": [np.nan], "low": [np.nan], "high": [np.nan]})
    words = plain_summary(nothing, {"num_queries": 2, "num_known": 0, "num_identities": 3, "num_new": 2})
    assert words == (
        "The model was asked who is on 2 photos that took no part in its training: none of an animal in its catalog. "
        "The catalog holds 3 animals."
    )


def test_few_photos_are_told(table):
    rough = [sentence for sentence in cautions(table, evaluated().metrics) if "rough" in sentence]
    assert rough == [
        "It was asked about only 3 photos of animals in the catalog: what is said of them is rough.",
        "It was asked about only 2 photos of animals that the catalog does not hold: what is said of them is rough.",
    ]
    none = table.assign(num=table["num"].where(table["of"] != "new queries", 0))
    assert cautions(none, evaluated().metrics)[-1] == (
        "It was asked about no photo of animals that the catalog does not hold: how well it does there is not known."
    )
    many = table.assign(num=1000)
    assert not any("rough" in sentence for sentence in cautions(many, evaluated().metrics))


def test_an_interval_without_width_is_left_out():
    table = pd.DataFrame({"metric": ["first_right"], "value": [1.0], "low": [1.0], "high": [1.0]})
    words = plain_summary(table, {"num_queries": 3, "num_known": 3, "num_identities": 2, "num_new": 0})
    assert words.endswith("All in all the first answer was right for 100 of 100.")
