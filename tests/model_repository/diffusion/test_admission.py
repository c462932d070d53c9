"""How many images may wait, whom a full queue still takes, and when it asks the others to come back."""

import admission
import numpy as np
import pytest
from admission import Admission
from errors import Overloaded
from request import Request, parse_request


class Clock:
    """Stands until a test sets it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(admission, "time", clock)
    return clock


@pytest.fixture
def ask(checkpoint):
    def ask(num_images: int, priority: str = "normal", caller: str | None = None) -> Request:
        tensors = {
            "prompt": np.array([b"a"], np.object_),
            "num_images": np.array([num_images], np.int32),
            "priority": np.array([priority.encode()], np.object_),
        }
        return parse_request(tensors, checkpoint, caller)

    return ask


def test_who_leaves_makes_room(ask):
    queue = Admission(max_active_samples=4, max_queue=2)
    for num_images in (4, 2):
        queue.enter(ask(num_images))
    with pytest.raises(Overloaded, match=r"\(2 images wait\)"):
        queue.enter(ask(1))
    queue.leave(ask(2))
    queue.enter(ask(2))


def test_a_full_queue_of_lower_priority_still_takes_a_higher_one(ask):
    queue = Admission(max_active_samples=4, max_queue=0)
    queue.enter(ask(4, "low"))
    with pytest.raises(Overloaded):
        queue.enter(ask(1, "low"))
    queue.enter(ask(1, "high"))


def test_the_hint_is_the_time_that_those_who_wait_take_to_get_in(ask, clock):
    queue = Admission(max_active_samples=1, max_queue=4)
    for _ in range(5):
        queue.enter(ask(1))
    for _ in range(8):  # one image every three seconds
        queue.leave(ask(1))
        queue.enter(ask(1))
        clock.now += 3
    with pytest.raises(Overloaded, match="try again in 12 s"):
        queue.enter(ask(1))


def test_hours_without_work_do_not_lengthen_the_hint(ask, clock):
    queue = Admission(max_active_samples=1, max_queue=1)
    queue.enter(ask(1))
    queue.leave(ask(1))
    clock.now += 3 * 3600
    for _ in range(2):
        queue.enter(ask(1))
    with pytest.raises(Overloaded, match="try again in 1 s"):
        queue.enter(ask(1))


def test_one_callers_flood_keeps_no_other_caller_out(ask):
    queue = Admission(max_active_samples=8, max_queue=8)
    for _ in range(16):
        queue.enter(ask(1, caller="alice"))
    for caller in ("alice", None):
        with pytest.raises(Overloaded):
            queue.enter(ask(1, caller=caller))
    for _ in range(8):  # half of the places
        queue.enter(ask(1, caller="bob"))
    with pytest.raises(Overloaded):
        queue.enter(ask(1, caller="bob"))
    queue.leave(ask(1, caller="bob"))
    queue.enter(ask(1, caller="bob"))


def test_however_many_callers_there_are_twice_the_limit_is_the_end(ask):
    queue, inside = Admission(max_active_samples=8, max_queue=8), 0
    for k in range(100):
        for _ in range(16):
            try:
                queue.enter(ask(1, caller=f"caller-{k}"))
                inside += 1
            except Overloaded:
                break
    assert inside == 32
