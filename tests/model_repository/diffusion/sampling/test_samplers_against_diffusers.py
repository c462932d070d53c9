"""Every sampler that diffusers has against its scheduler: in float64, and as shipped in float32."""

import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from unittest import mock

import diffusers
import numpy as np
import pytest
import torch
from sampling import Schedule, alpha_bar_from_betas, step_table

from tests.support.double_precision import double_precision
from tests.support.mixture import mixture_model
from tests.support.step_tables import run_table

STEPS = (1, 2, 3, 5, 8, 10, 20, 50)
SHAPE = (1, 2, 4, 4)
BETAS = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ALPHA_BAR = alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear")
TABLE_2 = ("leading", "trailing", "linspace")
ALL = (*TABLE_2, "karras", "exponential", "beta")
FEW = ("leading", "karras")
NAMED = {spacing: {"timestep_spacing": spacing} for spacing in TABLE_2}
NAMED |= {name: {"timestep_spacing": "linspace", f"use_{name}_sigmas": True} for name in ALL[3:]}


@dataclass(frozen=True)
class Oracle:
    sampler: str
    scheduler: str
    spacings: tuple[str, ...] = ALL
    schedule: dict = field(default_factory=dict)  # of our Schedule and of the scheduler
    config: dict = field(default_factory=dict)  # of the scheduler alone
    options: dict = field(default_factory=dict)  # of our sampler
    step: dict = field(default_factory=dict)  # arguments of the scheduler's `step`
    ours: dict = field(default_factory=dict)  # of our Schedule alone
    dividing: bool = False  # only N that divides T; the scheduler steps to t - floor(T / N)

    def __str__(self):
        details = {**self.schedule, **self.config, **self.options}
        return "-".join([self.sampler, *map(str, details.values())])


V = {"prediction_type": "v_prediction"}
OFF = {"clip_sample": False}
NOT_ONE = {"set_alpha_to_one": False}
ORACLES = [
    Oracle("ddpm", "DDPMScheduler", TABLE_2, config=OFF),
    Oracle("ddim", "DDIMScheduler", TABLE_2[:2], config=OFF, dividing=True),
    Oracle("ddim", "DDIMScheduler", TABLE_2[:1], {**NOT_ONE, "steps_offset": 1}, OFF, dividing=True),
    Oracle("ddim", "DDIMScheduler", TABLE_2[:2], {}, OFF, {"eta": 0.5}, {"eta": 0.5}, dividing=True),
    Oracle("euler", "EulerDiscreteScheduler"),
    Oracle("euler", "EulerDiscreteScheduler", FEW, V),
    Oracle("euler_ancestral", "EulerAncestralDiscreteScheduler", TABLE_2),
    Oracle("euler_ancestral", "EulerAncestralDiscreteScheduler", TABLE_2, V),
    Oracle("heun", "HeunDiscreteScheduler"),
    Oracle("heun", "HeunDiscreteScheduler", FEW, V),
    Oracle("dpm_2", "KDPM2DiscreteScheduler"),
    Oracle("dpm_2", "KDPM2DiscreteScheduler", FEW, V),
    Oracle("dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler"),
    Oracle("lms", "LMSDiscreteScheduler"),
    Oracle("dpmpp_2m", "DPMSolverMultistepScheduler"),
    Oracle("dpmpp_2m", "DPMSolverMultistepScheduler", schedule={**V, "steps_offset": 1}),
    Oracle("dpmpp_2m", "DPMSolverMultistepScheduler", TABLE_2, {"final_sigmas_type": "sigma_min"}),
    Oracle("dpmpp_2m_sde", "DPMSolverMultistepScheduler", config={"algorithm_type": "sde-dpmsolver++"}),
    Oracle("unipc", "UniPCMultistepScheduler"),
    Oracle("unipc", "UniPCMultistepScheduler", FEW, V),
    Oracle("unipc", "UniPCMultistepScheduler", TABLE_2, {"final_sigmas_type": "sigma_min"}),
    Oracle("deis", "DEISMultistepScheduler", TABLE_2, ours={"final_sigmas_type": "sigma_min"}),
    Oracle("deis", "DEISMultistepScheduler", TABLE_2, V, ours={"final_sigmas_type": "sigma_min"}),
    Oracle("pndm", "PNDMScheduler", TABLE_2[:1], NOT_ONE, {"skip_prk_steps": True}),
    Oracle("pndm", "PNDMScheduler", TABLE_2[:1], {**NOT_ONE, "steps_offset": 1}, {"skip_prk_steps": True}),
    Oracle("pndm", "PNDMScheduler", TABLE_2[:2], {}, {"skip_prk_steps": True, "set_alpha_to_one": True}, dividing=True),
    Oracle("lcm", "LCMScheduler", ("trailing",), config=OFF),
    Oracle("lcm", "LCMScheduler", ("trailing",), schedule=V, config=OFF),
    Oracle("tcd", "TCDScheduler", ("trailing",), config=OFF),
    Oracle("tcd", "TCDScheduler", ("trailing",), schedule=V, config=OFF),
]


