"""From prompt to images without Triton: encoding, decoding, responses and what is counted."""

import math
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from conditioning import PromptEncoder
from events import Completed, Event, Failed, Preview, Progress, Queued
from pipeline import Pipeline
from request import parse_request
from tokenizers import Tokenizer, models, pre_tokenizers

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
def pipeline(checkpoint, denoiser, metrics, encoded, warnings, asked, poison, tmp_path):
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(77)
    tokenizer.enable_padding(length=77)
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    def text_encoder(input_ids):
        encoded.append(input_ids)
        if (input_ids == WORDS["circle"]).any():
            raise RuntimeError("text_encoder: no circles today")
        context = np.repeat(input_ids[:, :, None], 8, axis=2).astype(np.float32) / 10
        return {"context": poison("text_encoder", context)}

    def vae_decoder(latent):
        magnitude = poison("vae_decoder", np.ones((len(latent), 1), np.float32))
        return {"image": np.full((len(latent), 128, 128, 3), 7, np.uint8), "magnitude": magnitude}

    def poisoned_denoiser(**inputs):
        return {"model_output": poison("denoiser", denoiser(**inputs)["model_output"])}

    encoder = PromptEncoder({"input_ids": tmp_path / "tokenizer.json"}, text_encoder, warnings.append)
    networks = {"denoiser": poisoned_denoiser, "vae_decoder": vae_decoder}
    log = lambda record: asked[int(record["request_id"])].ended(record)  # noqa: E731
    pipeline = Pipeline(checkpoint, encoder, networks, 16, 4, metrics, log)
    yield pipeline
    pipeline.close()


@pytest.fixture
def submit(pipeline, checkpoint, asked):
    """Start on a request; its answers to come."""

    def start(prompt="red", timeout=math.inf, **fields):
        strings = {"prompt": prompt, **{k: v for k, v in fields.items() if isinstance(v, str)}}
        tensors = {name: np.array([value.encode()], object) for name, value in strings.items()}
        tensors |= {name: np.array([value]) for name, value in fields.items() if not isinstance(value, str)}
        answers = Answers()
        asked.append(answers)
        pipeline.submit(parse_request(tensors, checkpoint), answers, str(len(asked) - 1), timeout)
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


def test_a_request_hears_every_step_and_then_gets_its_images(ask, metrics):
    answers = ask(num_images=3, num_inference_steps=4, preview_interval=2)
    assert answers.steps == [0, 1, 2, 3, 4]
    assert answers.images.shape == (3, 128, 128, 3)
    assert [preview.shape for preview in answers.previews] == [(3, 16, 16, 3)]


def test_while_nobody_takes_previews_the_loop_goes_on_and_few_are_kept(submit, denoiser):
    denoiser.gate.clear()
    answers = submit(num_inference_steps=100, preview_interval=1)
    answers.taken.clear()
    denoiser.gate.set()
    deadline = time.monotonic() + 10
    while len(denoiser.rows) < 100:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    answers.taken.set()
    assert answers.over.wait(10)
    assert answers.steps == [*range(101)], "every step is told, in order"
    assert 1 <= len(answers.previews) <= 9, "the one that is being sent, and eight that wait"


