"""Display of a terminal while images are made: a line a prompt, with the images as they are so far."""

from collections import deque
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.style import Style
from rich.text import Text

from .._events import Completed, Event, Preview, Queued
from .._events import Progress as Stepped

LINES = 8  # of text that the only preview may take; with several prompts each has one
SHOWN = 8  # prompts that are on the screen at once
PREVIEWS = 10  # about as many, on the way to an image


class Display:
    """Shows events on standard error if that is a terminal; elsewhere nothing."""

    def __init__(self, prompts: Sequence[str], preview: bool, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._prompts = prompts
        self._lines = LINES if len(prompts) == 1 else 1
        self.previews = preview and self._console.is_terminal and self._console.color_system in ("256", "truecolor")
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _PreviewColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks = [
            self._progress.add_task(f"{prompt[:30]:30} waiting", total=None, start=False, visible=number < SHOWN)
            for number, prompt in enumerate(prompts)
        ]
        self._hidden = deque(self._tasks[SHOWN:])

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def interval(self, num_steps: int) -> int | None:
        """The `preview_interval` to ask for; None for a display without previews."""
        return max(1, num_steps // PREVIEWS) if self.previews else None

    def show(self, number: int, event: Event) -> None:
        """Show an event of prompt `number`."""
        task, prompt = self._tasks[number], f"{self._prompts[number][:30]:30}"
        match event:
            case Queued(position):
                self._progress.update(task, description=f"{prompt} waiting, place {position}")
            case Stepped(step, num_steps):
                if step == 0:
                    self._progress.start_task(task)
                self._progress.update(task, description=prompt, completed=step, total=num_steps)
            case Preview(_, _, images):
                self._progress.update(task, preview=in_text(images, self._lines))
            case Completed():
                self.done(number)

    def done(self, number: int) -> None:
        """Take a finished prompt off the screen, for the next one that waits for room there."""
        self._progress.update(self._tasks[number], visible=False)
        if self._hidden:
            self._progress.update(self._hidden.popleft(), visible=True)


class _PreviewColumn(ProgressColumn):
    max_refresh = None

    def render(self, task: Task) -> Text:
        preview: Text = task.fields.get("preview", Text(""))
        return preview


def in_text(images: Sequence[Image.Image], lines: int) -> Text:
    """`images` side by side in so many lines of text, two pixels above each other in a character."""
    text = Text()
    size = 2 * lines
    small = [
        image.convert("RGB").resize((max(1, size * image.width // image.height), size), Image.Resampling.BOX)
        for image in images
    ]
    pixels = np.hstack([np.asarray(image) for image in small])  # [2*lines, w, 3]
    for line in range(lines):
        for upper, lower in zip(pixels[2 * line], pixels[2 * line + 1]):
            text.append("▀", Style(color=_rgb(upper), bgcolor=_rgb(lower)))
        if line < lines - 1:
            text.append("\n")
    return text


def _rgb(pixel: NDArray[np.uint8]) -> str:
    red, green, blue = pixel
    return f"rgb({red},{green},{blue})"
