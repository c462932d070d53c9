"""A checkpoint with the settings of Stable Diffusion 2.x, exported for one fixed size through the command line."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import Tokenizer
from transformers import CLIPTextModel
from typer.testing import CliRunner

from export.__main__ import app
from export.checkpoint.random_weights import UNETS, Architecture, random_pipeline
from export.graph.gate import relative_error


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Linear projections, a head size a level, upcast attention, GELU, v-prediction, padding with "!"."""
    pipeline = random_pipeline(Architecture.TINY)
    settings = {**UNETS[Architecture.TINY], "attention_head_dim": (2, 4, 4), "use_linear_projection": True}
    pipeline.unet = UNet2DConditionModel(**settings, upcast_attention=True)
    text_config = pipeline.text_encoder.config
    text_config.hidden_act = "gelu"
    pipeline.text_encoder = CLIPTextModel(text_config)
    pipeline.tokenizer.pad_token = "!"
    pipeline.scheduler = DDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, steps_offset=1, clip_sample=False
    )
    folder = tmp_path_factory.mktemp("generations") / "second"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def repository(checkpoint: Path, hand_written: Path) -> Path:
    folder = checkpoint.parent / "models"
    result = CliRunner().invoke(app, [str(checkpoint), "--repository", str(folder)])
    assert result.exit_code == 0, result.stderr
    return folder


def run(repository: Path, name: str, **feed: np.ndarray) -> np.ndarray:
    output, *_ = onnxruntime.InferenceSession(repository / name / "1/model.onnx").run(None, feed)
    return output


def test_checkpoint_json(repository: Path) -> None:
    found = json.loads((repository / "diffusion/1/checkpoint.json").read_text())
    assert found["name"] == "second"
    assert found["schedule"]["prediction_type"] == "v_prediction"
    assert found["schedule"]["rescale_betas_zero_snr"] is True
    assert found["height_range"] == found["width_range"] == [64, 64]


def test_prompt_to_model_output(repository: Path, checkpoint: Path) -> None:
    """The text goes through our tokenizer and graphs on one side and through diffusers on the other."""
    pipeline = StableDiffusionPipeline.from_pretrained(checkpoint, low_cpu_mem_usage=False)
    prompt = "A red circle, of the square!"
    ids = np.array([Tokenizer.from_file(str(repository / "diffusion/1/tokenizer.json")).encode(prompt).ids], np.int32)
    context = run(repository, "text_encoder", input_ids=ids)
    expected_context, _ = pipeline.encode_prompt(prompt, "cpu", 1, False)
    assert relative_error(expected_context.detach().numpy(), context) < 1e-5

    sample, timestep = np.random.default_rng(0).standard_normal((1, 4, 8, 8), np.float32), np.array([7], np.float32)
    with torch.no_grad():
        expected = pipeline.unet(torch.tensor(sample), torch.tensor(7), expected_context).sample.numpy()
    output = run(repository, "denoiser", sample=sample, timestep=timestep, context=context)
    assert relative_error(expected, output) < 1e-5


def test_edits_of_a_graph_of_one_size(repository: Path) -> None:
    denoiser = [node.op_type for node in onnx.load(repository / "denoiser/1/model.onnx").graph.node]
    assert denoiser.count("Softmax") == 8  # attentions
    assert denoiser.count("InstanceNormalization") > 20
    assert denoiser.count("Slice") == 2  # the halves of the timestep's embedding
    assert denoiser.count("Shape") == 0
    text_encoder = [node.op_type for node in onnx.load(repository / "text_encoder/1/model.onnx").graph.node]
    assert text_encoder.count("Softmax") == 2
    assert text_encoder.count("IsNaN") == 0
