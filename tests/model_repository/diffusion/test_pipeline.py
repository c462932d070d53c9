"""From prompt to images without Triton: encoding, decoding, responses and what is counted."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from pipeline import Pipeline


def test_a_request_hears_every_step_and_then_gets_its_images(ask, metrics):
    answers = ask(num_images=3, num_inference_steps=4, preview_interval=2)
    assert answers.steps == [0, 1, 2, 3, 4]
    assert answers.images.shape == (3, 128, 128, 3)
    assert [preview.shape for preview in answers.previews] == [(3, 16, 16, 3)]


def test_who_only_wants_to_hear_now_and_then_hears_the_first_and_the_last(ask):
    answers = ask(num_inference_steps=50, interval=math.inf)
    assert answers.steps == [0]
    assert answers.images is not None


def test_warming_up_calls_each_network_from_the_thread_that_will_call_it(pipeline, ask, callers, metrics):
    pipeline.warm_up()
    warm = dict(callers)
    callers.clear()
    assert ask(num_inference_steps=1).images is not None
    assert callers == warm
    assert warm.keys() == {"text_encoder", "denoiser", "vae_decoder"}
    assert metrics["requests_done"] == 1, "warming up is no request"


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
