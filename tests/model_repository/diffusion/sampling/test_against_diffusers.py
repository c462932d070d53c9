"""Our tables against diffusers' own schedulers, step by step, with the same noise and the same perfect model."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from sampling import step_table

BETAS = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ZERO_SNR = {
    **BETAS,
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "rescale_betas_zero_snr": True,
}
SPACINGS = ("leading", "trailing", "linspace")
SOLVER_STEPS = (1, 2, 3, 5, 10, 14, 15, 20, 25, 50)
SHAPE = (1, 4, 8, 8)
NOISE_SEED = 11


def drawn(num_inference_steps):
    """The first latent SHAPE and the noise of each step (N, *SHAPE), the latter as DDPMScheduler will draw it."""
    latent = torch.randn(SHAPE, generator=torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(NOISE_SEED)
    return latent, torch.stack([torch.randn(SHAPE, generator=generator) for _ in range(num_inference_steps)])


def run_diffusers(scheduler, model, num_inference_steps, **step_options):
    """diffusers' image, with the latent and noise of `drawn`."""
    latent, noise = drawn(num_inference_steps)
    generator = torch.Generator().manual_seed(NOISE_SEED)
    scheduler.set_timesteps(num_inference_steps)
    for i, timestep in enumerate(scheduler.timesteps):
        model_output = torch.from_numpy(model(latent.numpy(), timestep.item()))
        if isinstance(scheduler, DDPMScheduler):  # which takes no noise, only the generator to draw it from
            step_options["generator"] = generator
        else:
            step_options["variance_noise"] = noise[i]
        latent = scheduler.step(model_output, timestep, latent, **step_options).prev_sample
    return latent.numpy()


def solver(spacing, **options):
    """diffusers' multistep solver, whose Karras grid is an option of its own."""
    if spacing == "karras":
        return DPMSolverMultistepScheduler(**BETAS, use_karras_sigmas=True, **options)
    return DPMSolverMultistepScheduler(**BETAS, timestep_spacing=spacing, **options)


@pytest.fixture(scope="module")
def run_ours(stable_diffusion, perfect_model, run_table):
    def run(schedule, sampler, num_inference_steps, timestep_spacing, eta=None):
        table = step_table(schedule, sampler, num_inference_steps, timestep_spacing, eta=eta)
        latent, noise = drawn(num_inference_steps)
        return run_table(table, perfect_model(schedule), latent.numpy(), noise.numpy())

    return run


def assert_close(ours, theirs, tolerance):
    assert np.isfinite(theirs).all()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_inference_steps", [1, 2, 10, 20, 50])
