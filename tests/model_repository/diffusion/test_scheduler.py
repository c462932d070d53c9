"""The in-flight loop, with a toy denoiser in place of the network."""

import threading
import time
import types

import numpy as np
import pytest
from batch import Generation
from errors import ShuttingDown
from request import Priority, Request
from sampling import SAMPLERS, step_table
from scheduler import Scheduler

from tests.model_repository.diffusion.conftest import Waiter


@pytest.fixture
def generate(checkpoint):
    """Make a generation and its waiter from the fields that matter to a test."""

    def make(
        seed=0,
        steps=5,
        sampler="dpmpp_2m",
        options=types.MappingProxyType({}),
        guidance_scale=3.0,
        num_images=1,
        width=128,
        preview_interval=0,
        priority=Priority.NORMAL,
    ):
        request = Request(
            prompt="",
            negative_prompt="",
            num_images=num_images,
            height=128,
            width=width,
            guidance_scale=guidance_scale,
            seed=seed,
            preview_interval=preview_interval,
            table=step_table(checkpoint.noise_schedule, sampler, steps, **options),
            priority=priority,
        )
        context = np.random.default_rng(seed).random((2 if request.guided else 1, 77, 8), np.float32)
        waiter = Waiter()
        shape = checkpoint.latent_format.shape(128, width)
        return Generation(request, shape, {"context": context}), waiter

    return make


@pytest.fixture
def scheduler(denoiser, metrics):
    scheduler = Scheduler(denoiser, max_active_samples=16, metrics=metrics)
    yield scheduler
    denoiser.gate.set()
    scheduler.close()


MIXED = [
    {"seed": 1, "steps": 20},
    {"seed": 2, "steps": 7, "sampler": "ddpm"},
    {"seed": 3, "steps": 4, "sampler": "dpmpp_2m_sde", "guidance_scale": 1.0},
    {"seed": 4, "steps": 9, "sampler": "ddim", "options": {"eta": 0.5}, "num_images": 3},
    {"seed": 5, "steps": 1, "guidance_scale": 0.0},
    {"seed": 6, "steps": 12, "sampler": "ddim", "num_images": 2, "guidance_scale": 7.5},
]


EVERY_SAMPLER = [
    {"seed": k, "sampler": sampler, "steps": 3 + k % 6, "guidance_scale": 1.0 + k % 3, "num_images": 1 + k % 2}
    for k, sampler in enumerate(SAMPLERS)
]


def latents(scheduler, generations) -> list[np.ndarray]:
    for generation, waiter in generations:
        scheduler.submit(generation, waiter)
    for _, waiter in generations:
        assert waiter.ended.wait(10)
        assert waiter.reason is None
    return [waiter.latent for _, waiter in generations]


@pytest.mark.parametrize("mixed", [MIXED, EVERY_SAMPLER], ids=["settings", "samplers"])
def test_a_mixed_batch_gives_every_request_what_it_gets_alone(scheduler, generate, mixed):
    together = latents(scheduler, [generate(**fields) for fields in mixed])
    for fields, latent in zip(mixed, together):
        (alone,) = latents(scheduler, [generate(**fields)])
        np.testing.assert_array_equal(latent, alone)


def test_all_active_requests_share_one_call_a_step(scheduler, generate, denoiser, metrics):
    denoiser.gate.clear()
    generations = [generate(**fields) for fields in MIXED]
    first, *rest = generations
    scheduler.submit(*first)
    denoiser.entered.acquire()  # the first step runs; everything else arrives meanwhile
    for generation, waiter in rest:
        scheduler.submit(generation, waiter)
    denoiser.gate.set()
    for _, waiter in generations:
        assert waiter.ended.wait(10)
    assert len(denoiser.rows) == 20
    assert denoiser.rows[1] == 2 * (1 + 1 + 3 + 2) + (1 + 1)  # two rows a guided sample, one a sample without guidance
    assert metrics["denoiser_steps"] == 20
    assert metrics["denoiser_samples"] == sum(fields["steps"] * fields.get("num_images", 1) for fields in MIXED)
    deadline = time.monotonic() + 10
    while metrics["active_samples"] or metrics["waiting_requests"]:
        assert time.monotonic() < deadline


