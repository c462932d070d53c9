"""Default sampling of a checkpoint: the sampler, spacing and steps that its own scheduler amounts to."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.checkpoint.settings import scheduler_class
from export.errors import CheckpointError
from export.loop import SAMPLERS, read_schedule, step_table

STEPS = 20
FEW_STEPS = 4  # of checkpoints distilled for it


@dataclass(frozen=True, eq=False)
class Equivalent:
    """A sampler of ours that does what a scheduler of diffusers does, if that has the settings that it needs."""

    sampler: str
    needs: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    num_inference_steps: int = STEPS
    own_grid: bool = False  # the scheduler's `timestep_spacing` has no effect


# diffusers takes the names of other schedulers' methods for the nearest of its own.
DPMSOLVER = {
    "solver_order": (2,),
    "solver_type": ("midpoint", "logrho", "bh1", "bh2"),
    "use_lu_lambdas": (False,),
    "lambda_min_clipped": (-float("inf"),),
}
ENDS_CLEAN = {"final_sigmas_type": ("zero",)}  # and so in a step of first order, whatever the scheduler's settings
ENDS_NOISY = {"final_sigmas_type": ("sigma_min",), "euler_at_final": (False,), "lower_order_final": (True,)}
DISTILLED = {"original_inference_steps": (50,), "timestep_scaling": (10.0,)}
DDIM = Equivalent("ddim")
DDPM = Equivalent("ddpm", {"variance_type": ("fixed_small", "fixed_small_log")})

EQUIVALENTS: dict[str, tuple[Equivalent, ...]] = {
    "DDIMScheduler": (DDIM,),
    "DDIMParallelScheduler": (DDIM,),
    "DDPMScheduler": (DDPM,),
    "DDPMParallelScheduler": (DDPM,),
    "PNDMScheduler": (Equivalent("pndm", {"skip_prk_steps": (True,)}),),
    "DPMSolverMultistepScheduler": tuple(
        Equivalent(sampler, {"algorithm_type": algorithms, **DPMSOLVER, **end})
        for sampler, algorithms in (("dpmpp_2m", ("dpmsolver++", "deis")), ("dpmpp_2m_sde", ("sde-dpmsolver++",)))
        for end in (ENDS_NOISY, ENDS_CLEAN)
    ),
    "UniPCMultistepScheduler": (
        Equivalent(
            "unipc",
            {
                "solver_order": (2,),
                "solver_type": ("bh2", "midpoint", "heun", "logrho"),
                "predict_x0": (True,),
                "lower_order_final": (True,),
                "disable_corrector": ([],),
                "solver_p": (None,),
            },
        ),
    ),
    "DEISMultistepScheduler": (
        Equivalent(
            "deis",
            {
                "algorithm_type": ("deis", "dpmsolver", "dpmsolver++"),
                "solver_order": (2,),
                "solver_type": ("logrho", "midpoint", "heun", "bh1", "bh2"),
                "lower_order_final": (True,),
            },
        ),
    ),
    "EulerDiscreteScheduler": (
        Equivalent("euler", {"interpolation_type": ("linear",), "timestep_type": ("discrete",), **ENDS_CLEAN}),
    ),
    "EulerAncestralDiscreteScheduler": (Equivalent("euler_ancestral"),),
    "HeunDiscreteScheduler": (Equivalent("heun"),),
    "LMSDiscreteScheduler": (Equivalent("lms"),),
    "KDPM2DiscreteScheduler": (Equivalent("dpm_2"),),
    "KDPM2AncestralDiscreteScheduler": (Equivalent("dpm_2_ancestral"),),
    "DPMSolverSDEScheduler": (Equivalent("dpmpp_sde"),),
    "LCMScheduler": (Equivalent("lcm", DISTILLED, FEW_STEPS, own_grid=True),),
    "TCDScheduler": (Equivalent("tcd", DISTILLED, FEW_STEPS, own_grid=True),),
}
"""By diffusers' class; the first whose needs are met."""
USUAL_STEPS = dict.fromkeys(SAMPLERS, STEPS) | {
    row.sampler: row.num_inference_steps for rows in EQUIVALENTS.values() for row in rows
}
SPACING_FLAGS = {"use_karras_sigmas": "karras", "use_exponential_sigmas": "exponential", "use_beta_sigmas": "beta"}
SPACINGS_OF_SCHEDULERS = ("leading", "linspace", "trailing")
BETWEEN_ENDS = ("euler", "kdpm2")
"""Conventions of samplers whose schedulers lay a flag's spacing between the ends of their `timestep_spacing`."""
NAME_A_SAMPLER = "name the sampler to use in serving.json"
NAME_A_SPACING = "name the timestep_spacing to use in serving.json"


