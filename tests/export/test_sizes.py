"""`--height` and `--width`."""

import pytest

from export.checkpoint.components import Checkpoint
from export.errors import RequestError
from export.sizes import choose_sizes
from export.specification import Range


def test_the_default_is_what_the_checkpoint_was_trained_at(tiny: Checkpoint) -> None:
    sizes = choose_sizes(tiny, None, None)
    assert (sizes.height, sizes.width, sizes.vae_factor) == (64, 64, 8)
    assert sizes.height_range == sizes.width_range == Range(64, 64)


@pytest.mark.parametrize(("asked", "default"), [("32:128", 64), ("128:256", 128), ("16:48", 48), ("96", 96)])
def test_a_range_keeps_the_default_within_it(tiny: Checkpoint, asked: str, default: int) -> None:
    assert choose_sizes(tiny, asked, asked).height == choose_sizes(tiny, asked, asked).width == default


@pytest.mark.parametrize("asked", ["big", "-64", "64:", ":64", "1:2:3", "64.0", "", "60", "8", "128:64", "64:68", "0"])
def test_nonsense_is_refused(tiny: Checkpoint, asked: str) -> None:
    with pytest.raises(RequestError, match="--width is"):
        choose_sizes(tiny, None, asked)
