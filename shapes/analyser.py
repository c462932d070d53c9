"""Analyser: reads an image back into words, by fixed rules, and so judges if a prompt was followed."""

import numpy as np
from PIL import Image, ImageDraw

from shapes.scenes import BACKGROUNDS, COLOURS, PALETTE, PLACES, RADII, SHAPES, SUPERSAMPLING, Scene, outline

MIN_CONTRAST = 40.0
"""Distance in RGB below which a pixel counts as background."""
MIN_OVERLAP = 0.75
"""Intersection over union with the ideal outline below which a figure is no known shape."""


def nearest(colour: np.ndarray, names: tuple[str, ...]) -> str:
    """The name whose palette entry is closest to `colour`, (3,) RGB."""
    return min(names, key=lambda name: float(np.linalg.norm(colour - np.array(PALETTE[name]))))


def figure_mask(image: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The pixels that are nearer to the figure's colour than to the background's: bool (H, W)."""
    contrast = np.linalg.norm(image.astype(np.float32) - background, axis=-1)
    return contrast > max(MIN_CONTRAST, 0.5 * float(np.quantile(contrast, 0.98)))


def overlap(mask: np.ndarray, shape: str) -> float:
    """Intersection over union of `mask` (h, w) with `shape` stretched to fill the same box."""
    height, width = mask.shape
    corners = np.array(outline(shape, 0, 0, 1))
    corners = (corners - corners.min(0)) / np.ptp(corners, axis=0) * (SUPERSAMPLING * np.array([width, height]) - 1)
    canvas = Image.new("L", (SUPERSAMPLING * width, SUPERSAMPLING * height))
    ImageDraw.Draw(canvas).polygon([tuple(corner) for corner in corners.tolist()], fill=255)
    ideal = np.asarray(canvas.reduce(SUPERSAMPLING)) > 127
    return float((mask & ideal).sum() / (mask | ideal).sum())


def analyse(image: np.ndarray) -> Scene | None:
    """Read shape, colour, size, place and background from `image`, uint8 (128, 128, 3) RGB.

    Returns None where no figure, or none of a known shape, stands out from the background.
    """
    border = np.concatenate([image[:4].reshape(-1, 3), image[-4:].reshape(-1, 3), image[:, :4].reshape(-1, 3)])
    background = np.median(border, axis=0)
    mask = figure_mask(image, background)
    if mask.sum() < 50:
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if bottom - top == len(image):  # no figure but the whole image
        return None
    figure = mask[top:bottom, left:right]

    overlaps = {shape: overlap(figure, shape) for shape in SHAPES}
    shape = max(overlaps, key=lambda name: overlaps[name])
    if overlaps[shape] < MIN_OVERLAP:
        return None
    centre = np.array([(left + right) / 2, (top + bottom) / 2])
    radius = (bottom - top) / 2
    return Scene(
        shape=shape,
        colour=nearest(np.median(image[mask], axis=0), COLOURS),
        size=min(RADII, key=lambda name: abs(RADII[name] - radius)),
        place=min(PLACES, key=lambda name: float(np.linalg.norm(centre - np.array(PLACES[name])))),
        background=nearest(background, BACKGROUNDS),
    )
