"""The pipeline under a flood, with readers that do not read, and with networks that compute no numbers."""

import math
import time

import pytest

from tests.model_repository.diffusion.conftest import WORDS


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


def test_prompts_are_encoded_by_priority_and_callers_take_turns(submit, encoding_gate, encoded):
    encoding_gate.clear()
    all_ = [submit(num_inference_steps=1)]  # is being encoded while the others come
    all_ += [submit("red", caller="alice", num_inference_steps=1) for _ in range(6)]
    all_ += [submit("red red", caller="bob", num_inference_steps=1)]
    all_ += [submit("red red red", priority="high", num_inference_steps=1)]
    encoding_gate.set()
    for answers in all_:
        assert answers.over.wait(10)
    words = [int((ids[0] == WORDS["red"]).sum()) for ids in encoded]
    assert words[:4] == [1, 3, 1, 2], "the first, the urgent one, alice's first, and then it is bob's turn"


def test_a_request_cancelled_before_its_prompt_is_encoded_costs_no_encoding(submit, encoding_gate, encoded):
    encoding_gate.clear()
    first, second = submit(num_inference_steps=1), submit(num_inference_steps=1)
    second.job.cancel()
    encoding_gate.set()
    for answers in (first, second):
        assert answers.over.wait(10)
    assert (second.outcome, len(encoded)) == ("cancelled", 1)


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
