"""Doors that the fuzzers try, before the server that all tests share."""

import pytest

from tests.support.launching import gateway
from tests.support.proxy import running_nginx


@pytest.fixture(scope="session")
def proxy(server, tmp_path_factory):
    """The checked nginx before the server."""
    with running_nginx(tmp_path_factory.mktemp("nginx"), [server], "--plain", quiet=True) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def open_gateway(server, tmp_path_factory):
    """HOST:PORT of a gateway before the server that lets everybody in."""
    with (
        (tmp_path_factory.mktemp("gateway") / "log").open("w") as log,
        gateway("--url", server.grpc_url, "--concurrency", "64", log=log) as (address, _),
    ):
        yield address.removeprefix("http://")