@pytest.mark.parametrize(("spacing", "offset"), [("leading", 0), ("leading", 1), ("trailing", 0)])
def test_ddim_equals_diffusers(
    spacing, offset, num_inference_steps, eta, prediction_type, stable_diffusion, perfect_model, run_ours
):
    schedule = stable_diffusion(prediction_type, offset)
    scheduler = DDIMScheduler(
        **BETAS,
        clip_sample=False,
        prediction_type=prediction_type,
        timestep_spacing=spacing,
        steps_offset=offset,
    )
    theirs = run_diffusers(scheduler, perfect_model(schedule), num_inference_steps, eta=eta)
    assert_close(run_ours(schedule, "ddim", num_inference_steps, spacing, eta), theirs, 1e-4)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("num_inference_steps", [1, 2, 3, 20, 50])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_ddpm_equals_diffusers(
    spacing, num_inference_steps, prediction_type, stable_diffusion, perfect_model, run_ours
):
    schedule = stable_diffusion(prediction_type)
    scheduler = DDPMScheduler(**BETAS, clip_sample=False, prediction_type=prediction_type, timestep_spacing=spacing)
    theirs = run_diffusers(scheduler, perfect_model(schedule), num_inference_steps)
    assert_close(run_ours(schedule, "ddpm", num_inference_steps, spacing), theirs, 1e-4)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_ddpm_over_every_training_timestep_equals_diffusers(spacing, stable_diffusion, perfect_model, run_ours):
    schedule = stable_diffusion()
    scheduler = DDPMScheduler(**BETAS, clip_sample=False, timestep_spacing=spacing)
    theirs = run_diffusers(scheduler, perfect_model(schedule), 1000)
    assert_close(run_ours(schedule, "ddpm", 1000, spacing), theirs, 1e-3)


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("num_inference_steps", SOLVER_STEPS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_dpmpp_2m_equals_diffusers(spacing, num_inference_steps, offset, stable_diffusion, perfect_model, run_ours):
    schedule = stable_diffusion(steps_offset=offset)
    scheduler = DPMSolverMultistepScheduler(**BETAS, timestep_spacing=spacing, steps_offset=offset)
    theirs = run_diffusers(scheduler, perfect_model(schedule), num_inference_steps)
    assert_close(run_ours(schedule, "dpmpp_2m", num_inference_steps, spacing), theirs, 5e-5)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("num_inference_steps", SOLVER_STEPS)
@pytest.mark.parametrize("spacing", [*SPACINGS, "karras"])
def test_dpmpp_2m_with_karras_or_v_prediction_equals_diffusers(
    spacing, num_inference_steps, prediction_type, stable_diffusion, perfect_model, run_ours
):
    schedule = stable_diffusion(prediction_type)
    scheduler = solver(spacing, prediction_type=prediction_type)
    theirs = run_diffusers(scheduler, perfect_model(schedule), num_inference_steps)
    assert_close(run_ours(schedule, "dpmpp_2m", num_inference_steps, spacing), theirs, 1e-4)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("num_inference_steps", SOLVER_STEPS)
@pytest.mark.parametrize("spacing", [*SPACINGS, "karras"])
def test_dpmpp_2m_sde_equals_diffusers(
    spacing, num_inference_steps, prediction_type, stable_diffusion, perfect_model, run_ours
):
    schedule = stable_diffusion(prediction_type)
    scheduler = solver(spacing, prediction_type=prediction_type, algorithm_type="sde-dpmsolver++")
    theirs = run_diffusers(scheduler, perfect_model(schedule), num_inference_steps)
    assert_close(run_ours(schedule, "dpmpp_2m_sde", num_inference_steps, spacing), theirs, 2e-4)


# Where diffusers itself is wrong: what we do instead.


@pytest.mark.parametrize("num_inference_steps", [30, 48, 70])
def test_ddim_steps_to_the_next_timestep_of_trailing_where_diffusers_misses_it(
    num_inference_steps, stable_diffusion, perfect_model, run_ours
):
    """DDIMScheduler steps to t - floor(T/N), off the grid when N does not divide T; its first-order solver is right."""
    model = perfect_model(stable_diffusion())
    right = run_diffusers(solver("trailing", solver_order=1), model, num_inference_steps)
    wrong = run_diffusers(
        DDIMScheduler(**BETAS, clip_sample=False, timestep_spacing="trailing"), model, num_inference_steps
    )
    assert_close(run_ours(stable_diffusion(), "ddim", num_inference_steps, "trailing"), right, 1e-4)
    assert np.abs(wrong - right).max() > 5e-3


@pytest.mark.parametrize("num_inference_steps", [20, 50])
def test_ddim_steps_to_the_next_timestep_of_linspace_where_diffusers_misses_it(
    num_inference_steps, stable_diffusion, perfect_model, run_ours
):
    """DDIMScheduler's step is off on every linspace grid; at eta = 1 DDPMScheduler is the same sampler, and right."""
    model = perfect_model(stable_diffusion())
    options = {**BETAS, "clip_sample": False, "timestep_spacing": "linspace"}
    right = run_diffusers(DDPMScheduler(**options), model, num_inference_steps)
    wrong = run_diffusers(DDIMScheduler(**options), model, num_inference_steps, eta=1.0)
    assert_close(run_ours(stable_diffusion(), "ddim", num_inference_steps, "linspace", eta=1.0), right, 1e-4)
    assert np.abs(wrong - right).max() > 5e-2


@pytest.mark.parametrize("spacing", SPACINGS)
def test_dpmpp_2m_over_every_training_timestep_is_the_same_in_every_spacing(
    spacing, stable_diffusion, perfect_model, run_ours
):
    """With N = T there is one grid; of diffusers' three only trailing has it."""
    right = run_diffusers(solver("trailing"), perfect_model(stable_diffusion()), 1000)
    assert_close(run_ours(stable_diffusion(), "dpmpp_2m", 1000, spacing), right, 1e-4)


def test_diffusers_gives_nan_for_linspace_over_every_training_timestep(stable_diffusion, perfect_model):
    """It repeats a timestep; if this fails, diffusers has been mended and can be compared with again."""
    assert np.isnan(run_diffusers(solver("linspace"), perfect_model(stable_diffusion()), 1000)).any()


@pytest.mark.parametrize("num_inference_steps", [1, 2, 10, 20, 50])
def test_ddim_from_zero_terminal_snr_equals_diffusers(num_inference_steps, stable_diffusion, perfect_model, run_ours):
    schedule = stable_diffusion("v_prediction", zero_snr=True)
    theirs = run_diffusers(DDIMScheduler(**ZERO_SNR), perfect_model(schedule), num_inference_steps)
    assert_close(run_ours(schedule, "ddim", num_inference_steps, "trailing"), theirs, 1e-4)


@pytest.mark.parametrize("num_inference_steps", [10, 20])
def test_ddim_with_eta_one_from_zero_terminal_snr_equals_diffusers_ddpm(
    num_inference_steps, stable_diffusion, perfect_model, run_ours
):
    """DDIMScheduler takes the root of a rounding error, which is NaN on machines where that falls below zero.

    DDPMScheduler is the same sampler, and right.
    """
    schedule = stable_diffusion("v_prediction", zero_snr=True)
    right = run_diffusers(DDPMScheduler(**ZERO_SNR), perfect_model(schedule), num_inference_steps)
    assert_close(run_ours(schedule, "ddim", num_inference_steps, "trailing", eta=1.0), right, 1e-4)


@pytest.mark.parametrize("algorithm_type", ["dpmsolver++", "sde-dpmsolver++"])
@pytest.mark.parametrize("num_inference_steps", [1, 2, 3, 10, 20])
def test_karras_from_zero_terminal_snr_equals_diffusers(
    num_inference_steps, algorithm_type, stable_diffusion, perfect_model, run_ours
):
    schedule = stable_diffusion("v_prediction", zero_snr=True)
    scheduler = solver(
        "karras", prediction_type="v_prediction", rescale_betas_zero_snr=True, algorithm_type=algorithm_type
    )
    sampler = {"dpmsolver++": "dpmpp_2m", "sde-dpmsolver++": "dpmpp_2m_sde"}[algorithm_type]
    theirs = run_diffusers(scheduler, perfect_model(schedule), num_inference_steps)
    assert_close(run_ours(schedule, sampler, num_inference_steps, "karras"), theirs, 1e-4)


@pytest.mark.parametrize("num_inference_steps", [20, 50])
def test_dpmpp_2m_from_zero_terminal_snr_is_near_diffusers_which_starts_a_little_below(
    num_inference_steps, stable_diffusion, perfect_model, run_ours
):
    """diffusers puts alpha_bar = 2**-24 for 0; we start from the exact level, whose h is infinite."""
    schedule = stable_diffusion("v_prediction", zero_snr=True)
    scheduler = solver("trailing", prediction_type="v_prediction", rescale_betas_zero_snr=True)
    theirs = run_diffusers(scheduler, perfect_model(schedule), num_inference_steps)
    assert_close(run_ours(schedule, "dpmpp_2m", num_inference_steps, "trailing"), theirs, 5e-4)