def test_requests_alike_beyond_the_limit_wait_in_the_order_they_came(scheduler, generate, denoiser):
    denoiser.gate.clear()
    alike = [generate(num_images=8, steps=2) for _ in range(6)]
    ended: list[int] = []
    for k, (generation, waiter) in enumerate(alike):
        waiter.on_end = lambda k=k: ended.append(k)
        scheduler.submit(generation, waiter)
    denoiser.gate.set()
    for _, waiter in alike:
        assert waiter.ended.wait(10)
    assert ended == list(range(6))
    assert denoiser.rows[-6:] == [32] * 6, "two at a time have all the room"


def test_a_short_request_starts_with_the_next_step_though_long_ones_have_all_the_room(scheduler, generate, denoiser):
    long = [generate(seed=k, num_images=8, steps=60) for k in range(2)]
    denoiser.gate.clear()
    for generation, waiter in long:
        scheduler.submit(generation, waiter)
    denoiser.entered.acquire()
    short = generate(seed=9, steps=3)
    scheduler.submit(*short)
    denoiser.gate.set()
    for _, waiter in (*long, short):
        assert waiter.ended.wait(10)
    assert denoiser.rows[1:4] == [2 * (1 + 8)] * 3, "from the very next step on, in the place of one of the long ones"
    for k, (_, waiter) in enumerate(long):
        (alone,) = latents(scheduler, [generate(seed=k, num_images=8, steps=60)])
        np.testing.assert_array_equal(waiter.latent, alone, err_msg="the interruption left a trace")


def test_a_long_request_is_done_in_the_end_however_many_short_ones_come(scheduler, generate, denoiser):
    long, waiter = generate(num_images=8, steps=10)
    scheduler.submit(long, waiter)
    shorts = 0
    deadline = time.monotonic() + 10
    while not waiter.ended.is_set():
        assert time.monotonic() < deadline
        latents(scheduler, [generate(seed=k, num_images=8, steps=2) for k in range(3)])
        shorts += 3
    assert waiter.latent is not None
    assert 2 * shorts <= 2 * 8 * 10 + 12, "overtaken by more steps than it costs"


def test_room_goes_by_priority(scheduler, generate, denoiser):
    denoiser.gate.clear()
    low, normal, high = (generate(num_images=16, steps=2, priority=p) for p in reversed(Priority))
    ended: list[str] = []
    for name, (generation, waiter) in {"low": low, "normal": normal, "high": high}.items():
        waiter.on_end = lambda name=name: ended.append(name)
        scheduler.submit(generation, waiter)
    denoiser.gate.set()
    for _, waiter in (low, normal, high):
        assert waiter.ended.wait(10)
    assert ended == ["high", "normal", "low"]


def test_a_request_whose_deadline_passes_takes_part_in_no_further_step(scheduler, generate, denoiser):
    denoiser.gate.clear()
    generation, waiter = generate(steps=100)
    waiting, late = generate(num_images=16, steps=100)
    late.deadline = 0.0
    scheduler.submit(generation, waiter)
    denoiser.entered.acquire()
    scheduler.submit(waiting, late)
    waiter.deadline = 0.0
    denoiser.gate.set()
    for one in (waiter, late):
        assert one.ended.wait(10)
        assert one.latent is None
    assert (len(denoiser.rows), late.steps) == (1, [])


def test_who_waits_hears_the_places_that_matter(scheduler, generate, denoiser):
    denoiser.gate.clear()
    first, first_waiter = generate(num_images=16, steps=1)
    scheduler.submit(first, first_waiter)
    denoiser.entered.acquire()
    waiting = [generate(num_images=16, steps=1) for _ in range(40)]  # each takes all the room
    for one in waiting:
        scheduler.submit(*one)
    denoiser.gate.set()
    assert waiting[-1][1].ended.wait(10)
    assert first_waiter.positions == []  # it never waited
    assert waiting[0][1].positions == []
    assert waiting[1][1].positions == [1]
    assert waiting[3][1].positions == [3, 2, 1]
    assert waiting[39][1].positions == [39, 8, 7, 6, 5, 4, 3, 2, 1]


