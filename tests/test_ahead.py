"""Tests of `siamese.ahead`."""

import pytest

from siamese.ahead import map_ahead


@pytest.mark.parametrize("most", [1, 2, 7, 100])
def test_results_come_in_the_order_of_the_items(most):
    assert list(map_ahead(lambda item: item * item, range(20), most=most)) == [item * item for item in range(20)]
    assert list(map_ahead(abs, [], most=most)) == []


def test_no_more_items_are_begun_than_may_wait():
    begun = []
    results = map_ahead(lambda item: item, (begun.append(item) or item for item in range(50)), most=5)
    for wanted in range(3):
        assert next(results) == wanted
        assert len(begun) <= wanted + 5
    results.close()
    assert len(begun) <= 7


def test_an_error_is_raised_where_its_result_is_wanted():
    results = map_ahead(lambda item: 6 // item, [3, 2, 0, 1], most=2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
