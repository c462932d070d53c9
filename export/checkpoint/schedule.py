"""Noise schedule that a checkpoint was trained with, from its scheduler's settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.errors import CheckpointError
from export.families.family import Family
from export.loop import read_schedule

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
FINAL_SIGMAS_TYPES = ("zero", "sigma_min")
COPIED = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type", "steps_offset")

NUMBERS = {"num_train_timesteps": int, "beta_start": int | float, "beta_end": int | float, "steps_offset": int}

PLAIN = {
    "thresholding": (False, "clips what is denoised, which is meant for pixels and not for latents"),
    "use_flow_sigmas": (False, "samples a flow model"),
    "sigma_min": (None, "cuts the noise schedule short"),
    "sigma_max": (None, "cuts the noise schedule short"),
}
"""Settings that leave the schedule to its betas, each with that value and what another value does."""


def noise_schedule(path: Path, settings: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """The arguments of the loop's `read_schedule`, from `settings` of the file at `path`. Raises CheckpointError."""
    missing = [key for key in ("beta_start", "beta_end", "beta_schedule") if settings.get(key) is None]
    if missing:
        raise CheckpointError(f"{path} has no {missing[0]}: the noise schedule must be one of betas, not flow matching")
    _check_choice(path, "beta_schedule", settings["beta_schedule"], BETA_SCHEDULES)
    for key, (plain, effect) in PLAIN.items():
        if settings.get(key, plain) != plain:
            raise CheckpointError(
                f"{path}: {key} is {settings[key]!r}, which {effect}: supported is {plain!r}; set it so if the"
                " checkpoint was not trained for it"
            )
    settings = {"prediction_type": "epsilon", "steps_offset": 0, **settings, **family.scheduler_settings}
    for key, kinds in NUMBERS.items():
        if not _is_number(settings[key], kinds):
            number = "whole number" if kinds is int else "number"
            raise CheckpointError(f"{path}: {key} is {settings[key]!r}: write a {number}")
    if not isinstance(settings.get("timestep_spacing", ""), str):
        raise CheckpointError(f"{path}: timestep_spacing is {settings['timestep_spacing']!r}: write its name")
    _check_choice(path, "prediction_type", settings["prediction_type"], family.prediction_types)
    schedule = {key: settings[key] for key in COPIED}
    schedule["rescale_betas_zero_snr"] = bool(settings.get("rescale_betas_zero_snr"))
    schedule["set_alpha_to_one"] = bool(settings.get("set_alpha_to_one", True))
    schedule["final_sigmas_type"] = settings.get("final_sigmas_type") or "zero"
    _check_choice(path, "final_sigmas_type", schedule["final_sigmas_type"], FINAL_SIGMAS_TYPES)
    if settings.get("trained_betas") is not None:
        betas = settings["trained_betas"]
        if not (isinstance(betas, list) and all(_is_number(beta, int | float) for beta in betas)):
            raise CheckpointError(f"{path}: trained_betas is no list of numbers: write one for each timestep, or null")
        schedule["trained_betas"] = [float(beta) for beta in betas]
    if schedule["rescale_betas_zero_snr"] and schedule["prediction_type"] == "epsilon":
        raise CheckpointError(
            f"{path}: prediction_type 'epsilon' is undefined with rescale_betas_zero_snr, which ends in pure noise:"
            " set prediction_type to 'v_prediction' if the UNet was trained so, or rescale_betas_zero_snr to false"
        )
    try:
        read_schedule(**schedule)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return schedule


def _is_number(value: Any, kinds: Any) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _check_choice(path: Path, key: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise CheckpointError(f"{path}: {key} is {value!r}: supported are {', '.join(allowed)}")
