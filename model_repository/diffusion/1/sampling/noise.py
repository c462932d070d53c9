"""The normal noise of PyTorch's CPU generator, without PyTorch: the same seed gives the same noise in both."""

import math

import numpy as np

BLOCK = 16  # PyTorch makes 16 normals from 16 uniforms: 8 radii and 8 angles
TWO_PI = np.float32(2 * math.pi)


class NoiseStream:
    """`torch.Generator("cpu").manual_seed(seed)`: calls of `normal` continue the stream as calls of `torch.randn` do.

    The generator is MT19937 seeded with the low 32 bits of the seed (Matsumoto and Nishimura 1998, `init_genrand`).
    That is NumPy's RandomState, whose stream NumPy has frozen for good.
    """

    def __init__(self, seed: int) -> None:
        if seed < 0:
            raise ValueError(f"seed is {seed}: use 0 or more")
        self._draws = np.random.RandomState(seed & 0xFFFFFFFF)

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Standard normal noise (*shape) float32, as `torch.randn(shape, generator=...)`; at least 16 values.

        Below 16 values PyTorch uses another algorithm, which nothing here needs.
        """
        size = math.prod(shape)
        if size < BLOCK:
            raise ValueError(f"shape is {shape}, that is {size} values: ask for {BLOCK} or more")
        whole = size - size % BLOCK
        uniform = self._uniform(size)
        values = np.empty(size, np.float32)
        values[:whole] = _box_muller(uniform[:whole])
        if whole < size:  # PyTorch then draws the last 16 values anew, over some it has already made
            values[-BLOCK:] = _box_muller(self._uniform(BLOCK))
        return values.reshape(shape)

    def _uniform(self, size: int) -> np.ndarray:
        """(size,) float32 in [0, 1): the low 24 bits of one 32-bit draw each."""
        draws = self._draws.randint(0, 2**32, size, dtype=np.uint32)
        return (draws & 0xFFFFFF).astype(np.float32) * np.float32(2**-24)


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    """(size,) float32 normals, a block's cosines before its sines; Box and Muller 1958.

    The angle is rounded to float32, as in PyTorch. The functions are evaluated in float64, whose differences between
    processors lie far below the last bit of the float32 result: every replica makes the same noise.
    """
    block = uniform.reshape(-1, 2, BLOCK // 2)
    radius = np.sqrt(-2 * np.log((1 - block[:, 0]).astype(np.float64)))
    angle = (TWO_PI * block[:, 1]).astype(np.float64)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.astype(np.float32).reshape(-1)
