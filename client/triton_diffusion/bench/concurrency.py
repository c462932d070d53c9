"""Concurrent calls of one function, as many at a time as a load asks for."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .workload import Fields

Answer = TypeVar("Answer")


def concurrently(call: Callable[[Fields], Answer], requests: Iterable[Fields], concurrency: int) -> list[Answer]:
    """The answers to `requests`, in their order. `concurrency` calls run at any time, each in a thread of its own."""
    with ThreadPoolExecutor(concurrency) as pool:
        return list(pool.map(call, requests))
