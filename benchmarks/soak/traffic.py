"""Mixed traffic in a process of its own: python -m benchmarks.soak.traffic RATE GRPC HTTP GATEWAY

Prints its tally as JSON every few seconds, and at SIGTERM once more, when all that it has asked for has ended.
"""

import json
import random
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from benchmarks.resilience.traffic import SEEDS
from benchmarks.soak.kinds import Doors, Kinds, Unexpected

SHARES = {"images": 83, "cancelled": 10, "bad": 5, "killed": 2}  # percent
AT_ONCE = 12  # requests; what comes while there are so many is put off
TELL = 2.0  # seconds between two tallies


class Tally:
    """Counts of requests by kind, and of those that did not end as they should by what they did."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, kind: str, failure: str | None) -> None:
        with self._lock:
            self.asked[kind] += 1
            if failure is not None:
                self.failed[f"{kind}: {failure}"] += 1

    def tell(self) -> None:
        with self._lock:
            print(json.dumps({"asked": self.asked, "failed": self.failed}), flush=True)


def run(kinds: Kinds, rate: float, stopping: threading.Event) -> None:
    """Ask at `rate` a second, at random moments, until `stopping` is set."""
    tally, room = Tally(), threading.Semaphore(AT_ONCE)

    def ask(kind: str, seed: int) -> None:
        try:
            random.choice(kinds.by_name[kind])(seed)
        except Exception as error:
            reason = str(error) if isinstance(error, Unexpected) else f"{type(error).__name__}: {error}"
            tally.count(kind, reason[:200])
        else:
            tally.count(kind, None)
        finally:
            room.release()

    told = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while not stopping.wait(random.expovariate(rate)):
            room.acquire()
            (kind,) = random.choices([*SHARES], [*SHARES.values()])
            pool.submit(ask, kind, random.randrange(SEEDS))
            if time.monotonic() - told > TELL:
                tally.tell()
                told = time.monotonic()
    tally.tell()


def main() -> None:
    stopping = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that has started this one
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    rate, *urls = sys.argv[1:]
    kinds = Kinds(Doors(*urls))
    try:
        run(kinds, float(rate), stopping)
    finally:
        kinds.close()


if __name__ == "__main__":
    main()
