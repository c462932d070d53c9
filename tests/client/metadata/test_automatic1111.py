"""AUTOMATIC1111's text: its names of samplers and schedules, and back."""

import pytest
from triton_diffusion._metadata.automatic1111 import SAMPLERS, SCHEDULES, from_parameters_text, parameters_text

SETTINGS = {"prompt": "a", "negative_prompt": "", "num_inference_steps": 8}


@pytest.mark.parametrize("sampler", [*SAMPLERS, "tcd"])
@pytest.mark.parametrize("spacing", [*SCHEDULES, "another"])
def test_sampler_and_spacing_come_back(sampler, spacing):
    settings = {**SETTINGS, "sampler": sampler, "timestep_spacing": spacing}
    assert from_parameters_text(parameters_text(settings)) == settings


@pytest.mark.parametrize(
    ("sampler", "spacing", "text"),
    [
        ("euler_ancestral", "normal", "Sampler: Euler a, Schedule type: Normal"),
        ("dpmpp_2m_sde", "exponential", "Sampler: DPM++ 2M SDE, Schedule type: Exponential"),
        ("pndm", "leading", "Sampler: PLMS, Schedule type: Leading"),
        ("dpm_2_ancestral", "sgm_uniform", "Sampler: DPM2 a, Schedule type: SGM Uniform"),
        ("tcd", "ays", "Sampler: tcd, Schedule type: Align Your Steps"),
    ],
)
def test_the_names_are_its_own(sampler, spacing, text):
    assert text in parameters_text({**SETTINGS, "sampler": sampler, "timestep_spacing": spacing})


@pytest.mark.parametrize(
    ("text", "sampler", "spacing"),
    [
        ("Sampler: DPM++ 3M SDE Exponential", "dpmpp_3m_sde", "exponential"),  # before version 1.9
        ("Sampler: Euler, Schedule type: Uniform", "euler", "normal"),
        ("Sampler: LCM, Schedule type: Automatic", "lcm", None),
        ("Sampler: DPM++ 2M, Schedule type: KL Optimal", "dpmpp_2m", "KL Optimal"),
    ],
)
def test_texts_of_its_own(text, sampler, spacing):
    found = from_parameters_text(f"a\nSteps: 20, {text}, CFG scale: 7, Seed: 1")
    assert (found["sampler"], found.get("timestep_spacing")) == (sampler, spacing)
