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


@dataclass(frozen=True)
class Equivalent:
    """A sampler of ours that does what a scheduler of diffusers does, if that has the settings that it needs."""

    sampler: str
    needs: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    num_inference_steps: int = STEPS
    own_grid: bool = False  # the scheduler's `timestep_spacing` has no effect


MULTISTEP = {"solver_order": (2,), "solver_type": ("midpoint",), "use_lu_lambdas": (False,)}
UNCUT = {"lambda_min_clipped": (-float("inf"),)}
DISTILLED = {"original_inference_steps": (50,), "timestep_scaling": (10.0,)}

EQUIVALENTS: dict[str, tuple[Equivalent, ...]] = {
    "DDIMScheduler": (Equivalent("ddim"),),
    "DDPMScheduler": (Equivalent("ddpm", {"variance_type": ("fixed_small", "fixed_small_log")}),),
    "PNDMScheduler": (Equivalent("pndm", {"skip_prk_steps": (True,)}),),
    "DPMSolverMultistepScheduler": (
        Equivalent("dpmpp_2m_sde", {"algorithm_type": ("sde-dpmsolver++",), **MULTISTEP, **UNCUT}),
        Equivalent("dpmpp_2m", {"algorithm_type": ("dpmsolver++",), **MULTISTEP, **UNCUT}),
    ),
    "UniPCMultistepScheduler": (
        Equivalent(
            "unipc",
            {
                "solver_order": (2,),
                "solver_type": ("bh2",),
                "predict_x0": (True,),
                "lower_order_final": (True,),
                "disable_corrector": ([],),
                "solver_p": (None,),
            },
        ),
    ),
    "DEISMultistepScheduler": (Equivalent("deis", {"solver_order": (2,), "lower_order_final": (True,)}),),
    "EulerDiscreteScheduler": (
        Equivalent("euler", {"interpolation_type": ("linear",), "timestep_type": ("discrete",)}),
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
USUAL_STEPS = {row.sampler: row.num_inference_steps for rows in EQUIVALENTS.values() for row in rows}
SPACING_FLAGS = {"use_karras_sigmas": "karras", "use_exponential_sigmas": "exponential", "use_beta_sigmas": "beta"}
FALLBACK = {"sampler": "dpmpp_2m", "timestep_spacing": "karras", "num_inference_steps": STEPS}
"""For a scheduler that is none of ours, over a schedule that is."""


def default_sampling(
    path: Path, settings: Mapping[str, Any], schedule: Mapping[str, Any], serving: Mapping[str, Any]
) -> dict[str, Any]:
    """`sampler`, `timestep_spacing` and `num_inference_steps`: those that serving.json names, else the scheduler's."""
    if "sampler" in serving:  # whose own spacing goes before that of another's schedule
        sampler = serving["sampler"]
        sampling = {"sampler": sampler, "timestep_spacing": SAMPLERS[sampler].timestep_spacing}
        sampling |= {"num_inference_steps": USUAL_STEPS.get(sampler, STEPS)}
    else:
        sampling = own_sampling(path, settings)
    trained = len(schedule["trained_betas"]) if "trained_betas" in schedule else schedule["num_train_timesteps"]
    sampling = {**sampling, "num_inference_steps": min(sampling["num_inference_steps"], trained)}
    return {name: serving.get(name, value) for name, value in sampling.items()}


def own_sampling(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`sampler`, `timestep_spacing` and `num_inference_steps` of the scheduler at `path`. Raises CheckpointError."""
    class_name = settings["_class_name"]
    if class_name not in EQUIVALENTS:
        _check_settings_are_known(path, settings)
        return FALLBACK
    for equivalent in EQUIVALENTS[class_name]:
        unmet = [key for key, values in equivalent.needs.items() if settings[key] not in values]
        if not unmet:
            return {
                "sampler": equivalent.sampler,
                "timestep_spacing": _spacing(settings, equivalent),
                "num_inference_steps": equivalent.num_inference_steps,
            }
    choices = " or ".join(map(repr, equivalent.needs[unmet[0]]))
    raise CheckpointError(
        f"{path}: {unmet[0]} is {settings[unmet[0]]!r}, and sampler {equivalent.sampler!r} is {class_name} with"
        f" {choices}: name the sampler to use in serving.json"
    )


def _spacing(settings: Mapping[str, Any], equivalent: Equivalent) -> str:
    flagged = [spacing for flag, spacing in SPACING_FLAGS.items() if settings.get(flag)]
    if flagged:
        return flagged[0]
    if equivalent.own_grid:
        return SAMPLERS[equivalent.sampler].timestep_spacing
    return settings["timestep_spacing"]


def _check_settings_are_known(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a setting that no scheduler of `EQUIVALENTS` has: it may well change the noise schedule."""
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
