"""Numbers by their number: the published sequence, and no trace of the order of events."""

import numpy as np
import pytest
from scipy import stats

from mammo_utils.data.draws import hashed, uniform

# The first outputs of SplitMix64 from state 0, as published with the algorithm.
PUBLISHED = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_the_published_sequence():
    assert int(hashed(0)[0]) == PUBLISHED[0]
    numbers = uniform(np.zeros(1, np.uint64), 2)[0]
    assert list(numbers) == [(value >> 11) / 2**53 for value in PUBLISHED[1:]]


def test_a_part_more_another_order_or_sign_is_another_number():
    parts = [(), (0,), (0, 0), (0, 1), (1, 0), (1, 1), (-1, 0), (0, -1), (2**40, 0), (0, 2**40)]
    assert len({int(hashed(*p)[0]) for p in parts[1:]}) == len(parts) - 1


def test_an_array_gives_what_each_of_its_numbers_gives():
    assert [int(hashed(3, row)[0]) for row in (9, 2, 9)] == hashed(3, [9, 2, 9]).tolist()


@pytest.mark.parametrize("keys", [hashed(0, np.arange(4000)), hashed(np.arange(4000), 0)])
def test_even_and_unrelated(keys):
    numbers = uniform(keys, 4)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for column in numbers.T:
        assert stats.kstest(column, "uniform").pvalue > 0.001
    relation = np.corrcoef(np.column_stack([numbers[1:], numbers[:-1]]).T) - np.eye(8)
    assert np.abs(relation).max() < 0.07  # over four standard errors
