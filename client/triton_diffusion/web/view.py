"""HTML of the stage and the history. The images are inside it, so that none of them becomes a file on the server."""

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image

from .._metadata import save_png
from .._request import Value
from .run import Run, State

THUMBNAIL = 128  # pixels, of the longer side


@dataclass(frozen=True)
class Result:
    """A finished image, as the page keeps it."""

    settings: dict[str, Value]  # all that makes it again, as in `image.info`
    png: str  # a data: URL, with the settings in it
    thumbnail: str  # a data: URL
    timing: str


def result(run: Run) -> Result:
    """The result of a run that is done."""
    assert run.image is not None
    settings: dict[str, Value] = {str(name): value for name, value in run.image.info.items()}
    small = run.image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return Result(settings, _data_url(run.image), _data_url(small, "WEBP", quality=90), _timing(run))


def idle() -> str:
    """The stage before the first image."""
    return _stage("idle", '<div class="empty">Describe an image</div>', "&nbsp;", 0)


def failure(message: str) -> str:
    """The stage with an error and no image."""
    return _stage("failed", '<div class="empty">No image</div>', escape(message), 0)


def of_run(run: Run) -> str:
    """The stage of a run that is under way, cancelled or failed; `of_result` is the stage of a finished one."""
    state = run.state.name.lower()
    shown = _image(_data_url(run.preview), "The image so far", "preview") if run.preview else _PLACEHOLDER
    match run.state:
        case State.WAITING if run.position is None:
            text = "Waiting"
        case State.WAITING:
            text = f"Waiting, place {run.position} on the server"
        case State.RUNNING | State.DONE:
            text = f"Step {run.step} of {run.num_steps}"
        case State.CANCELLED:
            text = f"Cancelled after {run.step} of {run.num_steps} steps" if run.num_steps else "Cancelled"
        case State.FAILED:
            text = escape(run.error)
    done = run.step / run.num_steps if run.num_steps else 0
    return _stage(state, shown, text, done)


def of_result(shown: Result) -> str:
    """The stage with a finished image."""
    seed = shown.settings["seed"]
    image = _image(shown.png, str(shown.settings["prompt"]), "final")
    link = f'<a href="{shown.png}" download="{seed}.png">Save PNG</a>'
    return _stage("done", image, f"{shown.timing} <span>Seed {seed}</span> {link}", 1)


def grid(history: Sequence[Result], selected: int | None = None) -> str:
    """Thumbnails to choose from, in the order given."""
    buttons = [
        f'<button type="button" data-number="{number}" aria-pressed="{str(number == selected).lower()}"'
        f' title="{escape(str(each.settings["prompt"]))}">'
        f'<img src="{each.thumbnail}" alt="{escape(str(each.settings["prompt"]))}"></button>'
        for number, each in enumerate(history)
    ]
    return f'<div class="history">{"".join(buttons)}</div>' if buttons else ""


_PLACEHOLDER = '<div class="empty"></div>'


def _stage(state: str, shown: str, text: str, done: float) -> str:
    role = "alert" if state == "failed" else "status"
    return (
        f'<div class="stage" data-state="{state}"><div class="frame">{shown}</div>'
        f'<div class="bar"><div style="width:{100 * done:.0f}%"></div></div>'
        f'<div class="caption" role="{role}">{text}</div></div>'
    )


def _image(url: str, text: str, kind: str) -> str:
    # Decoded at once: an image that replaces another must not leave a gap.
    return f'<img class="{kind}" src="{url}" alt="{escape(text)}" decoding="sync">'


def _timing(run: Run) -> str:
    parts = [f"<b>{run.seconds:.2f} s</b>"]
    if run.first_preview is not None:
        parts.append(f"<span>first preview after {run.first_preview:.2f} s</span>")
    if run.first_step is not None and run.last_step is not None and run.num_steps:
        step = (run.last_step - run.first_step) / run.num_steps
        parts.append(f"<span>{run.num_steps} steps of {1000 * step:.0f} ms</span>")
    return " ".join(parts)


def _data_url(image: Image.Image, kind: str = "PNG", **options: int) -> str:
    content = io.BytesIO()
    if kind == "PNG" and "prompt" in image.info:
        save_png(image, content)
    else:
        image.save(content, kind, **options)
    return f"data:image/{kind.lower()};base64,{b64encode(content.getvalue()).decode()}"
