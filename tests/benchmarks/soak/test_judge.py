"""The judge of a soak, on series of 3 hours whose growth is known."""

import numpy as np
import pytest

from benchmarks.soak.judge import WARM_UP, growth

SECONDS = np.arange(0.0, 3 * 3600, 10)
HOURS = SECONDS / 3600
JUDGED = 3 * (1 - WARM_UP)  # hours


@pytest.fixture
def noise():
    """Of 1 % about a level of 100: half of it from sample to sample, half that lasts for minutes."""
    random = np.random.default_rng(7)
    slow = np.convolve(random.normal(size=len(SECONDS) + 60), np.full(60, 1 / np.sqrt(60)), "same")[: len(SECONDS)]
    return 0.7 * (random.normal(size=len(SECONDS)) + slow)


def test_a_leak_of_1_percent_an_hour_is_seen_through_noise(noise):
    found = growth(SECONDS, 100 + HOURS + noise)
    assert found.grows
    assert found.percent == pytest.approx(JUDGED, abs=0.7)
    assert found.low < found.percent < found.high


def test_noise_is_no_growth(noise):
    assert not growth(SECONDS, 100 + noise).grows


def test_a_warm_up_that_ends_is_no_growth(noise):
    assert not growth(SECONDS, 100 + 30 * (1 - np.exp(-HOURS / 0.1)) + noise).grows


def test_a_peak_is_no_growth(noise):
    peak = np.where((HOURS > 2.5) & (HOURS < 2.6), 50, 0)
    assert not growth(SECONDS, 100 + noise + peak).grows


def test_a_leak_that_begins_after_the_warm_up_is_seen(noise):
    assert growth(SECONDS, 100 + np.maximum(0, HOURS - 1.5) * 4 + noise).grows


@pytest.mark.parametrize(("lost_an_hour", "grows"), [(0, False), (1, True)])
def test_one_file_an_hour_that_stays_open_is_seen(lost_an_hour, grows):
    files = 70 + np.random.default_rng(7).integers(0, 8, len(SECONDS)) + np.floor(lost_an_hour * HOURS)
    assert growth(SECONDS, files).grows == grows


def test_what_shrinks_does_not_grow():
    assert not growth(SECONDS, 100 - HOURS).grows
