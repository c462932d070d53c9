"""Flow schedules: grids and whole samplings equal to diffusers' flow schedulers, in float64."""

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from sampling import FlowSchedule, make_grid, step_table

from tests.support.double_precision import double_precision

STEPS = (1, 2, 3, 5, 8, 10, 20, 50)
SHIFTS = (1.0, 3.0, 7.0)
MEANS = np.array([[-1.2, 0.4], [0.3, -0.7], [0.9, 1.1]])  # of a mixture of normals
STD = 0.35


def velocity(x, sigma):
    """noise - image of the best denoiser for the mixture, float64: x (..., 2) at alpha = 1 - sigma."""
    alpha = 1 - sigma
    variance = alpha**2 * STD**2 + sigma**2
    distance = ((x[..., None, :] - alpha * MEANS) ** 2).sum(axis=-1)
    share = np.exp(-(distance - distance.min(axis=-1, keepdims=True)) / (2 * variance))
    share /= share.sum(axis=-1, keepdims=True)
    posterior_mean = MEANS + alpha * STD**2 / variance * (x[..., None, :] - alpha * MEANS)
    denoised = (share[..., None] * posterior_mean).sum(axis=-2)
    return (x - denoised) / sigma


def diffusers_sampling(scheduler, steps, mu=None, **options):
    """sigma (N + 1,), timesteps (N,) and the sampled points of a diffusers scheduler in float64."""
    with double_precision(scheduler):
        theirs = scheduler(**options)
        if mu is not None and scheduler is FlowMatchEulerDiscreteScheduler:
            theirs.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=mu)  # as the pipeline of FLUX
        else:
            theirs.set_timesteps(steps)
        x = torch.from_numpy(first_points())
        for timestep, sigma in zip(theirs.timesteps, np.array(theirs.sigmas)):
            x = theirs.step(torch.from_numpy(velocity(x.numpy(), sigma)), timestep, x).prev_sample
        assert x.dtype == torch.float64
        return np.array(theirs.sigmas), np.array(theirs.timesteps), x.numpy()


def our_sampling(schedule, sampler, steps):
    """The same of ours; one remembered value is enough for these samplers."""
    table = step_table(schedule, sampler, steps, "linspace")
    x, remembered = table.start_noise * first_points(), np.zeros((4, 2))
    sigma = -table.output_weight
    for i in range(len(table)):
        denoised = table.x_weight[i] * x + table.output_weight[i] * velocity(x, sigma[i])
        x, old = table.a[i] * x + table.b[i] * denoised + table.c[i, 0] * remembered, x
        if table.p[i] or table.q[i]:
            remembered = table.p[i] * old + table.q[i] * denoised
    return np.append(sigma, 0.0), table.timesteps, x


def first_points():
    return np.random.default_rng(3).standard_normal((4, 2))


def assert_equal(ours, theirs):
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6)  # float32
    np.testing.assert_allclose(ours[2], theirs[2], rtol=0, atol=1e-9)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("steps", STEPS)
def test_flow_euler_equals_diffusers(steps, shift):
    theirs = diffusers_sampling(FlowMatchEulerDiscreteScheduler, steps, shift=shift)
    assert_equal(our_sampling(FlowSchedule(shift), "euler", steps), theirs)


@pytest.mark.parametrize(("tokens", "mu"), [(256, 0.5), (1024, 0.63), (4096, 1.15)])
@pytest.mark.parametrize("steps", STEPS)
def test_flow_euler_shifted_by_image_size_equals_diffusers(steps, tokens, mu):
    theirs = diffusers_sampling(FlowMatchEulerDiscreteScheduler, steps, mu=mu, use_dynamic_shifting=True)
    assert_equal(our_sampling(FlowSchedule.for_image(tokens), "euler", steps), theirs)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("steps", STEPS)
def test_flow_dpmpp_2m_equals_diffusers(steps, shift):
    options = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": shift}
    theirs = diffusers_sampling(DPMSolverMultistepScheduler, steps, **options)
    assert_equal(our_sampling(FlowSchedule(shift), "dpmpp_2m", steps), theirs)


@pytest.mark.parametrize("convention", ["ddim", "euler", "kdpm2", "dpmpp"])
@pytest.mark.parametrize("schedule", [FlowSchedule(), FlowSchedule(3.0), FlowSchedule.for_image(4096)])
def test_every_flow_grid_falls_from_noise_to_image(schedule, convention):
    for steps in (*STEPS, 999, 1000):
        grid = make_grid(schedule, steps, "linspace", convention)
        assert grid.timesteps.shape == (steps,)
        assert np.all(np.diff(grid.sigma) < 0)
        assert grid.sigma[0] == pytest.approx(1, abs=2e-3)
        assert (grid.alpha[-1], grid.sigma[-1]) == (1, 0)
        np.testing.assert_array_equal(grid.alpha, 1 - grid.sigma)
        assert grid.start_noise == 1


def test_flow_levels_of_a_sigma_karras_lead_back_to_it():
    schedule, sigma_karras = FlowSchedule(), np.array([1e-3, 1.0, 50.0])
    alpha, sigma = schedule.level_at(sigma_karras)
    np.testing.assert_allclose(alpha + sigma, 1, rtol=1e-15)
    np.testing.assert_allclose(sigma / alpha, sigma_karras, rtol=1e-15)
    np.testing.assert_allclose(schedule.timestep_at(sigma_karras), 1000 * sigma, rtol=1e-15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shift": 0.0}, "shift is 0.0: use a number above 0"),
        ({"shift": float("inf")}, "shift is inf: use a number above 0"),
        ({"num_train_timesteps": 0}, "num_train_timesteps is 0: use 1 or more"),
    ],
)
def test_a_broken_flow_schedule_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FlowSchedule(**arguments)


def test_a_spacing_or_sampler_that_flow_lacks_is_refused():
    with pytest.raises(ValueError, match="timestep_spacing is 'karras', but this checkpoint is a flow model: use"):
        make_grid(FlowSchedule(), 10, "karras", "euler")
    with pytest.raises(
        ValueError, match="sampler 'tcd' cannot sample this checkpoint, a flow model: use one of ddim, "
    ):
        step_table(FlowSchedule(), "tcd", 10, "linspace")


def test_the_samplers_that_a_refusal_names_sample_flow():
    with pytest.raises(ValueError, match="flow model") as refused:
        step_table(FlowSchedule(), "lcm", 4)
    for sampler in str(refused.value).partition("use one of ")[2].split(", "):
        assert np.isfinite(step_table(FlowSchedule(), sampler, 4).coefficients).all()
