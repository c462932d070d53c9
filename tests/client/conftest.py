import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


@pytest.fixture
def unused_url() -> str:
    """An address of this machine that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine in an event loop of its own, three minutes at most."""
    return lambda coroutine: asyncio.run(asyncio.wait_for(coroutine, 180))
