"""The generation of an image as the page follows it, without a server."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from PIL import Image
from triton_diffusion import AsyncClient, Completed, InvalidRequest, MockTransport, Preview, Progress, Queued
from triton_diffusion.web.run import PREVIEWS, Run, State

IMAGE = Image.new("RGB", (64, 64))


class Scripted(AsyncClient):
    """Plays events, with a pause before each."""

    def __init__(self, *events: Any, pause: float = 0.0) -> None:
        super().__init__(transport=MockTransport())
        self.events, self.pause, self.asked, self.closed = events, pause, {}, False

    async def stream(self, *_: Any, **arguments: Any) -> AsyncGenerator[Any]:
        self.asked = arguments
        try:
            for event in self.events:
                await asyncio.sleep(self.pause)
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed = True


def views(run: Run, client: AsyncClient, places: int = 1) -> tuple[AsyncGenerator[None], asyncio.Event]:
    stop = asyncio.Event()
    return run.views(client, None, asyncio.Semaphore(places), stop), stop


async def states(run: Run, client: AsyncClient, stop_after: int | None = None, places: int = 1) -> list[State]:
    shown, stop = views(run, client, places)
    seen = []
    async for _ in shown:
        seen.append(run.state)
        if len(seen) == stop_after:
            stop.set()
    return seen


def test_an_image_on_its_way(run):
    events = [Queued(2), Progress(0, 2), Progress(1, 2), Preview(1, 2, [IMAGE]), Progress(2, 2), Completed([IMAGE])]
    client, made = Scripted(*events, pause=0.06), Run({"prompt": "a circle"})
    seen = run(states(made, client))
    assert seen == [State.WAITING] * 2 + [State.RUNNING] * (len(seen) - 3) + [State.DONE]
    assert (made.position, made.step, made.num_steps, made.image) == (2, 2, 2, IMAGE)
    assert 0 < made.first_step < made.first_preview < made.last_step < made.seconds


def test_events_that_come_faster_than_the_eye_are_shown_together(run):
    client = Scripted(*(Progress(step, 1000) for step in range(1001)), Completed([IMAGE]))
    assert len(run(states(Run({"prompt": "a circle"}), client))) < 50


@pytest.mark.parametrize(("steps", "interval"), [(None, 1), (1, 1), (20, 1), (21, 2), (150, 8), (0, 1)])
def test_previews_are_few_enough(run, steps, interval):
    client = Scripted(Completed([IMAGE]))
    run(states(Run({"prompt": "a circle", "num_inference_steps": steps}), client))
    assert client.asked["preview_interval"] == interval
    assert steps is None or steps / interval <= PREVIEWS


def test_stopping_ends_the_stream(run):
    client, made = Scripted(*(Progress(step, 50) for step in range(51)), pause=0.03), Run({"prompt": "a circle"})
    seen = run(states(made, client, stop_after=4))
    assert (seen[-1], client.closed) == (State.CANCELLED, True)
    assert 0 < made.step < 50


def test_one_without_a_place_waits_and_can_be_stopped(run):
    client, made = Scripted(Completed([IMAGE])), Run({"prompt": "a circle"})
    assert run(states(made, client, stop_after=1, places=0)) == [State.WAITING, State.CANCELLED]
    assert client.asked == {}


def test_leaving_ends_the_stream(run):
    client = Scripted(*(Progress(step, 50) for step in range(51)), pause=0.03)

    async def leave() -> None:
        shown, _ = views(Run({"prompt": "a circle"}), client)
        await anext(shown)
        await anext(shown)
        await shown.aclose()

    run(leave())
    assert client.closed


def test_an_error_is_one_line(run):
    made = Run({"prompt": "a circle"})
    seen = run(states(made, Scripted(Progress(0, 2), InvalidRequest("seed is -1: use 0 or more"), pause=0.06)))
    assert (seen[-1], made.error) == (State.FAILED, "seed is -1: use 0 or more")


def test_a_fault_of_the_page_itself_is_not_swallowed(run):
    with pytest.raises(ZeroDivisionError):
        run(states(Run({"prompt": "a circle"}), Scripted(ZeroDivisionError())))