# Their three sigma spacings lie between the first and the last node of linspace, which are one node in one step.
ENDS_OF_LINSPACE = ("euler", "heun", "dpm_2", "dpm_2_ancestral", "lms")


@contextmanager
def precision(scheduler, dtype):
    """Float32 as shipped, or everything in float64."""
    torch.set_default_dtype(dtype)
    try:
        with double_precision(scheduler) if dtype == torch.float64 else nullcontext():
            yield
    finally:
        torch.set_default_dtype(torch.float32)


def run_diffusers(scheduler, steps, table, model, start, noise, dtype, step_options):
    """The last latent of diffusers' scheduler, told the timesteps of `table` once they are seen to be its own."""
    draws = iter(torch.from_numpy(noise).to(dtype))
    told_within = 1e-4 if dtype == torch.float64 else 0.02
    module = sys.modules[type(scheduler).__module__]
    with mock.patch.object(module, "randn_tensor", create=True, side_effect=lambda *_, **__: next(draws)):
        scheduler.set_timesteps(steps)
        latent = torch.from_numpy(start).to(dtype) * scheduler.init_noise_sigma
        assert len(scheduler.timesteps) == len(table)
        for timestep, told in zip(scheduler.timesteps, table.timesteps):
            assert abs(told - timestep.item()) < told_within
            scaled = scheduler.scale_model_input(latent, timestep).numpy()
            model_output = torch.from_numpy(model(scaled, told))
            latent = scheduler.step(model_output, timestep, latent, **step_options).prev_sample
    return latent.numpy()


@pytest.mark.parametrize(
    ("oracle", "spacing"),
    [pytest.param(oracle, spacing, id=f"{oracle}-{spacing}") for oracle in ORACLES for spacing in oracle.spacings],
)
def test_equals_diffusers(oracle, spacing):
    schedule = Schedule(ALPHA_BAR, **oracle.schedule, **oracle.ours)
    model = mixture_model(schedule)
    cls = getattr(diffusers, oracle.scheduler)
    start = np.random.default_rng(0).standard_normal(SHAPE)
    requests = {}
    for steps in STEPS:
        if oracle.dividing and 1000 % steps:
            continue
        if steps == 1 and spacing not in TABLE_2 and oracle.sampler in ENDS_OF_LINSPACE:
            continue
        noise = np.random.default_rng(steps).standard_normal((steps, *SHAPE))
        table = step_table(schedule, oracle.sampler, steps, spacing, **oracle.options)
        requests[steps] = (table, noise, run_table(table, model, start, noise))
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 5e-5)):
        with precision(cls, dtype):
            scheduler = cls(**BETAS, **{**NAMED[spacing], **oracle.schedule, **oracle.config})
            for steps, (table, noise, ours) in requests.items():
                theirs = run_diffusers(scheduler, steps, table, model, start, noise, dtype, oracle.step)
                assert np.isfinite(theirs).all()
                scale = max(1, np.abs(theirs).max())  # two-evaluation methods overshoot in two steps
                error = np.abs(ours - theirs).max() / scale
                assert error < tolerance, f"{steps} steps in {dtype}"
