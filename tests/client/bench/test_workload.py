"""The requests of a load test."""

import json

from triton_diffusion.bench.workload import PROMPTS, input_data, mixed, uniform


def test_uniform_requests_differ_in_prompt_and_seed_alone():
    workload = uniform(40, PROMPTS, {"num_inference_steps": 7})
    assert [request["seed"] for request in workload.requests] == list(range(40))
    assert len({request["prompt"] for request in workload.requests}) > 30
    assert all(request.keys() == {"prompt", "seed", "num_inference_steps"} for request in workload.requests)


def test_mixed_requests_vary_in_steps_sampler_and_guidance():
    requests = mixed(200, PROMPTS).requests
    steps = [request["num_inference_steps"] for request in requests]
    assert (min(steps), max(steps)) == (4, 50)
    for half in (
        [request["sampler"] == "ddim" for request in requests],
        [request["sampler"] == "dpmpp_2m" for request in requests],
        ["guidance_scale" in request for request in requests],
    ):
        assert 70 < sum(half) < 130
    assert {request.get("guidance_scale") for request in requests} == {None, 1.0}


def test_every_run_sends_the_same_requests():
    for make in (lambda count: uniform(count, PROMPTS, {}), lambda count: mixed(count, PROMPTS)):
        assert make(30) == make(30)
        assert make(10).requests == make(30).requests[:10]


def test_prompts_are_the_users_where_given():
    assert {request["prompt"] for request in mixed(20, ["a", "b"]).requests} == {"a", "b"}


def test_input_data_has_every_value_in_a_list():
    data = json.loads(input_data(uniform(2, ["ein grüner Kreis"], {"sampler": "ddim"})))["data"]
    assert data[1] == {"prompt": ["ein grüner Kreis"], "seed": [1], "sampler": ["ddim"]}
