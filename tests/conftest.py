"""The one running server that all tests of served behaviour share, with the checkpoint that ships with the project."""

import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.launching import Server, launch, wait_until_ready
from tests.support.sharing import made_once
from tests.support.shipped import SHIPPED, export_shipped

if "PYTEST_XDIST_WORKER" in os.environ:  # before PyTorch is imported: workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TRITON_DIFFUSION_THREADS", "1")

pytest_plugins = ["tests.support.exports", "tests.support.launched"]


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Send every test of the one server to the same worker, so that it starts once, and those that start servers of
    their own to the same, so that there are never more than two."""
    for item in items:
        fixtures = {*getattr(item, "fixturenames", ())}
        if item.get_closest_marker("xdist_group"):
            continue
        if "server" in fixtures:
            item.add_marker(pytest.mark.xdist_group("server"))
        elif {"shipped_repository", "half_repository"} & fixtures:
            item.add_marker(pytest.mark.xdist_group("servers of their own"))


@pytest.fixture(scope="session")
def shipped_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped checkpoint, exported as a user would; to be read only."""
    return made_once(tmp_path_factory, "shipped", export_shipped) / "model_repository"


@pytest.fixture(scope="session")
def half_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped checkpoint, exported in FP16; to be read only."""
    make = functools.partial(export_shipped, options=("--precision", "fp16"))
    return made_once(tmp_path_factory, "half", make) / "model_repository"


@pytest.fixture(scope="session")
def server_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the server writes to standard error."""
    return tmp_path_factory.mktemp("server") / "log"


@pytest.fixture(scope="session")
def server(shipped_repository: Path, server_log: Path) -> Iterator[Server]:
    """The real Triton server, serving the shipped checkpoint."""
    standard_error = 2
    with subprocess.Popen(["tee", server_log], stdin=subprocess.PIPE, stdout=standard_error) as tee:
        launcher = launch(shipped_repository, stderr=tee.stdin.fileno())
        try:
            yield wait_until_ready(launcher)
        finally:
            launcher.terminate()
            launcher.wait(timeout=90)


@pytest.fixture(scope="session")
def shipped_checkpoint() -> Path:
    """The checkpoint that ships with the project."""
    return SHIPPED
