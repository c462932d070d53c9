"""A checkpoint description and a toy denoiser for tests of the loop without Triton."""

import math
import threading
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from checkpoint import Checkpoint
from conditioning import PromptEncoder
from events import Cancelled, Completed, Event, Failed, Preview, Progress, Queued
from networks.arrays import Arrays
from pipeline import Pipeline
from request import parse_request
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.support.arrays import ARRAYS, on_device


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return Checkpoint(
        name="toy",
        family="stable_diffusion",
        schedule={
            "num_train_timesteps": 1000,
            "beta_start": 1e-4,
            "beta_end": 0.02,
            "beta_schedule": "linear",
            "prediction_type": "v_prediction",
            "steps_offset": 1,
        },
        latent_channels=4,
        vae_factor=8,
        latent_rgb={"weight": [[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [0, 0, 0]], "bias": [0.5, 0.5, 0.5]},
        height=128,
        width=128,
        height_range=(128, 128),
        width_range=(64, 256),
        tokenizers={"input_ids": "tokenizer.json"},
        networks={
            "text_encoder": {"max_batch": 16, "inputs": ["input_ids"], "outputs": ["context"]},
            "denoiser": {"max_batch": 32, "inputs": ["sample", "timestep", "context"], "outputs": ["model_output"]},
            "vae_decoder": {"max_batch": 8, "inputs": ["latent"], "outputs": ["image", "magnitude"]},
        },
        defaults={
            "sampler": "dpmpp_2m",
            "timestep_spacing": "karras",
            "num_inference_steps": 20,
            "guidance_scale": 3.0,
        },
    )


class ToyDenoiser:
    """Counts its calls. A row's output depends on all of its own inputs and on no other row."""

    def __init__(self) -> None:
        self.rows: list[int] = []  # of each call
        self.shapes: list[tuple[int, ...]] = []
        self.gate = threading.Event()  # while it is not set, calls wait
        self.gate.set()
        self.entered = threading.Semaphore(0)  # released by each call
        self.failure: Exception | None = None

    def __call__(self, sample: np.ndarray, timestep: np.ndarray, context: np.ndarray) -> dict[str, np.ndarray]:
        self.rows.append(len(sample))
        self.shapes.append(sample.shape[1:])
        self.entered.release()
        assert self.gate.wait(10)
        if self.failure:
            raise self.failure
        bend = (timestep / 1000 + context[:, 0, 0])[:, None, None, None]
        return {"model_output": (np.tanh(sample * (0.5 + bend)) - 0.1 * bend).astype(np.float32)}


@pytest.fixture
def denoiser() -> ToyDenoiser:
    return ToyDenoiser()


class Counts(Counter):
    """Metrics that a test can read."""

    def add(self, name: str, amount: float) -> None:
        self[name] += amount

    def observe(self, name: str, value: float) -> None:
        """A histogram's count and sum."""
        self[f"{name}_count"] += 1
        self[f"{name}_sum"] += value


@pytest.fixture
def metrics() -> Counts:
    return Counts()


class Waiter:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.cancelled = False
        self.deadline = math.inf
        self.positions: list[int] = []
        self.steps: list[int] = []
        self.previews: list[np.ndarray] = []
        self.latent: np.ndarray | None = None
        self.reason: Exception | None = None
        self.on_end: Callable[[], object] = lambda: None
        self.ended = threading.Event()

    def report(self, event: Event) -> None:
        match event:
            case Queued(position):
                self.positions.append(position)
            case Progress(step):
                self.steps.append(step)
            case Preview(step, denoised):
                self.steps.append(step)
                self.previews.append(denoised)
            case Completed(latent):
                self.latent = latent
            case Failed(reason):
                self.reason = reason
        if isinstance(event, Completed | Failed | Cancelled):
            self.expire()

    def expire(self) -> None:
        self.on_end()
        self.ended.set()


WORDS = {"[PAD]": 0, "[UNK]": 1, "red": 2, "circle": 3}


class Answers:
    """Keeps the responses to one request."""

    def __init__(self) -> None:
        self.wanted = True
        self.taken = threading.Event()  # while it is not set, nobody takes a preview
        self.taken.set()
        self.positions: list[int] = []
        self.steps: list[int] = []
        self.previews: list[np.ndarray] = []
        self.images: np.ndarray | None = None
        self.reason: Exception | None = None
        self.outcome = ""
        self.facts: dict[str, object] = {}
        self.over = threading.Event()

    def __call__(self, event: Event) -> bool:
        match event:
            case Queued(position):
                self.positions.append(position)
            case Progress(step):
                self.steps.append(step)
            case Preview(step, image):
                assert self.taken.wait(10)
                self.steps.append(step)
                self.previews.append(image)
            case Completed(image):
                self.images = image
            case Failed(reason):
                self.reason = reason
        return self.wanted

    def ended(self, record: dict[str, object]) -> None:
        """The log has it: all is said."""
        self.outcome, self.facts = str(record["outcome"]), record
        self.over.set()


@pytest.fixture
def encoded() -> list[np.ndarray]:
    """The input of every call of the text encoder."""
    return []


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def asked() -> list[Answers]:
    """The answers to every request; a request's id is its place here."""
    return []


class Poison:
    """Puts `value` into the outputs of `network`."""

    network = ""
    value = math.nan

    def __call__(self, network: str, output: np.ndarray) -> np.ndarray:
        if network == self.network:
            output.flat[0] = self.value
        return output


@pytest.fixture
def poison() -> Poison:
    return Poison()


@pytest.fixture
def encoding_gate():
    """While it is not set, calls of the text encoder wait."""
    gate = threading.Event()
    gate.set()
    yield gate
    gate.set()


@pytest.fixture
def callers() -> dict[str, str]:
    """The thread that has called each network."""
    return {}


@pytest.fixture(params=ARRAYS.values(), ids=ARRAYS)
def arrays(request) -> Arrays:
    """Where the networks of `pipeline` are."""
    return request.param


@pytest.fixture
def pipeline(checkpoint, denoiser, metrics, encoded, warnings, asked, poison, encoding_gate, callers, arrays, tmp_path):
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(77)
    tokenizer.enable_padding(length=77)
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    def note(name):
        callers[name] = threading.current_thread().name

    def text_encoder(input_ids):
        note("text_encoder")
        encoded.append(input_ids)
        assert encoding_gate.wait(10)
        if (input_ids == WORDS["circle"]).any():
            raise RuntimeError("text_encoder: no circles today")
        context = np.repeat(input_ids[:, :, None], 8, axis=2).astype(np.float32) / 10
        return {"context": poison("text_encoder", context)}

    def vae_decoder(latent):
        note("vae_decoder")
        magnitude = poison("vae_decoder", np.ones((len(latent), 1), np.float32))
        return {"image": np.full((len(latent), 128, 128, 3), 7, np.uint8), "magnitude": magnitude}

    def poisoned_denoiser(**inputs):
        note("denoiser")
        return {"model_output": poison("denoiser", denoiser(**inputs)["model_output"])}

    tokenizers = {"input_ids": tmp_path / "tokenizer.json"}
    encoder = PromptEncoder(tokenizers, on_device(text_encoder, arrays), warnings.append, arrays)
    networks = {"denoiser": on_device(poisoned_denoiser, arrays), "vae_decoder": on_device(vae_decoder, arrays)}
    log = lambda record: asked[int(record["request_id"])].ended(record)  # noqa: E731
    pipeline = Pipeline(checkpoint, encoder, networks, 16, 4, metrics, log, arrays)
    yield pipeline
    pipeline.close()


@pytest.fixture
def submit(pipeline, checkpoint, asked):
    """Start on a request; its answers to come."""

    def start(prompt="red", timeout=math.inf, caller=None, interval=0.0, **fields):
        strings = {"prompt": prompt, **{k: v for k, v in fields.items() if isinstance(v, str)}}
        tensors = {name: np.array([value.encode()], object) for name, value in strings.items()}
        tensors |= {name: np.array([value]) for name, value in fields.items() if not isinstance(value, str)}
        answers = Answers()
        asked.append(answers)
        request = parse_request(tensors, checkpoint, caller)
        answers.job = pipeline.submit(request, answers, str(len(asked) - 1), timeout, interval)
        return answers

    return start


@pytest.fixture
def ask(submit):
    """All the answers to a request."""

    def wait(prompt="red", **fields):
        answers = submit(prompt, **fields)
        assert answers.over.wait(10)
        return answers

    return wait
