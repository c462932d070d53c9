"""The checkpoint that ships with the project draws what its prompts say."""

import pytest

from shapes.evaluate import exported_accuracy


def test_it_takes_less_than_20_megabytes(shipped_checkpoint):
    assert sum(path.stat().st_size for path in shipped_checkpoint.rglob("*") if path.is_file()) < 20e6


@pytest.mark.usefixtures("shipped_repository")
def test_images_show_all_five_attributes_even_in_combinations_not_trained(shipped_repository):
    figures = exported_accuracy(shipped_repository, trained=32, held_out=32)
    assert figures["trained"]["all"] >= 0.9
    assert figures["held_out"]["all"] >= 0.8
