import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn
from triton_diffusion import AsyncClient, MockTransport
from triton_diffusion.gateway import create_app

from tests.support.launching import COMMAND, ENVIRONMENT
from tests.support.launching import gateway as gateway_command


@pytest.fixture
def mock_gateway() -> Iterator[Callable[..., str]]:
    """Start a gateway without a Triton server, with arguments for `create_app`; its address."""
    with ExitStack() as stack:
        yield lambda client=None, **options: stack.enter_context(
            _running(client or AsyncClient(transport=MockTransport()), **options)
        )


@contextmanager
def _running(client: AsyncClient, **options) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(create_app(client, **options), log_level="error"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway") / "keys"


@pytest.fixture(scope="module")
def key(keys_file: Path) -> str:
    return _command("gateway-key", "alice", "--keys", str(keys_file))


@pytest.fixture(scope="module")
def other_key(keys_file: Path) -> str:
    return _command("gateway-key", "bob", "--keys", str(keys_file))


@pytest.fixture(scope="module")
def gateway(server, key: str, other_key: str, keys_file: Path) -> Iterator[str]:
    """The command `triton-diffusion gateway` before the real server, two generations a key; its address."""
    options = ["--url", server.grpc_url, "--keys", str(keys_file), "--concurrency", "2"]
    with gateway_command(*options) as (address, line):
        assert f"for 2 keys, from {server.grpc_url}" in line
        yield address


def _command(*arguments: str) -> str:
    done = subprocess.run([*COMMAND, *arguments], env=ENVIRONMENT, check=True, capture_output=True, text=True)
    return done.stdout.strip()
