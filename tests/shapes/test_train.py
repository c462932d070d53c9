"""The training, a few iterations of it: every stage runs, and what it leaves is a checkpoint that can be exported."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

import shapes.train
import shapes.unet
from export.checkpoint.components import read_checkpoint
from shapes.latents import COLOUR_MEAN, COLOUR_STD, latent_of
from shapes.scenes import TRAINING_SCENES, draw, to_pixels
from shapes.train import fit_latent_rgb, train
from shapes.unet import spread_timesteps


@pytest.fixture
def trained(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes.train, "DECODER_RUNS", ((2, 1e-3),))
    monkeypatch.setattr(shapes.train, "ENCODER_ITERATIONS", 2)
    monkeypatch.setattr(shapes.train, "TEXT_ENCODER_ITERATIONS", 2)
    monkeypatch.setattr(shapes.train, "UNET_RUNS", ((2, 4, 1e-3), (2, 2, 1e-3)))
    monkeypatch.setattr(shapes.train, "LOG_EVERY", 1)
    monkeypatch.setattr(shapes.unet, "NUM_SCENES", 64)
    monkeypatch.setattr(shapes.train, "pipeline_accuracy", lambda pipeline, guidance_scale: {"all": 0.0})
    train(tmp_path)
    return tmp_path


def test_training_leaves_a_checkpoint_in_diffusers_layout_and_its_log(trained):
    checkpoint = read_checkpoint(str(trained))
    assert checkpoint.schedule["prediction_type"] == "v_prediction"
    assert checkpoint.defaults == {"guidance_scale": shapes.train.GUIDANCE_SCALE, **shapes.train.SAMPLING}
    for name in ("vae_decoder_0", "vae_encoder", "text_encoder", "unet_0", "unet_1"):
        losses = [entry["loss"] for entry in json.loads((trained / "training.json").read_text())[name]]
        assert len(losses) == 2
        assert np.isfinite(losses).all()
    for part in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        with safe_open(trained / f"{part}.safetensors", "pt") as weights:
            assert {weights.get_tensor(key).dtype for key in weights.keys()} <= {torch.float16, torch.int64}  # noqa: SIM118
    assert {path.name for path in (trained / "tokenizer").iterdir()} >= {"vocab.json", "merges.txt"}


def test_finished_stages_are_kept(trained, monkeypatch):
    before = (trained / "unet/diffusion_pytorch_model.safetensors").read_bytes()
    monkeypatch.setattr(shapes.train, "train_unet", None)  # would fail if it were called
    train(trained)
    assert (trained / "unet/diffusion_pytorch_model.safetensors").read_bytes() == before


def test_the_preview_map_turns_a_latent_into_the_small_picture():
    pixels = to_pixels(np.stack([draw(scene, np.random.default_rng(0)) for scene in TRAINING_SCENES[:8]]))
    maps = fit_latent_rgb()
    rgb = torch.einsum("bchw,cd->bdhw", latent_of(pixels), torch.tensor(maps["weight"]))
    rgb = rgb + torch.tensor(maps["bias"])[:, None, None]
    expected = torch.nn.functional.avg_pool2d(pixels / 2 + 0.5, 8)
    assert (rgb - expected).abs().max() < 2e-3


def test_colour_fills_the_latent_and_an_edge_its_slope():
    grey = latent_of(torch.zeros(1, 3, 128, 128))
    torch.testing.assert_close(grey[:, :3], torch.full((1, 3, 16, 16), -COLOUR_MEAN / COLOUR_STD))
    assert grey[:, 3].abs().max() < 1e-6
    edge = torch.ones(1, 3, 128, 128)
    edge[..., :68] = -1  # half of cell 8 is dark on its left
    assert latent_of(edge)[0, 3, :, 8].min() > 1
    assert latent_of(edge)[0, 3, :, :8].abs().max() < 1e-5


def test_timesteps_cover_the_whole_range_and_favour_low_noise():
    timesteps = spread_timesteps(1000, torch.Generator().manual_seed(0))
    assert timesteps.min() >= 0
    assert timesteps.max() <= 999
    assert (timesteps > 900).sum() > 50
    assert (timesteps < 500).sum() > 600
