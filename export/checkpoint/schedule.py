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

MAX_TIMESTEPS = 100_000  # far above any checkpoint's
AT_CLEANEST_TRAINED = ("DEISMultistepScheduler",)
"""Schedulers whose last step leads to the cleanest trained level, without a setting that says so."""

PLAIN = {
    "use_flow_sigmas": (False, "samples a flow model"),
    "use_dynamic_shifting": (False, "shifts the noise schedule of a flow model"),
}
"""Settings that leave the schedule to its betas, each with that value and what another value does."""


def noise_schedule(path: Path, settings: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """The arguments of the loop's `read_schedule`, from `settings` of the file at `path`. Raises CheckpointError."""
    missing = [key for key in ("beta_start", "beta_end", "beta_schedule") if settings.get(key) is None]
    if missing:
        raise CheckpointError(
            f"{path}: {settings['_class_name']} has no {missing[0]}: the noise schedule must be one of betas, not flow"
            " matching"
        )
    _check_betas(path, settings)
    for key, (plain, effect) in PLAIN.items():
        if settings.get(key, plain) != plain:
            raise CheckpointError(
                f"{path}: {key} is {settings[key]!r}, which {effect}: supported is {plain!r}; set it so if the"
                " checkpoint was not trained for it"
            )
    settings = {"prediction_type": "epsilon", "steps_offset": 0, **settings, **family.scheduler_settings}
    _check_choice(path, "prediction_type", settings["prediction_type"], family.prediction_types)
    schedule = {key: settings[key] for key in COPIED}
    schedule["rescale_betas_zero_snr"] = settings.get("rescale_betas_zero_snr", False)
    schedule["set_alpha_to_one"] = settings.get("set_alpha_to_one", True)
    end = "sigma_min" if settings["_class_name"] in AT_CLEANEST_TRAINED else "zero"
    schedule["final_sigmas_type"] = settings.get("final_sigmas_type", end)
    _check_choice(path, "final_sigmas_type", schedule["final_sigmas_type"], FINAL_SIGMAS_TYPES)
    if settings.get("trained_betas") is not None:
        schedule["trained_betas"] = [float(beta) for beta in settings["trained_betas"]]
    if schedule["rescale_betas_zero_snr"] and schedule["prediction_type"] == "epsilon":
        raise CheckpointError(
            f"{path}: prediction_type 'epsilon' is undefined with rescale_betas_zero_snr, which ends in pure noise:"
            " set prediction_type to 'v_prediction' if the denoiser was trained so, or rescale_betas_zero_snr to false"
        )
    try:
        read_schedule(**schedule)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return schedule


def _check_betas(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuse betas that are no numbers from 0 to 1, one a timestep."""
    _check_choice(path, "beta_schedule", settings["beta_schedule"], BETA_SCHEDULES)
    timesteps = settings["num_train_timesteps"]
    if not 1 <= timesteps <= MAX_TIMESTEPS:
        raise CheckpointError(
            f"{path}: num_train_timesteps is {timesteps}: write a whole number from 1 to {MAX_TIMESTEPS}"
        )
    betas = {key: settings[key] for key in ("beta_start", "beta_end")}
    trained = settings.get("trained_betas")
    if trained is not None:
        if not isinstance(trained, list) or len(trained) != timesteps:
            raise CheckpointError(
                f"{path}: trained_betas must be null or a list of {timesteps} numbers, as many as num_train_timesteps"
            )
        betas |= {f"trained_betas[{index}]": beta for index, beta in enumerate(trained)}
    for key, beta in betas.items():
        if not isinstance(beta, int | float) or isinstance(beta, bool) or not 0 <= beta <= 1:
            raise CheckpointError(f"{path}: {key} is {beta!r}: write a number from 0 to 1")


def _check_choice(path: Path, key: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise CheckpointError(f"{path}: {key} is {value!r}: supported are {', '.join(allowed)}")
