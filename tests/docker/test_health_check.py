"""The health check: seconds without an answer, of a server that hangs and of one that is busy."""

import subprocess
import sys
import time

import health_check
import pytest
from health_check import WEIGHT_OF_BUSY, HealthCheck
from processes import processor_seconds


def unanswered_by(program: str, monkeypatch: pytest.MonkeyPatch, tries: int = 4) -> float:
    """Seconds after so many `tries`, each of 0.1 s, of a process that runs `program` and never answers."""
    monkeypatch.setattr(health_check, "PAUSE", 0.01)
    asked = 0

    def ask() -> bool:
        nonlocal asked
        asked += 1
        time.sleep(0.1)
        return False

    with subprocess.Popen([sys.executable, "-c", f"print(flush=True)\n{program}"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has started
        check = HealthCheck(ask, processor_seconds=lambda: processor_seconds(process.pid))
        while asked <= tries:
            time.sleep(0.01)
        check.close()
        process.kill()
    return check.unanswered


def test_a_server_that_hangs_is_given_up_in_time(monkeypatch):
    assert unanswered_by("import time; time.sleep(60)", monkeypatch) >= 0.4


def test_a_busy_server_has_ten_times_as_long(monkeypatch):
    asleep = unanswered_by("import time; time.sleep(60)", monkeypatch)
    assert 0 < unanswered_by("while True: pass", monkeypatch) <= 2 * WEIGHT_OF_BUSY * asleep


def test_an_answer_ends_the_count(monkeypatch):
    monkeypatch.setattr(health_check, "PAUSE", 0.01)
    given: list[bool] = []

    def ask() -> bool:
        given.append(len(given) >= 2)  # the third answer is the first one
        return given[-1]

    check = HealthCheck(ask, processor_seconds=lambda: 0.0)
    while len(given) < 4:
        time.sleep(0.01)
    check.close()
    assert check.unanswered == 0
