"""Floods: what one caller, or one request, may delay another by. Counted in steps, with the toy denoiser."""

import numpy as np
import pytest
from batch import Generation
from request import Priority, Request
from sampling import step_table
from scheduler import Scheduler

from tests.model_repository.diffusion.conftest import Waiter

ROOM = 16
FLOOD = 1000


@pytest.fixture
def scheduler(denoiser, metrics):
    denoiser.gate.clear()  # until a test has sent its requests
    scheduler = Scheduler(denoiser, max_active_samples=ROOM, metrics=metrics)
    yield scheduler
    for waiter in scheduler.sent:
        waiter.cancelled = True
    denoiser.gate.set()
    scheduler.close()


@pytest.fixture
def send(scheduler, checkpoint, denoiser):
    """Submit a request; the waiter learns at which denoiser call it ended."""
    context = np.zeros((1, 77, 8), np.float32)
    shape = checkpoint.latent_format.shape(128, 64)
    tables = {steps: step_table(checkpoint.noise_schedule, "ddim", steps) for steps in (5, 20, 100)}
    scheduler.sent = []

    def send(caller=None, steps=5, num_images=1, priority=Priority.NORMAL):
        request = Request("", "", num_images, 128, 64, 1.0, 0, 0, tables[steps], priority=priority, caller=caller)
        waiter = Waiter()
        waiter.ended_at = None

        def note():
            waiter.ended_at = len(denoiser.rows)

        waiter.on_end = note
        scheduler.sent.append(waiter)
        scheduler.submit(Generation(request, shape, {"context": context}), waiter)
        return waiter

    return send


@pytest.fixture
def steps_until_done(denoiser):
    """Denoiser calls from now on until a request has ended."""

    def wait(send_it):
        before = len(denoiser.rows)
        waiter = send_it()
        denoiser.gate.set()
        assert waiter.ended.wait(30)
        return waiter.ended_at - before

    return wait


@pytest.mark.parametrize(("steps", "num_images"), [(5, 1), (20, 1), (20, 8)])
def test_a_caller_with_a_thousand_requests_delays_another_by_the_others_own_work_at_most(
    send, denoiser, steps_until_done, steps, num_images
):
    for _ in range(FLOOD):
        send("alice")
    denoiser.entered.acquire()
    taken = steps_until_done(lambda: send("bob", steps, num_images))
    own_work = steps * num_images / ROOM  # steps of a loop that it fills
    assert steps <= taken <= steps + own_work + 5 + 1, (
        "its steps, an equal share, one of those inside, the step that ran"
    )


def test_without_names_the_same_flood_goes_first(send, denoiser, steps_until_done):
    for _ in range(FLOOD):
        send()
    denoiser.entered.acquire()
    assert steps_until_done(lambda: send(steps=20)) > 5 * FLOOD / ROOM


def test_ten_callers_share_alike_however_much_each_has_sent(send, scheduler, denoiser):
    send("another")
    denoiser.entered.acquire()  # its first step runs, so that the ten come together
    waiters = {name: [send(name) for _ in range(20 * (1 + k))] for k, name in enumerate("abcdefghij")}
    denoiser.gate.set()
    for name in waiters:
        assert waiters[name][19].ended.wait(30)
    ended_at = [waiters[name][19].ended_at for name in waiters]
    assert max(ended_at) - min(ended_at) <= 5 + 1, "the twentieth of each, within one request's steps"


def test_who_used_an_idle_loop_is_not_made_to_wait_for_it_later(send, denoiser):
    early = [send("alice") for _ in range(200)]
    denoiser.gate.set()
    assert early[150].ended.wait(30)
    denoiser.gate.clear()
    bobs = [send("bob") for _ in range(200)]
    denoiser.gate.set()
    assert early[199].ended.wait(30)
    assert sum(waiter.ended_at is not None for waiter in bobs) <= 49 + ROOM, "bob catches up on nothing"


def test_a_flood_of_small_requests_does_not_starve_a_large_one(send, denoiser, steps_until_done):
    for _ in range(200):
        send("alice")
    denoiser.entered.acquire()
    taken = steps_until_done(lambda: send("bob", steps=100, num_images=8))
    assert taken <= 100 + 100 * 8 / ROOM + 6


def test_a_thousand_requests_cancelled_at_once_delay_nobody_by_more_than_a_step(send, denoiser, steps_until_done):
    flood = [send() for _ in range(FLOOD)]
    denoiser.entered.acquire()
    for waiter in flood:
        waiter.cancelled = True
    assert steps_until_done(lambda: send(steps=20)) <= 20 + 1
    assert all(waiter.ended.wait(10) for waiter in flood)


def test_a_flood_of_high_priority_shares_alike_among_the_callers_who_have_it(send, denoiser, steps_until_done):
    for _ in range(FLOOD):
        send("alice", priority=Priority.HIGH)
    denoiser.entered.acquire()
    assert steps_until_done(lambda: send("bob", 20, priority=Priority.HIGH)) <= 20 + 20 / ROOM + 6
