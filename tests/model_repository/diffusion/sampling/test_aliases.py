"""Names of other programs: understood without ambiguity, and refused in one line where they mean something else."""

import itertools
from pathlib import Path

import diffusers
import pytest
from sampling import ALIASES, SAMPLERS, SPACINGS, resolve
from sampling.aliases import REFUSED_SAMPLERS, REFUSED_SPACINGS, SAMPLER_ALIASES, SPACING_ALIASES

from tests.support.samplers_page import page

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("euler", ("euler", None)),
        ("Euler a", ("euler_ancestral", None)),
        ("euler_a", ("euler_ancestral", None)),
        ("EulerDiscreteScheduler Karras", ("euler", "karras")),
        ("EulerAncestralDiscrete", ("euler_ancestral", None)),
        ("EulerAncestralDiscreteScheduler", ("euler_ancestral", None)),
        ("KDPM2DiscreteScheduler", ("dpm_2", None)),
        ("UniPCMultistep", ("unipc", None)),
        ("PNDMScheduler", ("pndm", None)),
        ("PLMS", ("pndm", None)),
        ("DPM++ 2M", ("dpmpp_2m", None)),
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("dpm++ 2m karras", ("dpmpp_2m", "karras")),
        ("DPM2 a Karras", ("dpm_2_ancestral", "karras")),
        ("DPM++ 3M SDE Exponential", ("dpmpp_3m_sde", "exponential")),
        ("DPM++ 2M SDE SGM Uniform", ("dpmpp_2m_sde", "sgm_uniform")),
        ("DPM++ SDE Align Your Steps", ("dpmpp_sde", "ays")),
        ("dpmpp_2m_karras", ("dpmpp_2m", "karras")),
        ("dpmpp_2m_sde_gpu", ("dpmpp_2m_sde", None)),
        ("uni_pc_bh2", ("unipc", None)),
        ("uni_pc_bh2_simple", ("unipc", "simple")),
        ("sample_dpmpp_2s_ancestral", ("dpmpp_2s_ancestral", None)),
        ("Heun Beta", ("heun", "beta")),
    ],
)
def test_names_that_users_bring_are_understood(name, expected):
    assert resolve(name, None) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Karras", "karras"),
        ("use_karras_sigmas", "karras"),
        ("SGM Uniform", "sgm_uniform"),
        ("sgm_uniform", "sgm_uniform"),
        ("Uniform", "normal"),
        ("Align Your Steps", "ays"),
        ("Exponential", "exponential"),
        ("TRAILING", "trailing"),
    ],
)
def test_spacings_that_users_bring_are_understood(name, expected):
    assert resolve("ddim", name) == ("ddim", expected)


def test_a_spacing_of_its_own_overrules_the_one_in_the_samplers_name():
    assert resolve("DPM++ 2M Karras", "sgm_uniform") == ("dpmpp_2m", "sgm_uniform")
    assert resolve("DPM++ 2M Karras", "Simple") == ("dpmpp_2m", "simple")


def test_our_own_names_are_themselves():
    for sampler, spacing in itertools.product(SAMPLERS, [None, *SPACINGS]):
        assert resolve(sampler, spacing) == (sampler, spacing)


def test_every_alias_leads_where_its_row_says():
    for alias in SAMPLER_ALIASES:
        assert alias.sampler in SAMPLERS
        assert alias.timestep_spacing in (None, *SPACINGS)
        assert resolve(alias.name, None) == (alias.sampler, alias.timestep_spacing)
    for alias in SPACING_ALIASES:
        assert alias.timestep_spacing in SPACINGS
        assert resolve("ddim", alias.name) == ("ddim", alias.timestep_spacing)
    for name, found in ALIASES.items():
        assert resolve(name, None) == found


def test_every_sampler_followed_by_every_spacing_is_unambiguous():
    """One name, one meaning: however it is cut into a sampler and a spacing, both are the same."""
    samplers = {name: (name, None) for name in SAMPLERS} | ALIASES
    spacings = {name: name for name in SPACINGS} | {alias.name: alias.timestep_spacing for alias in SPACING_ALIASES}
    refused = {"".join(name.lower().split("_")) for name in REFUSED_SAMPLERS}
    for (name, (sampler, carried)), (spacing_name, spacing) in itertools.product(samplers.items(), spacings.items()):
        both = f"{name} {spacing_name}"
        if carried is None and both.lower().replace("scheduler", "").replace(" ", "") not in refused:
            assert resolve(both, None) == (sampler, spacing)


def test_every_scheduler_class_of_diffusers_in_the_table_exists():
    for alias in SAMPLER_ALIASES:
        if alias.program == "diffusers":
            assert hasattr(diffusers, alias.name), alias.name


@pytest.mark.parametrize(
    ("sampler", "spacing", "message"),
    [
        ("K_EULER", None, "sampler is 'K_EULER': use one of .*euler.*, or its name in diffusers, A1111, ComfyUI or k-"),
        ("", None, "sampler is '': use one of"),
        ("euler karras karras", None, "sampler is 'euler karras karras': use one of"),
        ("EulerDiscreteScheduler日", None, "sampler is 'EulerDiscreteScheduler日': use one of"),
        ("ddim", "cosine", "timestep_spacing is 'cosine': use one of leading, trailing"),
        ("ddim", "", "timestep_spacing is '': use one of"),
        ("DPM++ 2M SDE Heun", None, "'DPM.* Heun', which this server does not have: the nearest is 'dpmpp_2m_sde'"),
        ("ddim_uniform", None, "does not have: the nearest is 'ddim' with timestep_spacing 'leading'"),
        ("euler", "ddim_uniform", "timestep_spacing is 'ddim_uniform', which .* not have: the nearest is 'leading'"),
    ],
)
def test_an_unknown_name_is_refused_in_one_line(sampler, spacing, message):
    with pytest.raises(ValueError, match=message) as error:
        resolve(sampler, spacing)
    assert "\n" not in str(error.value)


def test_refused_names_offer_what_there_is():
    for nearest in REFUSED_SAMPLERS.values():
        sampler, *spacing = nearest.replace("'", "").split(" with timestep_spacing ")
        assert sampler in SAMPLERS
        assert set(spacing) <= {*SPACINGS}
    assert {nearest.replace("'", "") for nearest in REFUSED_SPACINGS.values()} <= {*SPACINGS}


def test_the_page_on_samplers_is_that_of_the_code():
    command = "PYTHONPATH=.:model_repository/diffusion/1 python -m tests.support.samplers_page > docs/samplers.md"
    assert (ROOT / "docs/samplers.md").read_text() == page(), f"write it anew: {command}"
