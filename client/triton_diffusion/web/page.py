"""The controls of the page, and what they do."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

# No word to Gradio's makers. Read when Gradio is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from .._async_client import AsyncClient
from .._checkpoint import Checkpoint
from .._errors import DiffusionError
from .._metadata import DEFAULT_SAMPLER, DEFAULT_SPACING, DEFAULT_STEPS, arguments_of
from .._request import Value
from .._transports.tls import Tls
from . import view
from .run import Run, State
from .snippets import as_curl, as_python
from .view import Picture

HISTORY = 24  # pictures of one visitor, the newest
DESCRIBE_TIMEOUT = 5.0  # seconds that an opening page waits for the server

PROMPT = "a large red circle on the left of a blue background"

# Fonts of the visitor's own machine: the theme's would be fetched from elsewhere.
THEME = gr.themes.Soft(
    primary_hue="indigo", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
).set(block_title_background_fill="transparent", block_title_text_color="*body_text_color", block_title_padding="0")


@dataclass(frozen=True)
class Limits:
    """How much of the servers one page may take."""

    at_once: int = 8  # pictures in the making, of all visitors
    waiting: int = 32  # requests that wait for a place among them; more are refused
    timeout: float = 300.0  # seconds for one picture


@dataclass
class Page:
    """The page, and what it must know of those who use it."""

    urls: Sequence[str]  # of the servers, gRPC
    http_url: str  # of one of them, for the code to copy
    limits: Limits
    tls: Tls | None = None  # certificates for the servers
    client: AsyncClient = field(init=False)  # while it is open
    places: asyncio.Semaphore = field(init=False)  # among those whose pictures are made
    present: int = 0  # requests that have a place or wait for one
    stops: dict[str, asyncio.Event] = field(default_factory=dict)  # by visitor: set to cancel

    @asynccontextmanager
    async def open(self, _: object = None) -> AsyncGenerator[None]:
        """Within this context, in the event loop that serves the page, it can be used."""
        self.places = asyncio.Semaphore(self.limits.at_once)
        async with AsyncClient(self.urls, tls=self.tls) as self.client:
            yield

    def blocks(self) -> gr.Blocks:
        """The page as Gradio serves it."""
        with gr.Blocks(title="Triton Diffusion", analytics_enabled=False) as blocks:
            history = gr.State([])
            headline = gr.HTML(_headline(None))
            with gr.Row(equal_height=False):
                with gr.Column(scale=5, min_width=340):
                    prompt = gr.Textbox(PROMPT, label="Prompt", max_lines=4, elem_id="prompt")
                    negative = gr.Textbox(label="Negative prompt", max_lines=4, elem_id="negative-prompt")
                    with gr.Row():
                        run = gr.Button("Generate", variant="primary", elem_id="generate")
                        cancel = gr.Button("Cancel", variant="stop", elem_id="cancel")
                    with gr.Row():
                        sampler = gr.Dropdown(
                            list(DEFAULT_SPACING), value=DEFAULT_SAMPLER, label="Sampler", elem_id="sampler"
                        )
                        seed = gr.Textbox(label="Seed", placeholder="random", max_lines=1, elem_id="seed")
                    steps = gr.Slider(1, 150, DEFAULT_STEPS, step=1, precision=0, label="Steps", elem_id="steps")
                    guidance = gr.Slider(0, 20, 7.5, step=0.1, label="Guidance", elem_id="guidance")
                    with gr.Row():
                        width = _size("Width", "width")
                        height = _size("Height", "height")
                with gr.Column(scale=6, min_width=340):
                    stage = gr.HTML(view.nothing_yet(), elem_id="stage")
                    grid = gr.HTML(elem_id="history", js_on_load=_CHOOSE)
                    with gr.Accordion("Copy as code", open=False, elem_id="code"):
                        with gr.Tab("Python"):
                            python = gr.Code(language="python", show_label=False, elem_id="python")
                        with gr.Tab("curl"):
                            curl = gr.Code(language="shell", show_label=False, elem_id="curl")

            form = [prompt, negative, sampler, steps, guidance, seed, width, height]
            shown = [stage, python, curl]
            hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
            at_once: dict[str, Any] = {"queue": False, **hidden}
            # Gradio's own queue shows nothing of what it holds and what it cancels: none waits there.
            gr.on(
                [run.click, prompt.submit, negative.submit],
                self.generate,
                [history, *form],
                [*shown, history, grid],
                trigger_mode="once",
                concurrency_limit=None,
                **hidden,
            )
            cancel.click(self.cancel, **at_once)
            grid.click(self.choose, [history], [*shown, grid, *form], **at_once)
            blocks.load(self.describe, None, [headline, stage, guidance, width, height], **at_once)
        return blocks.queue(max_size=self.limits.at_once + self.limits.waiting)

    async def describe(self) -> tuple[Any, ...]:
        """The page's defaults, from what the server serves."""
        try:
            checkpoint = await self.client.checkpoint(timeout=DESCRIBE_TIMEOUT)
        except DiffusionError as error:
            return gr.skip(), view.failure(str(error)), gr.skip(), gr.skip(), gr.skip()
        if checkpoint is None:
            return (gr.skip(),) * 5
        sizes = [
            gr.Dropdown(choices=_choices(limits, checkpoint.multiple), value=str(value))
            for value, limits in (
                (checkpoint.width, checkpoint.width_range),
                (checkpoint.height, checkpoint.height_range),
            )
        ]
        return _headline(checkpoint), gr.skip(), checkpoint.guidance_scale, *sizes

    async def generate(
        self, request: gr.Request, history: list[Picture], *form: Any
    ) -> AsyncGenerator[tuple[Any, ...] | Any]:
        """Show a picture in the making, and at last the picture."""
        run, visitor, unchanged = Run(_arguments(*form)), str(request.session_hash), (gr.skip(),) * 4
        if self.present >= self.limits.at_once + self.limits.waiting:
            yield view.failure(f"{self.present} requests are here already: try again in a moment"), *unchanged
            return
        stop = self.stops[visitor] = asyncio.Event()
        self.present += 1
        try:
            async with aclosing(run.views(self.client, self.limits.timeout, self.places, stop)) as views:
                async for _ in views:
                    if run.state is not State.DONE:
                        yield view.of_run(run), *unchanged
        finally:
            self.present -= 1
            self.stops.pop(visitor, None)
        if run.state is State.DONE:
            picture = view.picture(run)
            history = [picture, *history][:HISTORY]
            yield *self._shown(picture), history, view.grid(history, 0)

    def cancel(self, request: gr.Request) -> None:
        """End the picture in the making."""
        if stop := self.stops.get(str(request.session_hash)):
            stop.set()

    def choose(self, history: list[Picture], event: gr.EventData) -> tuple[Any, ...]:
        """Show an earlier picture, and put its settings into the form."""
        number = event.number
        picture = history[number]
        settings: Mapping[str, Any] = picture.settings
        form = [settings[name] for name in ("prompt", "negative_prompt", "sampler", "num_inference_steps")]
        guidance = settings.get("guidance_scale", gr.skip())
        texts = [str(settings[name]) for name in ("seed", "width", "height")]
        return *self._shown(picture), view.grid(history, number), *form, guidance, *texts

    def _shown(self, picture: Picture) -> tuple[str, str, str]:
        arguments = arguments_of(picture.settings)
        return view.of_picture(picture), as_python(arguments, self.urls), as_curl(arguments, self.http_url)


