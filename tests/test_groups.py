"""Tests of `siamese.evaluation.groups`."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.errors import SiameseError
from siamese.evaluation.bootstrap import draw_individuals, individual_codes, interval, mean_of
from siamese.evaluation.groups import day_groups, days_to_nearest, group_table, photo_groups, quarters


def days(*texts):
    return np.array(texts, dtype="datetime64[D]")


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_each_group_has_the_mean_and_the_interval_of_its_queries_alone(seed):
    rng = np.random.default_rng(seed)
    values, groups = rng.random(20), rng.choice(np.array(["left", "right", ""], dtype=object), 20)
    identity = rng.choice(np.array(["ann", "bob", "cleo", ""], dtype=object), 20)
    table = group_table(values, groups, identity, num_draws=50).set_index("group")
    assert set(table.index) == {name or "unknown" for name in groups}
    for name, row in table.iterrows():
        kept = groups == ("" if name == "unknown" else name)
        code = individual_codes(identity[kept])
        counts = draw_individuals(code.max() + 1, num_draws=50, rng=np.random.default_rng(0))
        found = interval(mean_of(values[kept], code), counts)
        assert (row["n"], row["num_individuals"]) == (kept.sum(), len(set(code)))
        assert row["value"] == pytest.approx(values[kept].mean())
        assert row["low"] == pytest.approx(found.low, nan_ok=True)
        assert row["high"] == pytest.approx(found.high, nan_ok=True)


def test_what_was_not_measured_is_left_out():
    table = group_table([1.0, np.nan, np.nan], ["left", "left", "right"], ["ann", "bob", "cleo"])
    assert table[["group", "n"]].to_numpy().tolist() == [["left", 1], ["right", 0]]
    assert table["value"].iloc[0] == 1.0
    assert np.isnan(table["value"].iloc[1])


def test_groups_keep_their_order_and_unknown_comes_last():
    groups = photo_groups(np.array([12, 2, 2, 0]))
    assert group_table(np.ones(4), groups, list("abcd"))["group"].tolist() == ["none (new)", "2", "over 10"]
    table = group_table(np.ones(3), day_groups([np.nan, 40, 2]), list("abc"))
    assert table["group"].tolist() == ["1 to 7 days", "31 to 365 days", "unknown"]


def test_the_edges_of_the_groups_fall_as_they_say():
    assert list(photo_groups([0, 1, 2, 3, 5, 6, 10, 11])) == [
        "none (new)", "1", "2", "3 to 5", "3 to 5", "6 to 10", "6 to 10", "over 10",
    ]  # fmt: skip
    assert list(day_groups([0, 1, 7, 8, 30, 31, 365, 366])) == [
        "same day", "1 to 7 days", "1 to 7 days", "8 to 30 days", "8 to 30 days",
        "31 to 365 days", "31 to 365 days", "over a year",
    ]  # fmt: skip


def test_quarters_hold_a_quarter_each_and_nan_is_unknown(rng):
    found = quarters(np.append(rng.permutation(40).astype(float), np.nan))
    assert pd.Series(found).value_counts().to_dict() == {
        "lowest quarter": 10, "second quarter": 10, "third quarter": 10, "highest quarter": 10, "": 1,
    }  # fmt: skip
    assert list(quarters([np.nan])) == [""]


@settings(max_examples=30)
@given(st.integers(0, 1000))
def test_the_nearest_photo_is_what_a_plain_loop_finds(seed):
    rng = np.random.default_rng(seed)
    names = np.array(["ann", "bob", ""], dtype=object)
    identity, catalog = rng.choice(names, 6), rng.choice(names, 9)
    asked, known = (np.datetime64("2020-01-01") + rng.integers(0, 900, size) for size in (6, 9))
    asked[rng.random(6) < 0.2] = np.datetime64("NaT")
    known[rng.random(9) < 0.2] = np.datetime64("NaT")
    allowed = rng.random((6, 9)) < 0.6
    expected = []
    for query in range(6):
        gaps = [
            abs(int((known[photo] - asked[query]).astype(int)))
            for photo in range(9)
            if identity[query] and catalog[photo] == identity[query] and allowed[query, photo]
            and not np.isnat(known[photo]) and not np.isnat(asked[query])
        ]  # fmt: skip
        expected.append(min(gaps) if gaps else np.nan)
    np.testing.assert_array_equal(days_to_nearest(identity, asked, catalog, known, allowed=allowed), expected)


def test_dates_stay_as_they_are():
    asked, known = days("2020-01-01"), days("2020-01-03")
    assert days_to_nearest(["ann"], asked, ["ann"], known).tolist() == [2.0]
    assert (asked, known) == (days("2020-01-01"), days("2020-01-03"))


def test_groups_of_another_length_are_told():
    with pytest.raises(SiameseError, match=r"`groups` must hold one value per query, shape \(2,\)"):
        group_table([1.0, 2.0], ["left"], ["ann", "bob"])
    with pytest.raises(SiameseError, match="one entry per query"):
        group_table([1.0], ["left"], ["ann", "bob"])
