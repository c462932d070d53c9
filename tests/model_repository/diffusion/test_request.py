"""A request's fields, defaults and limits."""

import math
from dataclasses import replace

import numpy as np
import pytest
import request as request_module
from checkpoint import Checkpoint
from hypothesis import given
from hypothesis import strategies as st
from request import MAX_SEED, InvalidRequest, parse_parameters, parse_request


def text(value: str | bytes) -> np.ndarray:
    return np.array([value.encode() if isinstance(value, str) else value], dtype=object)


def parse(checkpoint: Checkpoint, **fields):
    tensors = {
        name: text(value) if isinstance(value, str | bytes) else np.array([value]) for name, value in fields.items()
    }
    return parse_request({"prompt": text("a red circle"), **tensors}, checkpoint)


def test_defaults_are_those_of_the_wire_interface(checkpoint):
    request = parse(checkpoint)
    assert (request.num_images, request.height, request.width) == (1, 128, 128)
    assert (request.negative_prompt, request.preview_interval) == ("", 0)
    assert request.guidance_scale == checkpoint.defaults["guidance_scale"]
    assert len(request.table) == 20
    karras = parse(checkpoint, sampler="dpmpp_2m", timestep_spacing="karras")
    np.testing.assert_array_equal(request.table.coefficients, karras.table.coefficients)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_ddpm_and_ddim_default_to_trailing(checkpoint, sampler):
    default, trailing = (
        parse(checkpoint, sampler=sampler),
        parse(checkpoint, sampler=sampler, timestep_spacing="trailing"),
    )
    np.testing.assert_array_equal(default.table.coefficients, trailing.table.coefficients)


def test_a_named_sampler_comes_with_its_own_spacing_and_an_empty_one_is_none(checkpoint):
    leading = replace(checkpoint, defaults={**checkpoint.defaults, "timestep_spacing": "leading"})
    by_default = parse(leading), parse(leading, timestep_spacing=""), parse(leading, timestep_spacing="leading")
    by_name = parse(leading, sampler="dpmpp_2m"), parse(checkpoint, timestep_spacing="karras")
    for same in (by_default, by_name):
        for request in same[1:]:
            np.testing.assert_array_equal(request.table.coefficients, same[0].table.coefficients)
    assert not np.array_equal(by_default[0].table.coefficients, by_name[0].table.coefficients)


def test_a_request_knows_our_names_of_its_sampler_and_spacing(checkpoint):
    used = [parse(checkpoint, **sent).used for sent in ({}, {"sampler": "euler_a"}, {"sampler": "DPM2 Beta"})]
    assert [(names["sampler"], names["timestep_spacing"]) for names in used] == [
        ("dpmpp_2m", "karras"),
        ("euler_ancestral", "normal"),
        ("dpm_2", "beta"),
    ]


def test_a_seed_of_zero_is_kept(checkpoint):
    assert parse(checkpoint, seed=0).seed == 0


def test_a_missing_seed_is_drawn_anew_each_time(checkpoint):
    assert parse(checkpoint).seed != parse(checkpoint).seed


def test_image_k_uses_seed_plus_k_up_to_the_largest(checkpoint):
    assert parse(checkpoint, seed=MAX_SEED, num_images=8).seeds.tolist() == [MAX_SEED + k for k in range(8)]


