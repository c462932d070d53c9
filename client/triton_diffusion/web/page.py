"""The controls of the page and their actions."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

# No telemetry to Gradio's makers. Read when Gradio is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from .._async_client import AsyncClient
from .._checkpoint import Checkpoint
from .._errors import DiffusionError
from .._metadata import arguments_of
from .._request import Value
from .._transports.tls import Tls
from . import view
from .run import Run, State
from .snippets import as_curl, as_python
from .view import Result

# Ends of the sliders, inside the server's limits: a slider over 1000 steps, or 50 in tenths, has no room to choose
# each. What lies beyond can be asked for with the code to copy.
SLIDERS = {"num_inference_steps": (1, 150), "guidance_scale": (0, 20)}
HISTORY = 24  # images of one visitor, the newest
DESCRIBE_TIMEOUT = 5.0  # seconds that an opening page waits for the server

PROMPT = "a large red circle on the left of a blue background"

# Fonts of the visitor's own machine: the theme's would be fetched from elsewhere.
THEME = gr.themes.Soft(
    primary_hue="indigo", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
).set(block_title_background_fill="transparent", block_title_text_color="*body_text_color", block_title_padding="0")


@dataclass(frozen=True)
class Limits:
    """Limits of the load that one page may put on the servers."""

    at_once: int = 8  # generations under way, of all visitors
    waiting: int = 32  # requests that wait for a place among them; more are refused
    timeout: float = 300.0  # seconds for one image


@dataclass
class Page:
    """The page, and the generations of its visitors."""

    urls: Sequence[str]  # the servers' gRPC addresses
    http_url: str  # the HTTP address of one of them, for the code to copy
    limits: Limits
    tls: Tls | None = None  # certificates for the servers
    client: AsyncClient = field(init=False)  # while the page is open
    described: Checkpoint | None = None  # the server's description of itself, once it was read
    places: asyncio.Semaphore = field(init=False)  # one for each generation under way
    present: int = 0  # requests that have a place or wait for one
    stops: dict[str, asyncio.Event] = field(default_factory=dict)  # by visitor: set to cancel

    @asynccontextmanager
    async def open(self, _: object = None) -> AsyncGenerator[None]:
        """The context within which the page works, in the event loop that serves it."""
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
                        sampler = _choice("Sampler", "sampler")
                        seed = gr.Textbox(label="Seed", placeholder="random", max_lines=1, elem_id="seed")
                    # A slider cannot be without a value: none is sent before `describe` brings the server's.
                    steps = gr.Slider(step=1, precision=0, label="Steps", elem_id="steps", interactive=False)
                    guidance = gr.Slider(step=0.1, label="Guidance", elem_id="guidance", interactive=False)
                    with gr.Row():
                        width = _choice("Width", "width")
                        height = _choice("Height", "height")
                with gr.Column(scale=6, min_width=340):
                    stage = gr.HTML(view.idle(), elem_id="stage")
                    grid = gr.HTML(elem_id="history", js_on_load=_CHOOSE)
                    with gr.Accordion("Copy as code", open=False, elem_id="code"):
                        with gr.Tab("Python"):
                            python = gr.Code(language="python", show_label=False, elem_id="python")
                        with gr.Tab("curl"):
                            curl = gr.Code(language="shell", show_label=False, elem_id="curl")

            form = [prompt, negative, sampler, steps, guidance, seed, width, height]
            shown = [stage, python, curl]
            hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
            unqueued: dict[str, Any] = {"queue": False, **hidden}
            # No request waits in Gradio's own queue, which shows nothing of what it holds and what it cancels.
            gr.on(
                [run.click, prompt.submit, negative.submit],
                self.generate,
                [history, *form],
                [*shown, history, grid],
                trigger_mode="once",
                concurrency_limit=None,
                **hidden,
            )
            cancel.click(self.cancel, **unqueued)
            grid.click(self.choose, [history], [*shown, grid, *form], **unqueued)
            described = [headline, stage, sampler, steps, guidance, width, height]
            blocks.load(self.describe, None, described, **unqueued)
        return blocks.queue(max_size=self.limits.at_once + self.limits.waiting)

    async def describe(self) -> tuple[Any, ...]:
        """The headline, the stage and the choices and defaults of the form, from the server's description."""
        try:
            checkpoint = await self.client.checkpoint(timeout=DESCRIBE_TIMEOUT)
        except DiffusionError as error:
            return gr.skip(), view.failure(str(error)), *(gr.skip(),) * 5
        if checkpoint is None:
            return (gr.skip(),) * 7
        self.described = checkpoint
        return (
            _headline(checkpoint),
            gr.skip(),
            gr.Dropdown(choices=list(checkpoint.samplers), value=checkpoint.sampler),
            _slider(checkpoint, "num_inference_steps"),
            _slider(checkpoint, "guidance_scale"),
            gr.Dropdown(choices=_sizes(checkpoint.width_range, checkpoint.multiple), value=str(checkpoint.width)),
            gr.Dropdown(choices=_sizes(checkpoint.height_range, checkpoint.multiple), value=str(checkpoint.height)),
        )

    async def generate(
        self, request: gr.Request, history: list[Result], *form: Any
    ) -> AsyncGenerator[tuple[Any, ...] | Any]:
        """Show the image as it is made, and at last the finished one."""
        run, visitor, unchanged = Run(self._arguments(*form)), str(request.session_hash), (gr.skip(),) * 4
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
            result = view.result(run)
            history = [result, *history][:HISTORY]
            yield *self._shown(result), history, view.grid(history, 0)

    def cancel(self, request: gr.Request) -> None:
        """End the visitor's generation."""
        if stop := self.stops.get(str(request.session_hash)):
            stop.set()

    def choose(self, history: list[Result], event: gr.EventData) -> tuple[Any, ...]:
        """Show an earlier image, and put its settings into the form."""
        number = event.number
        result = history[number]
        settings: Mapping[str, Any] = result.settings
        form = [settings.get(name, gr.skip()) for name in ("sampler", "num_inference_steps", "guidance_scale")]
        texts = [str(settings[name]) for name in ("seed", "width", "height")]
        prompts = settings["prompt"], settings.get("negative_prompt", "")
        return *self._shown(result), view.grid(history, number), *prompts, *form, *texts

    def _arguments(
        self,
        prompt: str,
        negative: str,
        sampler: str | None,
        steps: int,
        guidance: float,
        seed: str,
        width: str | None,
        height: str | None,
    ) -> dict[str, Value | None]:
        """The arguments of `AsyncClient.stream` for the values in the form."""
        known = self.described
        return {
            "prompt": prompt,
            "negative_prompt": negative,
            # By name the default sampler would get its own spacing, and not the one that the checkpoint has it with.
            "sampler": None if known and sampler == known.sampler else sampler or None,
            "num_inference_steps": steps if known else None,
            "guidance_scale": guidance if known else None,
            "seed": _integer(seed),
            "width": _integer(width),
            "height": _integer(height),
        }

    def _shown(self, result: Result) -> tuple[str, str, str]:
        arguments = arguments_of(result.settings)
        return view.of_result(result), as_python(arguments, self.urls), as_curl(arguments, self.http_url)


# The number of the thumbnail that was clicked goes to `choose`.
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


def _choice(label: str, name: str) -> gr.Dropdown:
    """A choice among values that the server's description brings; others may be typed, for the server to judge."""
    return gr.Dropdown([], value=None, allow_custom_value=True, label=label, elem_id=name)


def _slider(checkpoint: Checkpoint, name: str) -> gr.Slider:
    """The slider of a field: at the server's default, and as far as the server and `SLIDERS` go."""
    default = getattr(checkpoint, name)
    (low, high), (least, greatest) = SLIDERS[name], checkpoint.ranges.get(name, SLIDERS[name])
    return gr.Slider(max(low, least), max(min(high, greatest), default), default, interactive=True)


def _sizes(limits: tuple[int, int], multiple: int) -> list[str]:
    low, high = limits
    return [str(pixels) for pixels in range(low, high + 1, multiple)]


def _integer(text: str | None) -> int | str | None:
    """The number in a field, None for an empty field. Any other text stays as it is, for the client to refuse."""
    text = (text or "").strip()
    try:
        return int(text) if text else None
    except ValueError:
        return text
