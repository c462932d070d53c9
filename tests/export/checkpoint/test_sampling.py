"""The checkpoint's own scheduler decides how its server samples by default, or is refused in one line."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from export.checkpoint.components import read_checkpoint
from export.checkpoint.sampling import EQUIVALENTS
from export.checkpoint.settings import scheduler_class
from export.errors import CheckpointError
from export.loop import SAMPLERS, SPACINGS

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def scheduler(folder: Path, class_name: str, **settings: Any) -> None:
    path = folder / "scheduler/scheduler_config.json"
    path.write_text(json.dumps({"_class_name": f"{class_name}Scheduler", **BETAS, **settings}))


def sampling(folder: Path) -> tuple[str, str, int]:
    defaults = read_checkpoint(str(folder)).defaults
    return defaults["sampler"], defaults["timestep_spacing"], defaults["num_inference_steps"]


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("class_name", "settings", "expected"),
    [
        ("PNDM", {"skip_prk_steps": True}, ("pndm", "leading", 20)),
        ("DDIM", {"timestep_spacing": "trailing"}, ("ddim", "trailing", 20)),
        ("DDPM", {}, ("ddpm", "leading", 20)),
        ("DPMSolverMultistep", {}, ("dpmpp_2m", "linspace", 20)),
        ("DPMSolverMultistep", {"use_karras_sigmas": True}, ("dpmpp_2m", "karras", 20)),
        ("DPMSolverMultistep", {"algorithm_type": "sde-dpmsolver++"}, ("dpmpp_2m_sde", "linspace", 20)),
        ("UniPCMultistep", {"use_exponential_sigmas": True}, ("unipc", "exponential", 20)),
        ("DEISMultistep", {}, ("deis", "linspace", 20)),
        ("EulerDiscrete", {"timestep_spacing": "leading"}, ("euler", "leading", 20)),
        ("EulerAncestralDiscrete", {}, ("euler_ancestral", "linspace", 20)),
        ("HeunDiscrete", {"use_beta_sigmas": True}, ("heun", "beta", 20)),
        ("LMSDiscrete", {}, ("lms", "linspace", 20)),
        ("KDPM2Discrete", {}, ("dpm_2", "linspace", 20)),
        ("KDPM2AncestralDiscrete", {}, ("dpm_2_ancestral", "linspace", 20)),
        ("DPMSolverSDE", {"use_karras_sigmas": True}, ("dpmpp_sde", "karras", 20)),
        ("LCM", {}, ("lcm", SAMPLERS["lcm"].timestep_spacing, 4)),
        ("TCD", {}, ("tcd", SAMPLERS["tcd"].timestep_spacing, 4)),
        ("DDIMParallel", {}, ("dpmpp_2m", "karras", 20)),
        ("DPMSolverSinglestep", {}, ("dpmpp_2m", "karras", 20)),
    ],
)
def test_a_scheduler_names_sampler_spacing_and_steps(
    broken_folder: Path, class_name: str, settings: dict, expected: tuple
) -> None:
    scheduler(broken_folder, class_name, **settings)
    assert sampling(broken_folder) == expected


@pytest.mark.parametrize(
    ("class_name", "settings", "says"),
    [
        ("PNDM", {}, "skip_prk_steps is False"),
        ("DDPM", {"variance_type": "fixed_large"}, "variance_type is 'fixed_large'"),
        ("DPMSolverMultistep", {"solver_order": 3}, "solver_order is 3"),
        ("DPMSolverMultistep", {"solver_type": "heun"}, "solver_type is 'heun'"),
        ("DPMSolverMultistep", {"algorithm_type": "dpmsolver"}, "algorithm_type is 'dpmsolver'"),
        ("DPMSolverMultistep", {"use_lu_lambdas": True}, "use_lu_lambdas is True"),
        ("DPMSolverMultistep", {"lambda_min_clipped": -5.1}, "lambda_min_clipped is -5.1"),
        ("DPMSolverMultistep", {"use_flow_sigmas": True}, "use_flow_sigmas is True"),
        ("UniPCMultistep", {"solver_type": "bh1"}, "solver_type is 'bh1'"),
        ("EulerDiscrete", {"sigma_max": 20.0}, "sigma_max is 20.0"),
        ("EulerDiscrete", {"timestep_type": "continuous"}, "timestep_type is 'continuous'"),
        ("EulerDiscrete", {"final_sigmas_type": "none"}, "final_sigmas_type is 'none'"),
        ("EulerDiscrete", {"timestep_spacing": "golden"}, "timestep_spacing is 'golden'"),
        ("LCM", {"original_inference_steps": 25}, "original_inference_steps is 25"),
        ("DDIM", {"thresholding": True}, "thresholding is True"),
        ("CogVideoXDDIM", {}, "CogVideoXDDIMScheduler has snr_shift_scale"),
        ("EDMEuler", {"beta_start": None}, "not flow matching"),
        ("DDIM", {"trained_betas": [0.1, -0.2]}, "trained_betas"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(
    broken_folder: Path, class_name: str, settings: dict, says: str
) -> None:
    scheduler(broken_folder, class_name, **settings)
    assert says in refusal(broken_folder)


@pytest.mark.parametrize("settings", [{"clip_sample": True}, {"steps_offset": 0}])
def test_settings_that_the_pipeline_overrides_do_not_count(broken_folder: Path, settings: dict) -> None:
    scheduler(broken_folder, "DDIM", **settings)
    assert read_checkpoint(str(broken_folder)).schedule["steps_offset"] == 1


@pytest.mark.parametrize(("class_name", "to_one"), [("PNDM", False), ("DDIM", True), ("EulerDiscrete", True)])
def test_where_the_last_step_ends_is_read(broken_folder: Path, class_name: str, to_one: bool) -> None:
    scheduler(broken_folder, class_name, skip_prk_steps=True)
    assert read_checkpoint(str(broken_folder)).schedule["set_alpha_to_one"] is to_one
    scheduler(broken_folder, class_name, skip_prk_steps=True, set_alpha_to_one=not to_one)
    assert read_checkpoint(str(broken_folder)).schedule["set_alpha_to_one"] is not to_one


@pytest.mark.parametrize(
    ("serving", "expected"),
    [
        ({"num_inference_steps": 7}, ("pndm", "leading", 7)),
        ({"timestep_spacing": "trailing"}, ("pndm", "trailing", 20)),
        ({"sampler": "dpmpp_2m"}, ("dpmpp_2m", "karras", 20)),
        ({"sampler": "lcm"}, ("lcm", SAMPLERS["lcm"].timestep_spacing, 4)),
        ({"sampler": "ddim", "timestep_spacing": "karras", "num_inference_steps": 50}, ("ddim", "karras", 50)),
    ],
)
def test_the_serving_file_goes_before_the_scheduler(broken_folder: Path, serving: dict, expected: tuple) -> None:
    (broken_folder / "serving.json").write_text(json.dumps(serving))
    assert sampling(broken_folder) == expected


def test_a_named_sampler_serves_a_checkpoint_whose_own_is_lacking(broken_folder: Path) -> None:
    scheduler(broken_folder, "DPMSolverMultistep", solver_order=3)
    (broken_folder / "serving.json").write_text('{"sampler": "unipc"}')
    assert sampling(broken_folder)[0] == "unipc"


@pytest.mark.parametrize(
    ("serving", "says"),
    [
        ({"sampler": "DPM++ 2M"}, "sampler is 'DPM++ 2M': write one of "),
        ({"timestep_spacing": 3}, "timestep_spacing is 3: write one of "),
        ({"num_inference_steps": 0}, "num_inference_steps is 0: write a whole number from 1 to 1000"),
        ({"num_inference_steps": True}, "num_inference_steps is True"),
        ({"sampler": ["ddim"]}, "sampler is ['ddim']"),
    ],
)
def test_a_wrong_default_in_the_serving_file(broken_folder: Path, serving: dict, says: str) -> None:
    (broken_folder / "serving.json").write_text(json.dumps(serving))
    assert says in refusal(broken_folder)


def test_defaults_that_the_loop_would_refuse_are_refused_at_export(broken_folder: Path) -> None:
    scheduler(broken_folder, "DDIM", num_train_timesteps=10)
    assert sampling(broken_folder) == ("ddim", "leading", 10)
    (broken_folder / "serving.json").write_text('{"num_inference_steps": 20}')
    assert "num_inference_steps is 20" in refusal(broken_folder)


def test_the_table_names_schedulers_samplers_and_settings_that_there_are() -> None:
    for class_name, rows in EQUIVALENTS.items():
        settings = inspect.signature(scheduler_class(Path(), class_name)).parameters
        for row in rows:
            assert row.sampler in SAMPLERS
            assert row.needs.keys() <= settings.keys()
    assert {"karras", "exponential", "beta"} <= {*SPACINGS}