def default_sampling(
    path: Path, settings: Mapping[str, Any], schedule: Mapping[str, Any], serving: Mapping[str, Any]
) -> dict[str, Any]:
    """`sampler`, `timestep_spacing` and `num_inference_steps`: those that serving.json names, else the scheduler's."""
    _check_settings_are_known(path, settings)
    if "sampler" in serving:  # whose own spacing goes before that of another's schedule
        sampler = serving["sampler"]
        sampling = {"sampler": sampler, "timestep_spacing": SAMPLERS[sampler].timestep_spacing}
        sampling |= {"num_inference_steps": USUAL_STEPS[sampler]}
    else:
        equivalent = _equivalent(path, settings)
        spacing = serving["timestep_spacing"] if "timestep_spacing" in serving else _spacing(path, settings, equivalent)
        sampling = {"sampler": equivalent.sampler, "timestep_spacing": spacing}
        sampling |= {"num_inference_steps": equivalent.num_inference_steps}
    steps = min(sampling["num_inference_steps"], schedule["num_train_timesteps"])
    sampling = {**sampling, "num_inference_steps": steps}
    return {name: serving.get(name, value) for name, value in sampling.items()}


def _equivalent(path: Path, settings: Mapping[str, Any]) -> Equivalent:
    """The row that does what the scheduler at `path` does. Raises CheckpointError."""
    class_name = settings["_class_name"]
    if class_name not in EQUIVALENTS:
        raise CheckpointError(
            f"{path}: _class_name is {class_name!r}, and no sampler does what it does: supported are"
            f" {', '.join(EQUIVALENTS)}; use one of them, or {NAME_A_SAMPLER}"
        )
    if settings.get("thresholding"):
        raise CheckpointError(
            f"{path}: thresholding is True, which clips what is denoised and is meant for pixels, not for latents:"
            f" set it to false, or {NAME_A_SAMPLER}"
        )
    unmet = {
        equivalent: [key for key, values in equivalent.needs.items() if settings[key] not in values]
        for equivalent in EQUIVALENTS[class_name]
    }
    nearest = min(unmet, key=lambda equivalent: len(unmet[equivalent]))
    if unmet[nearest]:
        key = unmet[nearest][0]
        choices = " or ".join(map(repr, nearest.needs[key]))
        raise CheckpointError(
            f"{path}: {key} is {settings[key]!r}, and sampler {nearest.sampler!r} is {class_name} with {choices}:"
            f" {NAME_A_SAMPLER}"
        )
    return nearest


def _spacing(path: Path, settings: Mapping[str, Any], equivalent: Equivalent) -> str:
    """The `timestep_spacing` that lays the scheduler's grid. Raises CheckpointError."""
    if equivalent.own_grid:
        return SAMPLERS[equivalent.sampler].timestep_spacing
    own = settings["timestep_spacing"]
    if own not in SPACINGS_OF_SCHEDULERS:
        raise CheckpointError(
            f"{path}: timestep_spacing is {own!r}: write one of {', '.join(SPACINGS_OF_SCHEDULERS)}, or"
            f" {NAME_A_SPACING}"
        )
    flags = [flag for flag in SPACING_FLAGS if settings.get(flag)]
    if not flags:
        return own
    if len(flags) > 1:
        raise CheckpointError(
            f"{path}: {' and '.join(flags)} are true, which contradict each other: leave one, or {NAME_A_SPACING}"
        )
    for key in ("sigma_min", "sigma_max"):
        if settings.get(key) is not None:
            raise CheckpointError(
                f"{path}: {key} is {settings[key]!r}, which with {flags[0]} cuts the noise schedule short: set it to"
                f" null, or {NAME_A_SPACING}"
            )
    if settings.get("final_sigmas_type") == "sigma_min":
        raise CheckpointError(
            f"{path}: final_sigmas_type is 'sigma_min' with {flags[0]}, whose last step then changes nothing: set it to"
            f" 'zero', or {NAME_A_SPACING}"
        )
    if SAMPLERS[equivalent.sampler].convention in BETWEEN_ENDS and own != "linspace":
        raise CheckpointError(
            f"{path}: timestep_spacing is {own!r} with {flags[0]}, which leaves out the schedule's ends: set it to"
            f" 'linspace', or {NAME_A_SPACING}"
        )
    return SPACING_FLAGS[flags[0]]


def _check_settings_are_known(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a setting that no scheduler of `EQUIVALENTS` has: it may well change the noise schedule."""
    if settings["_class_name"] in EQUIVALENTS:
        return
    known = {key for name in EQUIVALENTS for key in inspect.signature(scheduler_class(path, name)).parameters}
    unknown = sorted(key for key in settings if key not in known and not key.startswith("_"))
    if unknown:
        raise CheckpointError(
            f"{path}: {settings['_class_name']} has {unknown[0]}, which is not supported:"
            f" supported are {', '.join(EQUIVALENTS)}"
        )


def check_sampling(path: Path, schedule: Mapping[str, Any], sampling: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless the loop samples so by default."""
    try:
        step_table(
            read_schedule(**schedule),
            sampling["sampler"],
            sampling["num_inference_steps"],
            sampling["timestep_spacing"],
        )
    except ValueError as error:
        raise CheckpointError(
            f"{path}: {error}; sampler, timestep_spacing and num_inference_steps in serving.json replace the"
            " scheduler's own"
        ) from error
