"""From prompt to pictures without Triton: encoding, decoding, responses and what is counted."""

import threading
import time

import numpy as np
import pytest
from pipeline import Pipeline
from request import parse_request
from text import PromptEncoder
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = {"[PAD]": 0, "[UNK]": 1, "red": 2, "circle": 3}


class Answers:
    """A responder that keeps what it is given."""

    def __init__(self) -> None:
        self.cancelled = False
        self.positions: list[tuple[int, int, list[int]]] = []
        self.steps: list[int] = []
        self.previews: list[np.ndarray] = []
        self.pictures: np.ndarray | None = None
        self.reason: Exception | None = None
        self.ended = threading.Event()

    def queued(self, position, num_steps, seeds):
        self.positions.append((position, num_steps, seeds.tolist()))

    def progress(self, step, num_steps, seeds, preview):
        self.steps.append(step)
        if preview is not None:
            self.previews.append(preview)

    def image(self, image, num_steps, seeds):
        self.pictures = image
        self.ended.set()

    def error(self, reason):
        self.reason = reason
        self.ended.set()

    def nothing(self):
        self.ended.set()


@pytest.fixture
def encoded() -> list[np.ndarray]:
    """The input of every call of the text encoder."""
    return []


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def pipeline(checkpoint, unet, metrics, encoded, warnings, tmp_path):
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(77)
    tokenizer.enable_padding(length=77)
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    def text_encoder(input_ids):
        encoded.append(input_ids)
        if (input_ids == WORDS["circle"]).any():
            raise RuntimeError("text_encoder: no circles today")
        return np.repeat(input_ids[:, :, None], 8, axis=2).astype(np.float32) / 10

    def vae_decoder(latent):
        return np.full((len(latent), 128, 128, 3), 7, np.uint8)

    encoder = PromptEncoder(tmp_path / "tokenizer.json", text_encoder, warnings.append)
    pipeline = Pipeline(checkpoint, encoder, unet, vae_decoder, 16, metrics)
    yield pipeline
    pipeline.close()


@pytest.fixture
def ask(pipeline, checkpoint):
    def submit(prompt="red", **fields):
        strings = {"prompt": prompt, **{k: v for k, v in fields.items() if isinstance(v, str)}}
        tensors = {name: np.array([value.encode()], object) for name, value in strings.items()}
        tensors |= {name: np.array([value]) for name, value in fields.items() if not isinstance(value, str)}
        answers = Answers()
        pipeline.submit(parse_request(tensors, checkpoint), answers)
        assert answers.ended.wait(10)
        return answers

    return submit


def test_a_request_hears_every_step_and_then_gets_its_pictures(ask, metrics):
    answers = ask(num_images=3, num_inference_steps=4, preview_interval=2)
    assert answers.steps == [0, 1, 2, 3, 4]
    assert answers.pictures.shape == (3, 128, 128, 3)
    assert [preview.shape for preview in answers.previews] == [(3, 16, 16, 3)]


def test_a_request_that_waits_hears_its_place(pipeline, checkpoint, unet, metrics):
    unet.gate.clear()

    def submit(**fields):
        answers = Answers()
        tensors = {name: np.array([value]) for name, value in fields.items()} | {"prompt": np.array([b"red"], object)}
        pipeline.submit(parse_request(tensors, checkpoint), answers)
        return answers

    first = submit(num_images=8, num_inference_steps=2)
    unet.entered.acquire()
    second = submit(num_images=8, num_inference_steps=2)
    waiting = submit(num_images=2, num_inference_steps=3, seed=7)
    deadline = time.monotonic() + 10
    while metrics["waiting_requests"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    unet.gate.set()
    for answers in (first, second, waiting):
        assert answers.ended.wait(10)
    assert waiting.positions == [(1, 3, [7, 8])]
    assert waiting.steps == [0, 1, 2, 3]


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
    assert answers.pictures is not None
    assert warnings == ["prompt truncated: about 3 tokens are past the text encoder's window of 77"]


def test_a_failing_text_encoder_fails_its_own_request_only(ask):
    answers = ask("circle")
    assert str(answers.reason) == "text_encoder: no circles today"
    assert ask("red", num_inference_steps=1).pictures is not None


def test_outcomes_are_counted_and_nothing_stays_in_flight(ask, metrics, pipeline):
    ask(num_inference_steps=1)
    ask("circle")
    pipeline.close()
    assert (metrics["requests_done"], metrics["requests_failed"]) == (1, 1)
    assert metrics["requests_in_flight"] == 0
    assert metrics["generation_seconds"] > 0


def test_previews_apply_the_linear_map_of_the_checkpoint(checkpoint):
    denoised = np.zeros((1, 4, 2, 2), np.float32)
    denoised[0, 0] = 1  # red is channel 0, and 1 its brightest
    denoised[0, 1, 0, 0] = -3
    preview = checkpoint.preview(denoised)
    assert preview.dtype == np.uint8
    assert preview[0, 0, 0].tolist() == [255, 0, 128]
    assert preview[0, 1, 1].tolist() == [255, 128, 128]
