"""The choice of a server for the next try, and the pause before it."""

import math

import pytest
from triton_diffusion import (
    DeadlineExceeded,
    DiffusionError,
    GenerationFailed,
    InvalidRequest,
    ServerOverloaded,
    ServerUnavailable,
    WrongServer,
)
from triton_diffusion._attempts import LONGEST_PAUSE, RESTART, Attempts, Servers
from triton_diffusion._checkpoint import read_checkpoint
from triton_diffusion._deadline import Deadline

from tests.support.description import DESCRIPTION


def fail(attempts: Attempts[str], error: DiffusionError) -> str:
    """One try that ends with `error`: the server it went to."""
    with attempts.next() as server:
        raise error
    return server.transport


def test_the_pauses_double_by_chance_a_half_less_up_to_the_longest():
    attempts = Servers(["a"], retries=9).attempts(None)
    for expected in (0.25, 0.5, 1, 2, 4, 8, 8, 8, 8):
        fail(attempts, ServerUnavailable("gone"))
        assert expected / 2 <= attempts.pause <= expected <= LONGEST_PAUSE
    with pytest.raises(ServerUnavailable, match="gone"):
        fail(attempts, ServerUnavailable("gone"))


def test_the_pauses_of_two_calls_differ():
    pauses = set()
    for _ in range(5):
        attempts = Servers(["a"], retries=1).attempts(None)
        fail(attempts, ServerUnavailable("gone"))
        pauses.add(attempts.pause)
    assert len(pauses) == 5


@pytest.mark.parametrize(
    "error",
    [InvalidRequest("no"), WrongServer("no"), GenerationFailed("no"), DeadlineExceeded("no"), KeyboardInterrupt("no")],
)
def test_other_errors_end_the_call(error):
    servers = Servers(["a", "b"], retries=9)
    with pytest.raises(type(error), match="no"):
        fail(servers.attempts(None), error)
    assert [server.in_flight for server in servers.all] == [0, 0]


def test_the_next_try_goes_to_another_server_at_once():
    attempts = Servers(["a", "b", "c"], retries=9).attempts(None)
    assert [fail(attempts, ServerUnavailable("gone")) for _ in range(2)] == ["a", "b"]
    assert attempts.pause == 0
    assert fail(attempts, ServerUnavailable("gone")) == "c"
    assert attempts.pause > 0


def test_every_next_try_is_logged_with_its_reason(caplog):
    attempts = Servers(["a"], retries=1).attempts(None)
    with caplog.at_level("INFO", "triton_diffusion"):
        fail(attempts, ServerUnavailable("gone", request_id="12"))
        pause = attempts.pause
        with pytest.raises(ServerUnavailable):
            fail(attempts, ServerUnavailable("gone", request_id="12"))
    assert caplog.messages == [f"request 12: gone; trying again in {pause:.2f} s, the 1. time"]


def test_a_server_that_was_lost_is_avoided_by_the_next_call():
    servers = Servers(["a", "b"], retries=1)
    fail(servers.attempts(None), ServerUnavailable("gone"))
    with servers.attempts(None).next() as server:
        assert server.transport == "b"


@pytest.mark.parametrize(
    ("error", "failures"), [(GenerationFailed("no"), 0), (InvalidRequest("no"), 0), (DeadlineExceeded("no"), 1)]
)
def test_only_an_answer_says_that_a_server_is_up_again(error, failures):
    servers = Servers(["a"], retries=1)
    fail(servers.attempts(None), ServerUnavailable("gone"))
    with pytest.raises(type(error)):
        fail(servers.attempts(None), error)
    assert servers.all[0].failures == failures


def test_what_a_lost_server_served_is_asked_for_again():
    servers = Servers(["a"], retries=1)
    servers.all[0].checkpoint = read_checkpoint({"description": DESCRIPTION})
    fail(servers.attempts(None), ServerUnavailable("gone"))
    assert servers.all[0].checkpoint is None


