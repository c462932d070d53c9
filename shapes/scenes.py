"""The world the shipped checkpoint knows: one coloured shape on a plain background."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw

IMAGE_SIZE = 128
SUPERSAMPLING = 4

PALETTE = {
    "red": (220, 40, 40),
    "green": (40, 170, 70),
    "blue": (50, 90, 220),
    "yellow": (245, 205, 50),
    "purple": (150, 60, 190),
    "white": (245, 245, 245),
    "gray": (128, 128, 128),
    "black": (20, 20, 24),
}
SHAPES = ("circle", "square", "triangle")
COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
BACKGROUNDS = ("black", "gray", "white", "blue", "green")
RADII = {"small": 23.0, "large": 34.0}
PLACES = {"left": (40, 64), "right": (88, 64), "top": (64, 40), "bottom": (64, 88), "center": (64, 64)}

HELD_OUT = {("circle", "purple"), ("square", "yellow"), ("triangle", "green")}
"""Shape and colour pairs that training never sees, each word of which it sees often."""


@dataclass(frozen=True)
class Scene:
    """The content of an image, in words."""

    shape: str
    colour: str
    size: str
    place: str
    background: str

    @property
    def held_out(self) -> bool:
        """True where training never sees this shape in this colour."""
        return (self.shape, self.colour) in HELD_OUT


ALL_SCENES = tuple(
    Scene(*words) for words in itertools.product(SHAPES, COLOURS, RADII, PLACES, BACKGROUNDS) if words[1] != words[4]
)
TRAINING_SCENES = tuple(scene for scene in ALL_SCENES if not scene.held_out)
HELD_OUT_SCENES = tuple(scene for scene in ALL_SCENES if scene.held_out)


def outline(shape: str, x: float, y: float, radius: float) -> list[tuple[float, float]]:
    """The corners of `shape` around (x, y); `radius` is half its height, in the units of x and y."""
    if shape == "triangle":
        return [(x, y - radius), (x + 1.1 * radius, y + radius), (x - 1.1 * radius, y + radius)]
    if shape == "square":
        return [(x + radius * dx, y + radius * dy) for dx, dy in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    angles = np.linspace(0, 2 * math.pi, 120, endpoint=False)
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


def draw(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Draw `scene` with a little freedom in place, size and tint.

    Returns: uint8 (128, 128, 3) RGB.
    """
    x, y = np.array(PLACES[scene.place]) + rng.uniform(-4, 4, size=2)
    radius = RADII[scene.size] * rng.uniform(0.95, 1.05)
    tints = [np.array(PALETTE[name]) + rng.uniform(-8, 8, size=3) for name in (scene.background, scene.colour)]
    background, colour = [tuple(np.clip(tint, 0, 255).astype(int).tolist()) for tint in tints]

    canvas = Image.new("RGB", (IMAGE_SIZE * SUPERSAMPLING,) * 2, background)
    corners = [(SUPERSAMPLING * px, SUPERSAMPLING * py) for px, py in outline(scene.shape, x, y, radius)]
    ImageDraw.Draw(canvas).polygon(corners, fill=colour)
    return np.asarray(canvas.reduce(SUPERSAMPLING))


def to_pixels(images: np.ndarray) -> torch.Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W) in -1..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1