# A press on one of the pictures says which.
_CHOOSE = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-number]");
  if (button) trigger("click", { number: Number(button.dataset.number) });
});
"""


def style() -> str:
    """The page's CSS."""
    return resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")


def _headline(checkpoint: Checkpoint | None) -> str:
    serves = f"<span>{view.escape(checkpoint.name)}</span>" if checkpoint else ""
    return f'<header class="headline"><h1>Triton Diffusion</h1>{serves}</header>'


def _size(label: str, name: str) -> gr.Dropdown:
    return gr.Dropdown([], value=None, allow_custom_value=True, label=label, elem_id=name)


def _choices(limits: tuple[int, int], multiple: int) -> list[str]:
    low, high = limits
    return [str(pixels) for pixels in range(low, high + 1, multiple)]


def _arguments(
    prompt: str, negative: str, sampler: str, steps: int, guidance: float, seed: str, width: str, height: str
) -> dict[str, Value | None]:
    """The arguments of `AsyncClient.stream` for what is in the form."""
    return {
        "prompt": prompt,
        "negative_prompt": negative,
        "sampler": sampler,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "seed": _integer(seed),
        "width": _integer(width),
        "height": _integer(height),
    }


def _integer(text: str | None) -> int | str | None:
    """None for an empty field; what is no number stays as it is, for the client to refuse."""
    text = (text or "").strip()
    try:
        return int(text) if text else None
    except ValueError:
        return text
