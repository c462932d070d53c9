"""The noise stream against PyTorch's CPU generator."""

import numpy as np
import pytest
import torch
from sampling import NoiseStream

SEEDS = (0, 1, 42, 2**31, 2**32 - 1, 2**32, 2**32 + 5, 2**63 - 1)
ATOL = 5e-7  # two units in the last place of a normal between 2 and 4


def assert_equals_torch(stream, generator, shape):
    ours, theirs = stream.normal(shape), torch.randn(shape, generator=generator).numpy()
    assert ours.dtype == np.float32
    assert ours.shape == shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=ATOL)


@pytest.mark.parametrize("seed", SEEDS)
def test_equals_torch_for_a_latent_and_for_the_draws_after_it(seed):
    stream, generator = NoiseStream(seed), torch.Generator("cpu").manual_seed(seed)
    for _ in range(3):
        assert_equals_torch(stream, generator, (1, 4, 64, 64))


@pytest.mark.parametrize("size", [16, 17, 31, 32, 33, 100, 1000])
def test_equals_torch_for_any_size_and_for_the_draws_after_it(size):
    stream, generator = NoiseStream(3), torch.Generator("cpu").manual_seed(3)
    for shape in [(size,), (4, 8, 8), (size,)]:
        assert_equals_torch(stream, generator, shape)


def test_only_the_low_32_bits_of_the_seed_count_as_in_torch():
    np.testing.assert_array_equal(NoiseStream(2**32 + 5).normal((16,)), NoiseStream(5).normal((16,)))


def test_a_numpy_seed_is_the_same_seed():
    np.testing.assert_array_equal(NoiseStream(np.int64(2**63 - 1)).normal((16,)), NoiseStream(2**63 - 1).normal((16,)))


def test_fewer_than_16_values_are_refused():
    with pytest.raises(ValueError, match=r"shape is \(1, 3, 5\), that is 15 values: ask for 16 or more"):
        NoiseStream(0).normal((1, 3, 5))


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed is -1: use 0 or more"):
        NoiseStream(-1)
