"""The in-flight loop on the real server, with the shipped checkpoint."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from sampling import SAMPLERS
from tritonclient.utils import InferenceServerException

from tests.model_repository.conftest import inputs

PROMPT = "a small red circle on the left of a blue background"

MIXED = [
    {"prompt": PROMPT, "seed": 1},
    {"prompt": PROMPT, "seed": 2, "sampler": "ddpm", "num_inference_steps": 12},
    {"prompt": "a large green square", "seed": 3, "sampler": "dpmpp_2m_sde", "num_inference_steps": 9},
    {"prompt": "a yellow triangle at the top of a black background", "seed": 4, "guidance_scale": 1.0},
    {"prompt": "a white triangle", "seed": 5, "sampler": "ddim", "eta": 0.7, "num_inference_steps": 15},
    {"prompt": "a purple square", "seed": 6, "num_images": 3, "num_inference_steps": 6},
    {"prompt": "a gray background", "seed": 7, "negative_prompt": "a circle", "guidance_scale": 6.0},
    {"prompt": "a blue triangle", "seed": 8, "guidance_scale": 0.0, "num_inference_steps": 4},
    {"prompt": "a red square", "seed": 9, "timestep_spacing": "trailing", "num_images": 2},
    {"prompt": "a red triangle", "seed": 0, "num_inference_steps": 1},
    {"prompt": "circle", "seed": 2**40, "sampler": "ddim", "timestep_spacing": "leading"},
    {"prompt": "square", "seed": 11, "sampler": "ddpm", "timestep_spacing": "linspace"},
    {"prompt": "a white circle", "seed": 12, "num_images": 4, "num_inference_steps": 5},
    {"prompt": "a green square", "seed": 13, "num_inference_steps": 25},
    {"prompt": "a yellow circle", "seed": 14, "sampler": "dpmpp_2m_sde", "timestep_spacing": "linspace"},
    {"prompt": "a blue triangle", "seed": 15, "num_inference_steps": 2, "num_images": 8, "guidance_scale": 1.0},
]


def test_sixteen_mixed_requests_at_once_get_what_they_get_alone_in_fewer_calls(server, grpc_infer):
    before = server.steps_until_idle()
    alone = [grpc_infer(**fields) for fields in MIXED]
    between = server.metric("diffusion_denoiser_steps_total")
    with ThreadPoolExecutor(len(MIXED)) as pool:
        together = list(pool.map(lambda fields: grpc_infer(**fields), MIXED))
    after = server.metric("diffusion_denoiser_steps_total")
    for fields, one, other in zip(MIXED, alone, together):
        np.testing.assert_array_equal(one, other, err_msg=str(fields))
    assert between - before == sum(fields.get("num_inference_steps", 20) for fields in MIXED)
    assert after - between < (between - before) / 2


ALL_SAMPLERS = [
    {"prompt": PROMPT, "seed": k, "sampler": sampler, "num_inference_steps": 3 + k % 2, "guidance_scale": 1 + k % 3}
    for k, sampler in enumerate(SAMPLERS)
]


def test_all_samplers_at_once_give_what_each_gives_alone(grpc_infer):
    alone = [grpc_infer(**fields) for fields in ALL_SAMPLERS]
    with ThreadPoolExecutor(len(ALL_SAMPLERS)) as pool:
        together = list(pool.map(lambda fields: grpc_infer(**fields), ALL_SAMPLERS))
    for fields, one, other in zip(ALL_SAMPLERS, alone, together):
        np.testing.assert_array_equal(one, other, err_msg=str(fields))


@pytest.mark.parametrize(
    ("brought", "ours"),
    [
        ({"sampler": "DPM++ 2M Karras"}, {"sampler": "dpmpp_2m", "timestep_spacing": "karras"}),
        ({"sampler": "Euler a"}, {"sampler": "euler_ancestral"}),
        ({"sampler": "UniPCMultistepScheduler"}, {"sampler": "unipc"}),
        ({"sampler": "sample_heun"}, {"sampler": "heun"}),
    ],
)
def test_a_name_that_users_bring_means_the_sampler_of_ours(grpc_infer, brought, ours):
    known = {"prompt": PROMPT, "seed": 4, "num_inference_steps": 4}
    np.testing.assert_array_equal(grpc_infer(**known, **brought), grpc_infer(**known, **ours))


def test_guidance_rescale_acts_on_its_own_request_only(grpc_infer):
    plain = {"prompt": PROMPT, "seed": 4, "num_inference_steps": 6, "guidance_scale": 8.0}
    rescaled = {**plain, "guidance_rescale": 0.7}
    alone = [grpc_infer(**plain), grpc_infer(**rescaled)]
    with ThreadPoolExecutor() as pool:
        together = list(pool.map(lambda fields: grpc_infer(**fields), [plain, rescaled]))
    np.testing.assert_array_equal(alone, together)
    assert not np.array_equal(*alone)


def test_image_k_equals_the_single_image_of_seed_plus_k(grpc_infer):
    images = grpc_infer(prompt=PROMPT, seed=40, num_images=3)
    for k in range(3):
        np.testing.assert_array_equal(images[k], grpc_infer(prompt=PROMPT, seed=40 + k)[0])


def test_a_stream_tells_every_step_shows_previews_and_ends_with_the_image(stream, grpc_infer):
    responses = stream(prompt=PROMPT, seed=5, num_inference_steps=6, preview_interval=2)
    assert [response["step"].item() for response in responses] == [0, 1, 2, 3, 4, 5, 6, 6]
    assert {response["num_steps"].item() for response in responses} == {6}
    assert [response["step"].item() for response in responses if "preview" in response] == [2, 4]
    assert responses[2]["preview"].shape == (1, 16, 16, 3)
    assert [i for i, response in enumerate(responses) if "image" in response] == [7]
    np.testing.assert_array_equal(responses[-1]["image"], grpc_infer(prompt=PROMPT, seed=5, num_inference_steps=6))


def test_previews_come_to_look_like_the_image(stream):
    responses = stream(prompt=PROMPT, seed=5, preview_interval=1)
    image = responses[-1]["image"][0].reshape(16, 8, 16, 8, 3).mean((1, 3))
    errors = [np.abs(r["preview"][0] - image).mean() for r in responses if "preview" in r]
    assert errors[-1] < 6
    assert errors[-1] < errors[0] / 3


def test_a_drawn_seed_is_returned_and_makes_the_image_again(stream, grpc_infer):
    last = stream(prompt=PROMPT, num_inference_steps=3)[-1]
    again = grpc_infer(prompt=PROMPT, num_inference_steps=3, seed=last["seed"].item())
    np.testing.assert_array_equal(last["image"], again)


@pytest.mark.parametrize("model", ["diffusion", "text_to_image"])
def test_a_cancelled_request_stops_the_loop(server, wire_inputs, model):
    server.wait_until_idle()
    cancelled, steps = (server.metric(f"diffusion_{name}_total") for name in ("requests", "denoiser_steps"))
    fields = wire_inputs(prompt=PROMPT, num_inference_steps=1000)
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        if model == "diffusion":
            client.start_stream(lambda result, error: None)
            client.async_stream_infer(model, fields)
        else:
            call = client.async_infer(model, fields, lambda result, error: None)
        while server.metric("diffusion_denoiser_steps_total") - steps < 10:
            time.sleep(0.01)
        at_cancel = server.metric("diffusion_denoiser_steps_total")
        client.stop_stream(cancel_requests=True) if model == "diffusion" else call.cancel()
        server.wait_until_idle()
    taken = server.metric("diffusion_denoiser_steps_total") - at_cancel
    assert taken < 20, "the steps that ran while the cancellation was on its way"
    assert server.metric("diffusion_requests_total") == cancelled + 1
    assert server.metric("diffusion_active_samples") == 0


def test_a_request_that_is_cancelled_before_it_comes_makes_no_step(server):
    before = server.steps_until_idle()
    with tritonclient.http.InferenceServerClient(server.http_url) as client:
        asked = inputs(tritonclient.http, {"prompt": PROMPT, "num_inference_steps": 1000})
        for role in ("cancel", "token"):
            with pytest.raises(InferenceServerException, match="the request was cancelled"):
                client.infer("text_to_image", asked, parameters={role: "overtaken-by-its-own-end"})
    assert server.steps_until_idle() == before


@pytest.mark.parametrize("kind", [tritonclient.grpc, tritonclient.http], ids=["grpc", "http"])
def test_a_request_past_its_deadline_ends_within_a_step_and_is_told(server, kind):
    server.wait_until_idle()
    steps, expired = (server.metric(f"diffusion_{name}_total") for name in ("denoiser_steps", "requests"))
    url = server.grpc_url if kind is tritonclient.grpc else server.http_url
    with kind.InferenceServerClient(url) as client:
        asked = inputs(kind, {"prompt": PROMPT, "num_inference_steps": 1000})
        with pytest.raises(InferenceServerException, match=r"the deadline of 0\.5 s has passed"):
            client.infer("text_to_image", asked, timeout=500_000)
    server.wait_until_idle()  # it counts when it has answered
    assert server.metric("diffusion_requests_total") == expired + 1
    assert 0 < server.metric("diffusion_denoiser_steps_total") - steps < 500
    assert server.metric("diffusion_active_samples") == 0


def test_a_short_request_does_not_wait_for_long_ones_that_fill_the_loop(server, wire_inputs, grpc_infer):
    server.wait_until_idle()
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        fields = wire_inputs(prompt=PROMPT, num_images=8, num_inference_steps=1000)
        calls = [client.async_infer("text_to_image", fields, lambda result, error: None) for _ in range(3)]
        while server.metric("diffusion_active_samples") < 16:
            time.sleep(0.01)
        assert server.metric("diffusion_waiting_requests") == 1
        before = server.metric("diffusion_denoiser_steps_total")
        grpc_infer(prompt=PROMPT, num_inference_steps=2)
        between = server.metric("diffusion_denoiser_steps_total") - before
        for call in calls:
            call.cancel()
        server.wait_until_idle()
    assert between < 2 + 6, "one step to join and its own two, and what ran before and after on the way"


def test_a_request_of_high_priority_overtakes_those_that_wait(server, wire_inputs, grpc_infer):
    server.wait_until_idle()
    ended: list[str] = []

    def ask(name: str, **fields) -> None:
        grpc_infer(prompt=PROMPT, num_images=8, priority=name, **fields)
        ended.append(name)

    with ThreadPoolExecutor() as pool:
        running = [pool.submit(ask, "normal", num_inference_steps=12) for _ in range(2)]
        while server.metric("diffusion_active_samples") < 16:
            time.sleep(0.01)
        waiting = [pool.submit(ask, "low", num_inference_steps=12) for _ in range(2)]
        while server.metric("diffusion_waiting_requests") < 2:
            time.sleep(0.01)
        waiting.append(pool.submit(ask, "high", num_inference_steps=1))
        for asked in running + waiting:
            asked.result()
    assert ended == ["high", "normal", "normal", "low", "low"]


def test_a_wrong_value_in_a_stream_gets_its_one_line(stream):
    with pytest.raises(InferenceServerException) as caught:
        stream(prompt=PROMPT, num_inference_steps=0)
    assert "INVALID_ARG: num_inference_steps is 0: use 1 to 1000" in caught.value.message()
