"""A grid of images with their prompts, for people to look at."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from export.in_process import InProcess
from shapes.scenes import IMAGE_SIZE

PROMPTS = (
    "a large red circle on the left of a black background",
    "a small yellow triangle at the top of a blue background",
    "a large blue square in the center of a white background",
    "a small purple triangle on the right of a gray background",
    "a large white triangle at the bottom of a green background",
    "a small red circle on the left of a blue background",
    "a small purple circle in the middle of a white background",
    "a large yellow square on the right of a green background",
    "a small green triangle at the top of a black background",
    "a white circle",
    "a blue square on a gray background",
    "a green background",
)
COLUMNS = 4
MARGIN, CAPTION_HEIGHT = 12, 34


def write_grid(repository: Path, output: Path) -> None:
    """Generate one image a prompt with every default and write them, captioned, to `output`."""
    with InProcess(repository) as generator:
        futures = [generator.generate(prompt, seed=7) for prompt in PROMPTS]
        images = [future.result()[0] for future in futures]
    width, height = IMAGE_SIZE + 4 * MARGIN, IMAGE_SIZE + CAPTION_HEIGHT + MARGIN
    rows = -(-len(images) // COLUMNS)
    grid = Image.new("RGB", (COLUMNS * width, rows * height + MARGIN), "white")
    for k, (prompt, image) in enumerate(zip(PROMPTS, images)):
        left, top = k % COLUMNS * width + 2 * MARGIN, k // COLUMNS * height + MARGIN
        _paste(grid, image, prompt, left, top)
    output.parent.mkdir(parents=True, exist_ok=True)
    grid.save(output)


def _paste(grid: Image.Image, image: np.ndarray, caption: str, left: int, top: int) -> None:
    grid.paste(Image.fromarray(image), (left, top))
    ImageDraw.Draw(grid).rectangle((left - 1, top - 1, left + IMAGE_SIZE, top + IMAGE_SIZE), outline=(200, 200, 200))
    words = caption.split()
    lines = " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])
    centre = left + IMAGE_SIZE // 2, top + IMAGE_SIZE + 4
    ImageDraw.Draw(grid).multiline_text(
        centre, "\n".join(lines), fill="black", font=ImageFont.load_default(11), anchor="ma", align="center"
    )
