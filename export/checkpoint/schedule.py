"""Reads the noise schedule a checkpoint was trained with from its scheduler's settings."""

import inspect
from pathlib import Path
from typing import Any

import diffusers

from export.checkpoint.layout import read_json
from export.errors import CheckpointError

PREDICTION_TYPES = ("epsilon", "v_prediction")
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")

STEPS_OFFSET = 1
"""StableDiffusionPipeline sets every scheduler's `steps_offset` to this, whatever the checkpoint's file says."""


def read_schedule(folder: Path) -> tuple[dict[str, Any], str]:
    """(betas as diffusers describes them, prediction type) of the checkpoint in `folder`."""
    path = folder / "scheduler" / "scheduler_config.json"
    settings = with_defaults(_scheduler_class(path), read_json(path))
    missing = [key for key in ("beta_start", "beta_end", "beta_schedule") if settings.get(key) is None]
    if missing:
        raise CheckpointError(f"{path} has no {missing[0]}: the noise schedule must be one of betas, not flow matching")
    if settings["beta_schedule"] not in BETA_SCHEDULES:
        raise CheckpointError(
            f"{path}: beta_schedule is {settings['beta_schedule']!r}: supported are {', '.join(BETA_SCHEDULES)}"
        )
    prediction_type = settings.get("prediction_type", "epsilon")
    if prediction_type not in PREDICTION_TYPES:
        raise CheckpointError(
            f"{path}: prediction_type is {prediction_type!r}: supported are {' and '.join(PREDICTION_TYPES)}"
        )
    schedule = {key: settings[key] for key in ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")}
    schedule["rescale_betas_zero_snr"] = bool(settings.get("rescale_betas_zero_snr"))
    if settings.get("trained_betas") is not None:
        schedule["trained_betas"] = [float(beta) for beta in settings["trained_betas"]]
    if schedule["rescale_betas_zero_snr"] and prediction_type == "epsilon":
        raise CheckpointError(
            f"{path}: prediction_type 'epsilon' is undefined with rescale_betas_zero_snr, which ends in pure noise:"
            " set prediction_type to 'v_prediction' if the UNet was trained so, or rescale_betas_zero_snr to false"
        )
    return schedule, prediction_type


def with_defaults(config_class: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """`settings` of a diffusers class, and that class's own default for each it leaves out."""
    parameters = inspect.signature(config_class.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty} | settings


def _scheduler_class(path: Path) -> type:
    """The class whose defaults complete the settings; only looked up among diffusers' own schedulers."""
    name = read_json(path).get("_class_name")
    found = getattr(diffusers, name, None) if isinstance(name, str) and name.endswith("Scheduler") else None
    if not inspect.isclass(found) or not issubclass(found, diffusers.SchedulerMixin):
        raise CheckpointError(
            f"{path}: _class_name is {name!r}, which is no scheduler of diffusers {diffusers.__version__}"
        )
    return found
