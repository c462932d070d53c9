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
        ("DDIMParallel", {}, ("ddim", "leading", 20)),
        ("DDPMParallel", {}, ("ddpm", "leading", 20)),
        ("DPMSolverMultistep", {"algorithm_type": "deis", "solver_type": "bh2"}, ("dpmpp_2m", "linspace", 20)),
        ("DPMSolverMultistep", {"final_sigmas_type": "sigma_min"}, ("dpmpp_2m", "linspace", 20)),
        ("DPMSolverMultistep", {"euler_at_final": True, "lower_order_final": False}, ("dpmpp_2m", "linspace", 20)),
        ("DPMSolverMultistep", {"timestep_spacing": "leading", "use_karras_sigmas": True}, ("dpmpp_2m", "karras", 20)),
        ("UniPCMultistep", {"solver_type": "midpoint"}, ("unipc", "linspace", 20)),
        ("DEISMultistep", {"algorithm_type": "dpmsolver++", "solver_type": "midpoint"}, ("deis", "linspace", 20)),
        ("EulerDiscrete", {"sigma_min": 0.1, "sigma_max": 20}, ("euler", "linspace", 20)),
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
        ("DPMSolverMultistep", {"final_sigmas_type": "sigma_min", "euler_at_final": True}, "euler_at_final is True"),
        ("DPMSolverMultistep", {"final_sigmas_type": "sigma_min", "lower_order_final": False}, "lower_order_final is"),
        (
            "UniPCMultistep",
            {"final_sigmas_type": "sigma_min", "use_beta_sigmas": True},
            "with use_beta_sigmas",
        ),
        ("UniPCMultistep", {"use_dynamic_shifting": True}, "use_dynamic_shifting is True"),
        ("DEISMultistep", {"algorithm_type": "sde-dpmsolver"}, "algorithm_type is 'sde-dpmsolver'"),
        ("EulerDiscrete", {"final_sigmas_type": "sigma_min"}, "final_sigmas_type is 'sigma_min'"),
        ("EulerDiscrete", {"use_karras_sigmas": True, "sigma_max": 20.0}, "sigma_max is 20.0"),
        ("LMSDiscrete", {"use_exponential_sigmas": True, "sigma_min": 0.5}, "sigma_min is 0.5"),
        ("HeunDiscrete", {"use_karras_sigmas": True, "use_beta_sigmas": True}, "use_karras_sigmas and use_beta_sigmas"),
        ("EulerDiscrete", {"timestep_type": "continuous"}, "timestep_type is 'continuous'"),
        ("EulerDiscrete", {"final_sigmas_type": "none"}, "final_sigmas_type is 'none'"),
        ("EulerDiscrete", {"timestep_spacing": "golden"}, "timestep_spacing is 'golden'"),
        ("LCM", {"original_inference_steps": 25}, "original_inference_steps is 25"),
        ("DDIM", {"thresholding": True}, "thresholding is True"),
        ("CogVideoXDDIM", {}, "CogVideoXDDIMScheduler has snr_shift_scale"),
        ("EDMEuler", {}, "EDMEulerScheduler has no beta_start"),
        ("IPNDM", {}, "IPNDMScheduler has no beta_start"),
        ("UnCLIP", {}, "UnCLIPScheduler has no beta_start"),
        ("FlowMatchEulerDiscrete", {}, "not flow matching"),
        ("DDIM", {"trained_betas": [0.1, -0.2]}, "trained_betas"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(
    broken_folder: Path, class_name: str, settings: dict, says: str
) -> None:
    scheduler(broken_folder, class_name, **settings)
    assert says in refusal(broken_folder)


@pytest.mark.parametrize("class_name", ["DDIMInverse", "DPMSolverMultistepInverse", "DPMSolverSinglestep"])
def test_a_scheduler_that_is_none_of_ours_is_not_replaced_silently(broken_folder: Path, class_name: str) -> None:
    scheduler(broken_folder, class_name)
    message = refusal(broken_folder)
    assert f"_class_name is '{class_name}Scheduler'" in message
    assert "EulerDiscreteScheduler" in message
    assert "name the sampler to use in serving.json" in message


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize(
    "class_name", ["EulerDiscrete", "HeunDiscrete", "LMSDiscrete", "KDPM2Discrete", "DPMSolverSDE"]
)
def test_a_flag_that_leaves_out_the_ends_is_refused(broken_folder: Path, class_name: str, spacing: str) -> None:
    scheduler(broken_folder, class_name, timestep_spacing=spacing, use_karras_sigmas=True)
    message = refusal(broken_folder)
    assert f"timestep_spacing is {spacing!r} with use_karras_sigmas" in message
    assert "set it to 'linspace'" in message
    (broken_folder / "serving.json").write_text('{"timestep_spacing": "karras"}')
    assert sampling(broken_folder)[1] == "karras"


@pytest.mark.parametrize(
    ("class_name", "settings"),
    [
        ("DDIM", {"use_karras_sigmas": True}),
        ("DDPM", {"use_exponential_sigmas": True}),
        ("EulerAncestralDiscrete", {"use_beta_sigmas": True, "final_sigmas_type": "sigma_min"}),
        ("LCM", {"use_karras_sigmas": True}),
        ("PNDM", {"rescale_betas_zero_snr": True, "thresholding": True, "use_karras_sigmas": "no"}),
        ("EulerDiscrete", {"set_alpha_to_one": False, "solver_order": 3}),
    ],
)
def test_settings_that_the_class_does_not_have_do_not_count(
    broken_folder: Path, class_name: str, settings: dict
) -> None:
    scheduler(broken_folder, class_name, skip_prk_steps=True)
    plain = read_checkpoint(str(broken_folder))
    scheduler(broken_folder, class_name, skip_prk_steps=True, **settings)
    read = read_checkpoint(str(broken_folder))
    assert (read.schedule, read.defaults) == (plain.schedule, plain.defaults)


@pytest.mark.parametrize("class_name", ["DDIM", "EulerDiscrete", "DPMSolverMultistep"])
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"num_train_timesteps": 0}, "num_train_timesteps is 0: write a whole number from 1"),
        ({"num_train_timesteps": 10**12}, "num_train_timesteps is 1000000000000"),
        ({"num_train_timesteps": "1000"}, "num_train_timesteps is '1000': write a whole number"),
        ({"num_train_timesteps": 1000.5}, "num_train_timesteps is 1000.5: write a whole number"),
        ({"num_train_timesteps": True}, "num_train_timesteps is True: write a whole number"),
        ({"beta_start": "x"}, "beta_start is 'x': write a number"),
        ({"beta_start": -0.1}, "beta_start is -0.1: write a number from 0 to 1"),
        ({"beta_end": float("nan")}, "beta_end is nan: write a number from 0 to 1"),
        ({"beta_schedule": ["linear"]}, "beta_schedule is ['linear']: write a string"),
        ({"trained_betas": []}, "trained_betas must be null or a list of 1000 numbers"),
        ({"trained_betas": "abc"}, "trained_betas must be null or a list of 1000 numbers"),
        ({"trained_betas": [0.1, None], "num_train_timesteps": 2}, "trained_betas[1] is None: write a number"),
        ({"trained_betas": [0.1, -0.2], "num_train_timesteps": 2}, "trained_betas[1] is -0.2: write a number"),
        ({"trained_betas": [0.1, 0.0], "num_train_timesteps": 2}, "each above 0"),
        ({"timestep_spacing": None}, "timestep_spacing is None: write a string"),
        ({"prediction_type": None}, "prediction_type is None: write a string"),
        ({"prediction_type": "sample"}, "prediction_type is 'sample': supported are"),
        ({"rescale_betas_zero_snr": "false"}, "rescale_betas_zero_snr is 'false': write true or false"),
        ({"rescale_betas_zero_snr": 0}, "rescale_betas_zero_snr is 0: write true or false"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused(
    broken_folder: Path, class_name: str, settings: dict, says: str
) -> None:
    scheduler(broken_folder, class_name, **settings)
    assert says in refusal(broken_folder)


@pytest.mark.parametrize(("class_name", "end"), [("DEISMultistep", "sigma_min"), ("UniPCMultistep", "zero")])
def test_deis_ends_at_the_cleanest_trained_level(broken_folder: Path, class_name: str, end: str) -> None:
    scheduler(broken_folder, class_name)
    assert read_checkpoint(str(broken_folder)).schedule["final_sigmas_type"] == end


def test_another_sampler_serves_a_deis_checkpoint(broken_folder: Path) -> None:
    scheduler(broken_folder, "DEISMultistep")
    (broken_folder / "serving.json").write_text('{"sampler": "dpmpp_2m"}')
    assert sampling(broken_folder) == ("dpmpp_2m", "karras", 20)


@pytest.mark.parametrize("settings", [{"clip_sample": True}, {"steps_offset": 0}])
def test_settings_that_the_pipeline_overrides_do_not_count(broken_folder: Path, settings: dict) -> None:
    scheduler(broken_folder, "DDIM", **settings)
    assert read_checkpoint(str(broken_folder)).schedule["steps_offset"] == 1


@pytest.mark.parametrize(("class_name", "to_one"), [("PNDM", False), ("DDIM", True), ("LCM", True)])
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


@pytest.mark.parametrize(
    ("class_name", "settings"),
    [
        ("DPMSolverMultistep", {"solver_order": 3}),
        ("DPMSolverSinglestep", {}),
        ("DDIM", {"thresholding": True}),
        ("EulerDiscrete", {"use_karras_sigmas": True, "sigma_max": 20.0}),
    ],
)
def test_a_named_sampler_serves_a_checkpoint_whose_own_is_lacking(
    broken_folder: Path, class_name: str, settings: dict
) -> None:
    scheduler(broken_folder, class_name, **settings)
    (broken_folder / "serving.json").write_text('{"sampler": "unipc"}')
    assert sampling(broken_folder)[0] == "unipc"


def test_a_named_sampler_does_not_replace_another_noise_schedule(broken_folder: Path) -> None:
    scheduler(broken_folder, "CogVideoXDDIM")
    (broken_folder / "serving.json").write_text('{"sampler": "ddim"}')
    assert "snr_shift_scale" in refusal(broken_folder)


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
