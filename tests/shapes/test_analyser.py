"""The judge of images must itself be right."""

import numpy as np
import pytest

from shapes.analyser import analyse
from shapes.evaluate import accuracy, analyser_accuracy
from shapes.scenes import ALL_SCENES, BACKGROUNDS, PALETTE, Scene, draw


def test_freshly_drawn_scenes_are_read_right():
    figures = analyser_accuracy(count=1000)
    assert set(figures) == {"shape", "colour", "size", "place", "background", "all"}
    assert figures["all"] >= 0.99


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_an_empty_background_shows_nothing(background):
    assert analyse(np.full((128, 128, 3), PALETTE[background], np.uint8)) is None


def test_noise_shows_nothing():
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    assert analyse(noise) is None


def test_half_a_circle_is_no_circle():
    image = draw(Scene("circle", "red", "large", "center", "black"), np.random.default_rng(0)).copy()
    image[:, :64] = PALETTE["black"]
    assert analyse(image) is None or analyse(image).shape != "circle"


def test_accuracy_counts_each_attribute_on_its_own():
    rng = np.random.default_rng(0)
    wanted = [Scene("circle", "red", "large", "left", "black")] * 2
    shown = [draw(wanted[0], rng), draw(Scene("square", "red", "large", "left", "gray"), rng)]
    figures = accuracy(wanted, shown)
    assert figures == {"shape": 0.5, "colour": 1.0, "size": 1.0, "place": 1.0, "background": 0.5, "all": 0.5}


def test_every_scene_has_a_figure_that_stands_out():
    assert all(scene.colour != scene.background for scene in ALL_SCENES)
