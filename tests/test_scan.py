"""Tests of `siamese.decision.scan`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.decision import choose_threshold, scan_thresholds
from siamese.identity_scores import NEW_INDIVIDUAL, identity_scores
from siamese.ranking import rank_identities
from tests.test_ranking import score_tables

NAMES = np.array(["ann", "bob"], dtype=object)


def map_by_loops(table, truth, threshold, top_k):
    """MAP@k from the rankings themselves, one query after the other."""
    ranking = rank_identities(table, query_ids=np.arange(len(truth)), threshold=threshold, top_k=top_k)
    gains = []
    for query, name in enumerate(truth):
        if name in table.names and table.scores[query, table.names.tolist().index(name)] == -np.inf:
            continue  # nothing that could be right may answer
        right = name if name in table.names else NEW_INDIVIDUAL
        row = ranking.identities[query].tolist()
        gains.append(1 / (row.index(right) + 1) if right in row else 0.0)
    return sum(gains) / max(1, len(gains))


def all_cuts(table):
    finite = np.unique(table.scores[np.isfinite(table.scores)]).astype(np.float64)
    return [*(score for edge in finite for score in (edge - 0.25, edge, edge + 0.25)), -99.0, 99.0]


def test_the_threshold_lies_halfway_between_known_and_new():
    table = identity_scores(np.array([[8.0, 0.0], [6.0, 7.0], [2.0, 1.0]]), NAMES)
    assert choose_threshold(table, ["ann", "bob", ""]) == 4.5


def test_map_is_written_out_for_every_threshold():
    table = identity_scores(np.array([[4.0, 3.0], [2.0, 1.0]]), NAMES)
    scan = scan_thresholds(table, ["bob", ""])
    assert scan.cuts.tolist() == [1.0, 2.0, 3.0]
    # up to 1: bob second, new third; up to 2: new second; up to 3: new first; above: bob third
    np.testing.assert_allclose(
        scan.values, [(1 / 2 + 1 / 3) / 2, (1 / 2 + 1 / 2) / 2, (1 / 2 + 1) / 2, (1 / 3 + 1) / 2]
    )
    np.testing.assert_allclose(scan.at(np.array([3.0, 3.1])), [0.75, 2 / 3])


@settings(deadline=None)
@given(score_tables(), st.integers(1, 5))
def test_the_scan_agrees_with_rankings_at_any_threshold(table, top_k):
    scores, catalog, allowed, truth = table
    by_identity = identity_scores(scores, catalog, allowed=allowed)
    scan = scan_thresholds(by_identity, truth, top_k=top_k)
    for threshold in all_cuts(by_identity):
        assert scan.at(threshold) == pytest.approx(map_by_loops(by_identity, truth, threshold, top_k), abs=1e-9)


@settings(deadline=None)
@given(score_tables())
def test_no_threshold_beats_the_chosen_one(table):
    scores, catalog, allowed, truth = table
    by_identity = identity_scores(scores, catalog, allowed=allowed)
    chosen = map_by_loops(by_identity, truth, choose_threshold(by_identity, truth), 5)
    assert chosen >= max(map_by_loops(by_identity, truth, cut, 5) for cut in all_cuts(by_identity)) - 1e-9


def test_of_equally_good_thresholds_the_middle_of_the_widest_stretch_is_chosen():
    # known queries at 10 and 1, new ones at 2 and 0: thresholds from 0 to 1 and from 2 to 10 are equally good
    table = identity_scores(np.array([[10.0], [1.0], [2.0], [0.0]]), NAMES[:1])
    assert choose_threshold(table, ["ann", "ann", "", ""]) == 6.0


def test_a_threshold_between_scores_is_preferred_to_one_beyond_all_of_them():
    # known queries at 0 and 2, a new one at 1: thresholds up to 0 and from 1 to 2 are equally good
    table = identity_scores(np.array([[0.0], [2.0], [1.0]]), NAMES[:1])
    assert choose_threshold(table, ["ann", "ann", ""]) == 1.5


def test_a_threshold_between_neighbouring_floats_still_parts_them():
    high = np.float32(1.0)
    low = np.nextafter(high, np.float32(0))
    table = identity_scores(np.array([[high], [low]]), NAMES[:1])
    assert float(low) < choose_threshold(table, ["ann", ""]) <= float(high)


def test_an_identity_that_the_catalog_lacks_counts_as_new():
    table = identity_scores(np.array([[8.0, 0.0], [2.0, 1.0]]), NAMES)
    assert choose_threshold(table, ["ann", "zoe"]) == choose_threshold(table, ["ann", ""])
