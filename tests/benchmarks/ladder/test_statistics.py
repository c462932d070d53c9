"""Against values worked out by hand, and against the normal approximation."""

import numpy as np
import pytest

from benchmarks.ladder.statistics import bootstrap_rms, mcnemar, share


def verdicts(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Paired verdicts with so many pairs of each kind."""
    kinds = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    pairs = np.array(kinds)
    return pairs[:, 0], pairs[:, 1]


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (3, 3, 1.0),
        (2, 10, 2 * (1 + 12 + 66) / 2**12),
        (10, 2, 2 * (1 + 12 + 66) / 2**12),
        (0, 6, 2 / 2**6),
    ],
)
def test_mcnemar_is_the_exact_binomial_test_of_the_pairs_that_differ(first, second, p):
    assert mcnemar(*verdicts(5, first, second, 4)) == pytest.approx(p, rel=1e-12)


def test_equal_images_leave_nothing_to_be_unsure_of():
    assert bootstrap_rms(np.full(10, 0.09)) == (pytest.approx(0.3), (pytest.approx(0.3), pytest.approx(0.3)))


def test_the_interval_is_as_wide_as_the_normal_approximation_says():
    squares = np.random.default_rng(1).chisquare(20, size=400) / 20
    rms, (low, high) = bootstrap_rms(squares)
    assert rms == np.sqrt(squares.mean())
    width = 2 * 1.96 * squares.std() / np.sqrt(400) / (2 * rms)  # of the root, to first order
    assert low < rms < high
    assert high - low == pytest.approx(width, rel=0.05)


@pytest.mark.parametrize(
    ("right", "of", "interval"), [(8, 10, (0.4902, 0.9433)), (10, 10, (0.7225, 1.0)), (0, 10, (0.0, 0.2775))]
)
def test_a_share_has_wilsons_interval(right, of, interval):
    found, measured = share(np.arange(of) < right)
    assert found == right / of
    assert measured == pytest.approx(interval, abs=5e-5)
