"""Captions that people might type for a scene, in a few phrasings, with or without every detail."""

import numpy as np

from shapes.scenes import Scene

PLACE_PHRASES = {
    "left": ("on the left", "at the left", "on the left side"),
    "right": ("on the right", "at the right", "on the right side"),
    "top": ("at the top", "on the top", "near the top"),
    "bottom": ("at the bottom", "on the bottom", "near the bottom"),
    "center": ("in the center", "at the center", "in the middle"),
}
TEMPLATES = (
    "a {size} {colour} {shape} {place} of a {background} background",
    "a {size} {colour} {shape} {place} on a {background} background",
    "a {background} background with a {size} {colour} {shape} {place}",
    "on a {background} background, a {size} {colour} {shape} {place}",
    "{size} {colour} {shape}, {place}, {background} background",
    "a picture of a {size} {colour} {shape} {place} of a {background} background",
)
PARTIAL_TEMPLATES = (
    ("a {colour} {shape}", ("colour", "shape")),
    ("{colour} {shape}", ("colour", "shape")),
    ("a {size} {shape}", ("size", "shape")),
    ("a {size} {colour} {shape}", ("size", "colour", "shape")),
    ("a {colour} {shape} on a {background} background", ("colour", "shape", "background")),
    ("a {colour} {shape} {place}", ("colour", "shape", "place")),
    ("a {shape} {place} of a {background} background", ("shape", "place", "background")),
    ("a {background} background", ("background",)),
    ("a {shape}", ("shape",)),
)
ATTRIBUTES = ("shape", "colour", "size", "place", "background")


def full_caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption that names all five attributes."""
    return _fill(TEMPLATES[rng.integers(len(TEMPLATES))], scene, rng)


def any_caption(scene: Scene, rng: np.random.Generator) -> tuple[str, frozenset[str]]:
    """A caption and the attributes it names: all five in three of four, fewer in the others."""
    if rng.random() < 0.75:
        return full_caption(scene, rng), frozenset(ATTRIBUTES)
    template, named = PARTIAL_TEMPLATES[rng.integers(len(PARTIAL_TEMPLATES))]
    return _fill(template, scene, rng), frozenset(named)


def _fill(template: str, scene: Scene, rng: np.random.Generator) -> str:
    phrases = PLACE_PHRASES[scene.place]
    return template.format(
        shape=scene.shape,
        colour=scene.colour,
        size=scene.size,
        place=phrases[rng.integers(len(phrases))],
        background=scene.background,
    )