@pytest.mark.parametrize(("scale", "guided"), [(0.0, False), (1.0, False), (1.01, True)])
def test_guidance_of_one_or_less_is_off(checkpoint, scale, guided):
    assert parse(checkpoint, guidance_scale=scale).guided is guided


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prompt": ""}, "prompt is empty: say what the image shows"),
        ({"prompt": "  \n"}, "prompt is empty: say what the image shows"),
        ({"prompt": "a" * 4097}, "prompt has 4097 bytes: use at most 4096"),
        ({"prompt": b"red \xff"}, "prompt has byte 0xff at 4: send valid UTF-8"),
        ({"negative_prompt": b"\x80"}, "negative_prompt has byte 0x80 at 0: send valid UTF-8"),
        ({"num_images": 0}, "num_images is 0: use 1 to 8"),
        ({"num_images": 9}, "num_images is 9: use 1 to 8"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0: use 1 to 1000"),
        ({"num_inference_steps": 1001}, "num_inference_steps is 1001: use 1 to 1000"),
        ({"height": 64}, "height is 64: this server's engines take 128"),
        ({"width": 65}, "width is 65: this server's engines take a multiple of 8 from 64 to 256"),
        ({"width": 264}, "width is 264: this server's engines take a multiple of 8 from 64 to 256"),
        ({"guidance_scale": -0.5}, "guidance_scale is -0.5: use a number from 0 to 50"),
        ({"guidance_scale": np.nan}, "guidance_scale is nan: use a number from 0 to 50"),
        ({"guidance_scale": np.inf}, "guidance_scale is inf: use a number from 0 to 50"),
        ({"sampler": "leapfrog"}, "sampler is 'leapfrog': use one of ddpm, ddim, euler"),
        ({"sampler": "__import__('os')"}, "sampler is \"__import__('os')\": use one of"),
        ({"timestep_spacing": "even"}, "timestep_spacing is 'even': use one of leading, trailing, linspace, karras"),
        ({"eta": 1.5, "sampler": "ddim"}, "eta is 1.5: use a number from 0 to 1"),
        ({"eta": 1.0000001, "sampler": "ddim"}, "eta is 1.0000001: use a number from 0 to 1"),
        ({"sampler": 1000 * "heun"}, "sampler is 'heunheunheun...nheunheunheun': use one of"),
        ({"timestep_spacing": 1000 * "beta"}, "timestep_spacing is 'betabetabeta...abetabetabeta': use one of"),
        ({"priority": 1000 * "high"}, "priority is 'highhighhigh...hhighhighhigh': use low, normal, high"),
        ({"eta": 0.5}, "eta is 0.5, but sampler 'dpmpp_2m' has no eta: leave it out"),
        ({"eta": 0.0, "sampler": "lcm"}, "eta is 0.0, but sampler 'lcm' has no eta: leave it out"),
        ({"seed": -1}, f"seed is -1: use 0 to {MAX_SEED}"),
        ({"preview_interval": -1}, "preview_interval is -1: use 0 to 1000"),
        ({"seed": [1, 2]}, "seed has shape [1, 2]: send one value, shape [1]"),
    ],
)
def test_a_wrong_value_gets_one_line_with_field_value_and_limits(checkpoint, fields, said):
    with pytest.raises(InvalidRequest) as caught:
        parse(checkpoint, **fields)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    prompt=st.binary(max_size=64),
    steps=st.integers(-(2**31), 2**31 - 1),
    scale=st.floats(width=32),
    seed=st.integers(-(2**63), 2**63 - 1),
)
def test_any_bytes_and_numbers_either_parse_or_are_refused(checkpoint, prompt, steps, scale, seed):
    try:
        request = parse(checkpoint, prompt=prompt, num_inference_steps=steps, guidance_scale=scale, seed=seed)
    except InvalidRequest:
        return
    assert request.prompt == prompt.decode()
    assert len(request.table) == steps


OF_ANOTHER_TYPE = st.one_of(st.integers(), st.booleans(), st.floats(), st.none(), st.lists(st.text()))


@pytest.mark.parametrize("name", ["token", "cancel", "caller"])
@given(value=OF_ANOTHER_TYPE | st.text(max_size=15).map(lambda text: text + "\n") | st.text(min_size=129))
def test_a_parameter_of_another_kind_is_refused_in_one_short_line(name, value):
    with pytest.raises(InvalidRequest, match=f"^{name} is ") as error:
        parse_parameters({name: value}, 0)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_negative_timeout_is_refused_and_none_waits_for_ever():
    assert parse_parameters({}, 0).timeout == math.inf
    assert parse_parameters({}, 1_500_000).timeout == 1.5
    with pytest.raises(InvalidRequest, match="timeout is -5: use microseconds, 1 or more"):
        parse_parameters({}, 2**64 - 5)


@pytest.mark.parametrize(
    ("fields", "interval"),
    [
        ({"preview_interval": 0}, 0),
        ({"preview_interval": 1}, 1),
        ({"preview_interval": 1, "num_inference_steps": 1000}, 1),
        ({"preview_interval": 1, "num_inference_steps": 1000, "num_images": 8}, 6),
        ({"preview_interval": 2, "num_inference_steps": 1000, "num_images": 8}, 6),
        ({"preview_interval": 50, "num_inference_steps": 1000, "num_images": 8}, 50),
    ],
)
def test_previews_are_thinned_to_what_a_stream_may_hold(checkpoint, monkeypatch, fields, interval):
    monkeypatch.setattr(request_module, "MAX_PREVIEW_BYTES", 2**20)
    request = parse(checkpoint, **fields)
    assert request.preview_interval == interval
    if interval:
        assert request.num_steps // interval * request.num_images * 16 * 16 * 3 <= 2**20
