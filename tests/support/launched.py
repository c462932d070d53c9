"""The fixture `start`: launchers that are gone when the test ends, however it ends."""

import subprocess
from collections.abc import Callable

import pytest

from tests.support.launching import launch


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Callable[..., subprocess.Popen[str]]:
    """As `launch`."""

    def run(*arguments, **keywords) -> subprocess.Popen[str]:
        launcher = launch(*arguments, **keywords)
        request.addfinalizer(launcher.wait)
        request.addfinalizer(launcher.kill)
        return launcher

    return run


def last_words(launcher: subprocess.Popen[str]) -> str:
    """The launcher's only line when it gives up before it is ready, which must take less than 30 seconds."""
    out, err = launcher.communicate(timeout=30)
    assert launcher.returncode == 1
    assert out == ""
    assert err.startswith("launcher: ")
    assert err.count("\n") == 1, err
    return err
