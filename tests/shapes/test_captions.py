"""Captions say what the scene shows, and no more."""

import numpy as np

from shapes.captions import PLACE_PHRASES, any_caption, full_caption
from shapes.scenes import ALL_SCENES, HELD_OUT, TRAINING_SCENES


def names(caption, scene) -> set[str]:
    """The attributes of `scene` that `caption` names; colour only in front of something."""
    found = {name for name in ("shape", "size") if getattr(scene, name) in caption.split()}
    found |= {"background"} if f"{scene.background} background" in caption else set()
    found |= {"place"} if any(phrase in caption for phrase in PLACE_PHRASES[scene.place]) else set()
    return found | ({"colour"} if f"{scene.colour} {scene.shape}" in caption else set())


def test_a_full_caption_names_all_five_attributes():
    rng = np.random.default_rng(0)
    for scene in ALL_SCENES[::7]:
        caption = full_caption(scene, rng).replace(",", "")
        assert names(caption, scene) == {"shape", "colour", "size", "place", "background"}, caption


def test_a_caption_names_what_it_says_it_names():
    rng = np.random.default_rng(1)
    for scene in ALL_SCENES[::7]:
        caption, named = any_caption(scene, rng)
        assert names(caption.replace(",", ""), scene) == named, caption


def test_training_sees_every_shape_and_every_colour_but_no_held_out_pair():
    seen = {(scene.shape, scene.colour) for scene in TRAINING_SCENES}
    assert not seen & HELD_OUT
    for shape, colour in HELD_OUT:
        assert any(s == shape for s, _ in seen)
        assert any(c == colour for _, c in seen)
