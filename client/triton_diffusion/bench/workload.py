"""The requests of a load test, the same ones in every run."""

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Fields: TypeAlias = dict[str, Any]
"""One request, under the names of `Client.text_to_image`."""

MIXED_STEPS = (4, 50)
MIXED_SAMPLERS = ("ddim", "dpmpp_2m")

_SUBJECTS = ("circle", "square", "triangle")
_SIZES = ("small", "large")
_COLOURS = ("red", "green", "blue", "yellow", "white", "purple")
_PLACES = ("on the left", "on the right", "at the top", "at the bottom")
PROMPTS = tuple(
    f"a {size} {colour} {subject} {place} of a {background} background"
    for size, colour, subject, place, background in itertools.product(_SIZES, _COLOURS, _SUBJECTS, _PLACES, _COLOURS)
    if colour != background
)


@dataclass(frozen=True)
class Workload:
    """Requests in the order in which they are sent, each for one image."""

    name: str
    requests: list[Fields]


def uniform(count: int, prompts: Sequence[str], settings: Fields) -> Workload:
    """Requests that differ in prompt and seed alone."""
    chosen = random.Random(0).choices(prompts, k=count)
    return Workload("uniform", [{"prompt": prompt, "seed": seed, **settings} for seed, prompt in enumerate(chosen)])


def mixed(count: int, prompts: Sequence[str]) -> Workload:
    """Requests as different users send them: 4 to 50 steps, two samplers, half of them without guidance."""
    draw = random.Random(0)
    requests: list[Fields] = []
    for seed in range(count):
        request: Fields = {
            "prompt": draw.choice(prompts),
            "seed": seed,
            "num_inference_steps": draw.randint(*MIXED_STEPS),
            "sampler": draw.choice(MIXED_SAMPLERS),
        }
        if draw.random() < 0.5:
            request["guidance_scale"] = 1.0  # off; without the field it is the checkpoint's
        requests.append(request)
    return Workload("mixed", requests)


def input_data(workload: Workload) -> str:
    """The requests as perf_analyzer's `--input-data` takes them: JSON, every tensor of shape [1]."""
    data = [{name: [value] for name, value in request.items()} for request in workload.requests]
    return json.dumps({"data": data})
