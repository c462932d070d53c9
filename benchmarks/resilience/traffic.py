"""Clients that ask for one image after another, and what became of every request."""

import itertools
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image
from triton_diffusion import Client, Completed, DiffusionError

from benchmarks.resilience.figures import Figure

CLIENTS = 32
STEPS = 4
SEEDS = 16  # so many different images are asked for
PROMPT = "a small red circle on the left of a blue background"

Ways: TypeAlias = Mapping[str, Callable[[], Client]]
"""Ways to the servers, by name; each makes a client of its own for each thread."""


@dataclass(frozen=True)
class Answer:
    """The end of one request. Times are time.monotonic()."""

    sent: float
    ended: float
    images: int = 0
    right: bool = False  # whether they are what the seed gives when nothing else runs
    error: str = ""


@dataclass
class Record:
    """Of all clients."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)  # by way
    retries: int = 0

    @property
    def all(self) -> list[Answer]:
        return [answer for answers in self.answers.values() for answer in answers]

    def figures(self) -> list[Figure]:
        answers = self.all
        ends = sorted(answer.ended for answer in answers)
        begin, images = min(answer.sent for answer in answers), [answer for answer in answers if answer.images]
        return [
            *(Figure(f"requests, {way}", len(found)) for way, found in self.answers.items()),
            Figure("images a second", len(images) / (ends[-1] - begin)),
            Figure("tries after the first", self.retries),
            Figure("requests that failed", sum(bool(answer.error) for answer in answers), at_most=0),
            Figure("wrong images for their seed", sum(not answer.right for answer in images), at_most=0),
            Figure("requests answered twice", sum(answer.images > 1 for answer in images), at_most=0),
            Figure("longest request", max(answer.ended - answer.sent for answer in answers), "s"),
            Figure("longest time without any answer", max(b - a for a, b in itertools.pairwise([begin, *ends])), "s"),
        ]

    def errors(self) -> Counter[str]:
        return Counter(answer.error for answer in self.all if answer.error)


def images_made_alone(client: Client) -> list[np.ndarray]:
    """One for each seed, while nothing else runs."""
    return [np.asarray(_ask(client, seed, stream=False)[0]) for seed in range(SEEDS)]


@contextmanager
def traffic(ways: Ways, expected: Sequence[np.ndarray]) -> Iterator[Record]:
    """CLIENTS threads ask without a pause, by each way as many; at the end each waits for its last answer."""
    record = Record({way: [] for way in ways})
    stopping, numbers = threading.Event(), itertools.count()

    def ask_again_and_again(way: str, stream: bool) -> None:
        with ways[way]() as client:
            while not stopping.is_set():
                seed = next(numbers) % SEEDS
                answer = _answer(client, seed, stream and client.streams, expected[seed])
                record.answers[way].append(answer)
                if answer.error:  # its retries are used up
                    stopping.wait(1)

    kinds = itertools.islice(itertools.cycle(itertools.product((False, True), ways)), CLIENTS)
    threads = [threading.Thread(target=ask_again_and_again, args=(way, stream)) for stream, way in kinds]
    with _counting_retries(record):
        for thread in threads:
            thread.start()
        try:
            yield record
        finally:
            stopping.set()
            for thread in threads:
                thread.join()


def made_twice(log: Path) -> int:
    """Requests whose images two servers have made, by their log: after a connection was lost nobody knows whether
    they were sent, and the client asks again."""
    made: Counter[str] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith('{"time"'):
            entry = json.loads(line)
            if (entry["model"], entry["outcome"]) == ("diffusion", "done"):
                made[entry["request_id"]] += 1
    return sum(count > 1 for count in made.values())


def _answer(client: Client, seed: int, stream: bool, expected: np.ndarray) -> Answer:
    sent = time.monotonic()
    try:
        images = _ask(client, seed, stream)
    except DiffusionError as error:
        return Answer(sent, time.monotonic(), error=str(error))
    right = all(image.info["seed"] == seed and np.array_equal(np.asarray(image), expected) for image in images)
    return Answer(sent, time.monotonic(), len(images), right)


def _ask(client: Client, seed: int, stream: bool) -> list[Image.Image]:
    if not stream:
        return client.text_to_image(PROMPT, seed=seed, num_inference_steps=STEPS)
    events = client.stream(PROMPT, seed=seed, num_inference_steps=STEPS)
    return list(itertools.chain(*(event.images for event in events if isinstance(event, Completed))))


@contextmanager
def _counting_retries(record: Record) -> Iterator[None]:
    class Counting(logging.Handler):
        def emit(self, message: logging.LogRecord) -> None:
            record.retries += 1  # the client logs nothing else

    logger, handler = logging.getLogger("triton_diffusion"), Counting()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