def test_a_call_goes_to_the_server_with_the_least_to_do():
    servers = Servers(["a", "b"], retries=0)
    with servers.attempts(None).next() as one, servers.attempts(None).next() as other:
        assert [one.transport, other.transport] == ["a", "b"]
    with servers.attempts(None).next() as again:
        assert again.transport == "a"


def test_an_overloaded_server_is_asked_again_when_it_said_not_all_at_once():
    pauses = set()
    for _ in range(20):
        attempts = Servers(["a"], retries=1).attempts(None)
        fail(attempts, ServerOverloaded("busy", 32.0))
        pauses.add(attempts.pause)
    assert len(pauses) == 20
    assert min(pauses) >= 32
    assert 40 < max(pauses) <= 48


def test_where_all_are_overloaded_the_next_try_waits():
    attempts = Servers(["a", "b"], retries=9).attempts(None)
    assert fail(attempts, ServerOverloaded("busy", 3.0)) == "a"
    assert attempts.pause == 0
    assert fail(attempts, ServerOverloaded("busy", 2.0)) == "b"
    assert 2 <= attempts.pause <= 3


def test_a_pause_that_would_pass_the_deadline_is_not_begun():
    with pytest.raises(ServerOverloaded) as caught:
        fail(Servers(["a"], retries=9).attempts(5), ServerOverloaded("busy", 33.0))
    assert caught.value.retry_after == 33


def test_calls_that_fail_together_count_once_against_the_server():
    servers = Servers(["a"], retries=1)
    for _ in range(100):
        fail(servers.attempts(None), ServerUnavailable("gone"))
    assert servers.all[0].failures == 1


@pytest.mark.parametrize("timeout", [0, -1, math.nan, "5"])
def test_an_invalid_timeout(timeout):
    with pytest.raises(InvalidRequest, match=r"timeout is .*: use seconds above 0") as refused:
        Deadline(timeout)
    assert refused.value.field == "timeout"


@pytest.mark.parametrize("retries", [-1, 1.5, True, None])
def test_invalid_retries(retries):
    with pytest.raises(InvalidRequest, match=r"retries is .*: use 0 or more"):
        Servers(["a"], retries)


def test_a_closed_client_takes_no_call():
    servers = Servers(["a"], retries=0)
    attempts = servers.attempts(None)
    servers.closed = True
    with pytest.raises(RuntimeError, match="closed"):
        servers.attempts(None)
    assert attempts.pause == 0
    with pytest.raises(RuntimeError, match="closed"):
        attempts.next()


GONE = ServerUnavailable("gone", connected=False)


def reach(servers: Servers[str]) -> None:
    with servers.attempts(None).next():
        pass


def test_a_server_that_was_reached_before_is_given_the_time_to_start_again(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    servers = Servers(["a"], retries=1)
    reach(servers)
    attempts = servers.attempts(None)
    while now < 1000 + RESTART:
        fail(attempts, GONE)
        now += attempts.pause
    with pytest.raises(ServerUnavailable):
        fail(attempts, GONE)


def test_the_time_to_start_again_begins_anew_where_a_try_was_lost_inside_the_server(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    attempts = Servers(["a"], retries=2).attempts(None)
    for _ in range(2):
        fail(attempts, ServerUnavailable("lost"))
        now += RESTART - 1
        fail(attempts, GONE)
    with pytest.raises(ServerUnavailable, match="lost"):
        fail(attempts, ServerUnavailable("lost"))


def test_a_server_that_was_never_there_gets_no_longer_than_the_tries():
    attempts = Servers(["a"], retries=1).attempts(None)
    fail(attempts, GONE)
    with pytest.raises(ServerUnavailable):
        fail(attempts, GONE)


@pytest.mark.parametrize(("retries", "error"), [(0, GONE), (1, ServerOverloaded("full", 1.0))])
def test_without_retries_or_where_it_is_only_full_a_server_gets_no_longer(retries, error):
    servers = Servers(["a"], retries=retries)
    reach(servers)
    attempts = servers.attempts(None)
    for _ in range(retries):
        fail(attempts, error)
    with pytest.raises(type(error)):
        fail(attempts, error)