def test_a_cancelled_request_takes_part_in_no_further_step(scheduler, generate, denoiser):
    denoiser.gate.clear()
    generation, waiter = generate(steps=100)
    scheduler.submit(generation, waiter)
    denoiser.entered.acquire()
    waiter.cancelled = True
    denoiser.gate.set()
    assert waiter.ended.wait(10)
    assert len(denoiser.rows) == 1
    assert waiter.latent is None


def test_a_request_cancelled_while_it_waits_never_starts(scheduler, generate, denoiser):
    denoiser.gate.clear()
    running, waiting = generate(num_images=8, steps=2), generate(num_images=8, steps=2)
    third, waiter = generate(num_images=8)
    for one in (running, waiting, (third, waiter)):
        scheduler.submit(*one)
    waiter.cancelled = True
    denoiser.gate.set()
    assert waiter.ended.wait(10)
    assert waiter.steps == []


def test_a_failed_call_fails_the_requests_in_it_with_its_reason_and_no_others(scheduler, generate, denoiser):
    denoiser.gate.clear()
    denoiser.failure = RuntimeError("denoiser: out of memory")
    failing = [generate(steps=3), generate(steps=8)]
    for one in failing:
        scheduler.submit(*one)
    denoiser.gate.set()
    for _, waiter in failing:
        assert waiter.ended.wait(10)
        assert waiter.reason is denoiser.failure
    denoiser.failure = None
    (latent,) = latents(scheduler, [generate(steps=3)])
    assert np.isfinite(latent).all()


def test_sizes_that_cannot_share_a_call_take_turns(scheduler, generate, denoiser):
    denoiser.gate.clear()
    long, short = generate(steps=30, width=128), generate(steps=3, width=64)
    scheduler.submit(*long)
    denoiser.entered.acquire()
    scheduler.submit(*short)
    denoiser.gate.set()
    assert short[1].ended.wait(10)
    assert long[1].ended.wait(10)
    last_narrow = max(i for i, shape in enumerate(denoiser.shapes) if shape == (4, 16, 8))
    assert last_narrow <= 8


def test_previews_come_at_their_interval_but_not_with_the_last_step(scheduler, generate):
    generation, waiter = generate(steps=6, preview_interval=2, num_images=2)
    latents(scheduler, [(generation, waiter)])
    assert waiter.steps == [0, 1, 2, 3, 4, 5, 6]
    assert [preview.shape for preview in waiter.previews] == [(2, 4, 16, 16)] * 2


@pytest.mark.parametrize(("sampler", "calls"), [("heun", 15), ("pndm", 9)])
def test_steps_and_previews_count_steps_of_the_sampler_and_not_denoiser_calls(
    scheduler, generate, denoiser, sampler, calls
):
    generation, waiter = generate(steps=8, sampler=sampler, preview_interval=3)
    latents(scheduler, [(generation, waiter)])
    assert len(denoiser.shapes) == calls
    assert waiter.steps == list(range(9))
    assert len(waiter.previews) == 2


def test_closing_tells_every_unfinished_request(denoiser, metrics, generate):
    scheduler = Scheduler(denoiser, 16, metrics)
    denoiser.gate.clear()
    generations = [generate(num_images=8, steps=50) for _ in range(3)]
    for one in generations:
        scheduler.submit(*one)
    denoiser.entered.acquire()
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    denoiser.gate.set()
    closing.join(10)
    late, waiter = generate()
    scheduler.submit(late, waiter)
    for reason in [w.reason for _, w in generations] + [waiter.reason]:
        assert isinstance(reason, ShuttingDown)
