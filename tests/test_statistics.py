import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.checks.statistics import date_statistics, identity_statistics, photo_statistics, spread, telling_sizes

REAL = Path(os.environ.get("SIAMESE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
HUMPBACK = REAL / "humpback" / "metadata" / "train.csv"


def test_photos_per_individual_are_counted_by_hand():
    found = identity_statistics(["Mara"] * 6 + ["Tano"] * 2 + ["Zuri", "Leto"] + [""] * 3)
    assert found == {
        "num_rows": 13,
        "num_unknown": 3,
        "num_identities": 4,
        "photos_per_identity": {"1": 2, "2": 1, "6": 1},
        "cumulated": {"1": 0.5, "2": 0.75, "6": 1.0},
        "single": 2,
        "single_share": 0.5,
        "under_six_share": 0.75,
        "mean": 2.5,
        "median": 1.5,
        "largest": {"identity": "Mara", "num_photos": 6},
    }


def test_unknown_individuals_alone_have_no_shares():
    found = identity_statistics(["", ""])
    assert (found["num_identities"], found["single_share"], found["largest"]) == (0, None, None)


@given(st.lists(st.sampled_from(["", "a", "b", "c", "d"])))
def test_photos_per_individual_add_up(identity):
    found = identity_statistics(identity)
    photos = {int(size): count for size, count in found["photos_per_identity"].items()}
    assert sum(photos.values()) == found["num_identities"] == len(set(identity) - {""})
    assert sum(size * count for size, count in photos.items()) == found["num_rows"] - found["num_unknown"]


@pytest.mark.skipif(not HUMPBACK.is_file(), reason="the labels of the humpback challenge are not here")
def test_the_tables_of_the_overview_report_come_out():
    found = identity_statistics(pd.read_csv(HUMPBACK)["Id"].replace("new_whale", ""))
    assert (found["num_rows"], found["num_unknown"], found["num_identities"]) == (25_361, 9_664, 5_004)
    assert [found["photos_per_identity"][str(n)] for n in range(1, 8)] == [2073, 1285, 568, 273, 172, 136, 86]
    assert (found["single"], found["largest"]["num_photos"]) == (2073, 73)
    assert (found["single_share"], found["under_six_share"]) == (2073 / 5004, 4371 / 5004)


@pytest.mark.skipif(not HUMPBACK.is_file(), reason="the labels of the humpback challenge are not here")
def test_the_shares_the_overview_report_prints_count_new_whale_as_one_individual():
    found = identity_statistics(pd.read_csv(HUMPBACK)["Id"])
    assert found["num_identities"] == 5_005
    assert f"{found['single_share']:.1%} {found['under_six_share']:.1%}" == "41.4% 87.3%"


def facts(**columns):
    table = {"reason": ["", "", "", "cut short"], "width": [400, 400, 300, 0], "height": [200, 200, 300, 0]}
    table |= {"grey": [True, False, False, False], "contrast": [10.0, 20.0, 60.0, 0.0]}
    table |= {
        "kind": ["JPEG", "JPEG", "PNG", ""],
        "mode": ["L", "RGB", "RGB", ""],
        "notes": ["", "cmyk;16 bits", "cmyk", ""],
    }
    return pd.DataFrame(table | columns)


def test_unreadable_files_take_no_part_in_the_measures():
    found = photo_statistics(facts())
    assert (found["num_files"], found["num_unreadable"]) == (4, 1)
    assert found["grey_share"] == pytest.approx(1 / 3)
    assert found["contrast"]["mean"] == 30
    assert found["contrast"]["percentiles"]["0"] == 10
    assert found["kinds"] == {"JPEG": 2, "PNG": 1}
    assert found["modes"] == {"RGB": 2, "L": 1}
    assert found["notes"] == {"cmyk": 2, "16 bits": 1}


def test_the_commonest_size_comes_first():
    sizes = photo_statistics(facts())["sizes"]
    assert sizes["commonest"][0] == {"width": 400, "height": 200, "num_files": 2}
    assert (sizes["num_different"], sizes["aspect"]["percentiles"]["100"]) == (2, 2.0)


def test_facts_of_a_hash_list_have_no_measures():
    assert set(photo_statistics(pd.DataFrame({"path": ["a"], "reason": [""]}))) == {"num_files", "num_unreadable"}


def test_facts_without_a_readable_file_are_counted():
    found = photo_statistics(facts(reason="cut short"))
    assert found["num_unreadable"] == 4
    assert found["grey_share"] is None
    json.dumps(found, allow_nan=False)


def test_the_facts_are_unchanged():
    given_facts = facts()
    photo_statistics(given_facts)
    pd.testing.assert_frame_equal(given_facts, facts())


def test_a_histogram_counts_every_finite_value(rng):
    values = np.append(rng.normal(size=200), [np.nan, np.inf])
    found = spread(pd.Series(values))
    assert sum(found["histogram"]["counts"]) == found["num_files"] == 200
    json.dumps(found, allow_nan=False)


def test_dates_are_counted_by_month_in_order():
    found = date_statistics(["2020-01-05", "2019-12-31T23:59:59", "", "2019-12-01", "summer"])
    assert found["by_month"] == {"2019-12": 2, "2020-01": 1}
    assert (found["num_dated"], found["first"], found["last"]) == (3, "2019-12-01", "2020-01-05")


def test_no_date_is_told_as_none():
    assert date_statistics(["", ""]) == {"num_dated": 0, "first": None, "last": None, "by_month": {}}


def test_a_size_tells_an_individual_if_nobody_else_has_it():
    identity = np.array(["Mara", "Mara", "Tano", "Tano", "Zuri", ""], dtype=object)
    width, height = np.array([9, 9, 9, 7, 5, 5]), np.array([6, 6, 5, 5, 5, 5])
    assert telling_sizes(identity, width, height) == {"num_photos": 4, "num_telling": 2}
    shared = telling_sizes(identity, np.full(6, 9), np.full(6, 6))
    assert shared == {"num_photos": 4, "num_telling": 0}
    assert telling_sizes(identity, np.zeros(6, int), np.zeros(6, int)) == {"num_photos": 0, "num_telling": 0}