def test_a_request_that_waits_hears_its_place(submit, denoiser, metrics):
    denoiser.gate.clear()
    first = submit(num_images=8, num_inference_steps=2)
    denoiser.entered.acquire()
    second = submit(num_images=8, num_inference_steps=2)
    waiting = submit(num_images=4, num_inference_steps=5, seed=7)
    deadline = time.monotonic() + 10
    while metrics["waiting_requests"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    denoiser.gate.set()
    for answers in (first, second, waiting):
        assert answers.over.wait(10)
    assert waiting.positions == [1]
    assert waiting.steps == [0, 1, 2, 3, 4, 5]


def test_the_prompts_of_a_request_are_encoded_in_one_call(ask, encoded):
    ask(negative_prompt="blue", num_images=4, num_inference_steps=1)
    assert [len(ids) for ids in encoded] == [2]


def test_equal_prompts_are_encoded_once(ask, encoded):
    ask("red", negative_prompt="red", num_inference_steps=1)
    assert [len(ids) for ids in encoded] == [1]


def test_without_guidance_the_negative_prompt_is_not_encoded(ask, encoded):
    ask(negative_prompt="blue", guidance_scale=1.0, num_inference_steps=1)
    assert [len(ids) for ids in encoded] == [1]


def test_a_prompt_past_the_window_is_truncated_with_a_warning(ask, warnings):
    answers = ask("red " * 80, num_inference_steps=1)
    assert answers.images is not None
    assert warnings == ["prompt truncated: about 3 tokens are past the text encoder's window of 77"]


def test_a_failing_text_encoder_fails_its_own_request_only(ask):
    answers = ask("circle")
    assert str(answers.reason) == "text_encoder: no circles today"
    assert ask("red", num_inference_steps=1).images is not None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("network", ["text_encoder", "denoiser", "vae_decoder"])
def test_a_network_that_gives_no_numbers_is_named_and_makes_no_image(ask, poison, network, value):
    poison.network, poison.value = network, value
    answers = ask(num_inference_steps=3, preview_interval=1)
    assert str(answers.reason).startswith(f"{network} computed NaN or infinity: ")
    assert (answers.outcome, answers.images) == ("failed", None)
    assert len(answers.previews) == (2 if network == "vae_decoder" else 0), "no preview is of NaN"
    poison.network = ""
    assert ask(num_inference_steps=3).images is not None


def test_outcomes_are_counted_and_nothing_stays_in_flight(ask, metrics, pipeline):
    ask(num_inference_steps=1)
    ask("circle")
    pipeline.close()
    assert (metrics["requests_done"], metrics["requests_failed"]) == (1, 1)
    assert metrics["requests_in_flight"] == 0
    assert metrics["generation_seconds_count"] == 2
    assert metrics["generation_seconds_sum"] > 0


def test_the_log_hears_what_a_request_was_and_how_it_ended_but_no_prompt(ask):
    answers = ask(num_inference_steps=2, num_images=3, seed=9, priority="high")
    assert answers.outcome == "done"
    assert answers.facts["seconds"] >= answers.facts["queue_seconds"] >= 0
    told = {name: value for name, value in answers.facts.items() if not name.endswith("seconds")}
    assert told == {
        "request_id": "0",
        "outcome": "done",
        "steps": 2,
        "images": 3,
        "size": "128x128",
        "seed": 9,
        "priority": "high",
    }
    failed = ask("circle")
    assert (failed.outcome, failed.facts["error"]) == ("failed", "text_encoder: no circles today")


def test_a_request_past_its_deadline_is_not_even_encoded(submit, encoded):
    answers = submit(timeout=0.0)
    assert answers.over.wait(10)
    assert str(answers.reason).startswith("the deadline of 0 s has passed")
    assert (answers.outcome, answers.steps, encoded) == ("expired", [], [])


def test_a_deadline_that_passes_in_the_loop_ends_the_request_there(submit, denoiser, metrics):
    denoiser.gate.clear()
    answers = submit(num_inference_steps=50, timeout=0.2)
    denoiser.entered.acquire()
    time.sleep(0.3)
    denoiser.gate.set()
    assert answers.over.wait(10)
    assert answers.outcome == "expired"
    assert len(denoiser.rows) == 1
    assert metrics["requests_expired"] == 1


def test_a_full_queue_refuses_at_once_and_takes_requests_again_when_there_is_room(submit, denoiser, metrics):
    denoiser.gate.clear()
    accepted = [submit(num_images=8, num_inference_steps=2) for _ in range(2)] + [submit(num_images=4)]
    refused = submit()
    assert refused.over.is_set()
    assert str(refused.reason) == "the queue is full (4 images wait): try again in 1 s"
    assert refused.outcome == "refused"
    urgent = submit(priority="high", num_inference_steps=1)
    denoiser.gate.set()
    for answers in (*accepted, urgent):
        assert answers.over.wait(10)
        assert answers.outcome == "done"
    again = submit(num_images=8)
    assert again.over.wait(10)
    assert again.outcome == "done"
    assert metrics["requests_refused"] == 1


def test_previews_apply_the_linear_map_of_the_checkpoint(checkpoint):
    denoised = np.zeros((1, 4, 2, 2), np.float32)
    denoised[0, 0] = 1  # red is channel 0, and 1 its brightest
    denoised[0, 1, 0, 0] = -3
    preview = checkpoint.latent_format.preview(denoised)
    assert preview.dtype == np.uint8
    assert preview[0, 0, 0].tolist() == [255, 0, 128]
    assert preview[0, 1, 1].tolist() == [255, 128, 128]


def test_a_denoiser_that_takes_too_few_rows_for_a_request_is_refused(checkpoint, denoiser, metrics):
    few = {**checkpoint.networks, "denoiser": {"max_batch": 8}}
    networks = {"denoiser": denoiser, "vae_decoder": denoiser}
    with pytest.raises(ValueError, match=r"takes 8 rows a call, and a guided request of 8 images needs 16"):
        Pipeline(replace(checkpoint, networks=few), None, networks, 16, 4, metrics, print)
