"""Makes the shipped checkpoint from nothing: autoencoder, text encoder, UNet, each kept when it is done.

A stage whose result already lies in the folder is not run again, so an interrupted training goes on from there.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from rich.progress import Progress
from transformers import CLIPTextModel, CLIPTokenizer

from shapes.evaluate import pipeline_accuracy
from shapes.latents import LATENT_CHANNELS, VAE_FACTOR, latent_of
from shapes.text_encoder import new_tokenizer, save_tokenizer, train_text_encoder
from shapes.unet import new_scheduler, train_unet
from shapes.vae import decoder_loss, encoder_loss, new_vae, scene_batches, train_vae_half

DECODER_RUNS = ((1800, 2e-3), (1000, 1e-3))
"""Iterations and peak learning rate of each run, the next of which goes on from the last."""
ENCODER_ITERATIONS = 400
TEXT_ENCODER_ITERATIONS = 500
UNET_RUNS = ((2600, 64, 1e-3), (2600, 32, 6e-4))
"""Iterations, batch size and peak learning rate of each run."""
LOG_EVERY = 50
GUIDANCE_SCALE = 2.0
SAMPLING = {"sampler": "dpmpp_2m", "timestep_spacing": "karras", "num_inference_steps": 20}
"""Of requests that name none: better in few steps than the scheduler that the UNet is trained with."""


class TrainingLog:
    """The running figures of every stage, averaged over `LOG_EVERY` iterations and kept in one JSON file."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path = path
        self._progress = progress
        self.entries: dict[str, list[dict]] = defaultdict(list, json.loads(path.read_text()) if path.exists() else {})

    def stage(self, name: str, iterations: int) -> Callable[..., None]:
        """A `report(iteration, **figures)` for one stage, which starts its log anew."""
        task = self._progress.add_task(name, total=iterations)
        recent: dict[str, list[float]] = defaultdict(list)
        self.entries[name] = []

        def report(iteration: int, **figures: float) -> None:
            self._progress.advance(task)
            for figure, value in figures.items():
                recent[figure].append(value)
            if (iteration + 1) % LOG_EVERY == 0:
                self.add(name, iteration=iteration + 1, **{k: round(float(np.mean(v)), 5) for k, v in recent.items()})
                recent.clear()

        return report

    def add(self, name: str, **entry: float) -> None:
        """Append one entry to the log `name` and write the file."""
        self.entries[name].append(entry)
        self._progress.print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in entry.items()))
        self._path.write_text(json.dumps(self.entries, indent=1) + "\n")


def train(folder: Path) -> None:
    """Train, and leave a checkpoint in diffusers' layout for Stable Diffusion, FP16, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with Progress() as progress:
        log = TrainingLog(folder / "training.json", progress)
        vae = _stage(folder / "vae", AutoencoderKL, lambda: _train_vae(log))
        if not (folder / "tokenizer").exists():
            save_tokenizer(new_tokenizer(), folder / "tokenizer")
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        text_encoder = _stage(
            folder / "text_encoder",
            CLIPTextModel,
            lambda: train_text_encoder(
                tokenizer, TEXT_ENCODER_ITERATIONS, log.stage("text_encoder", TEXT_ENCODER_ITERATIONS)
            ),
        )
        parts = {"vae": vae, "tokenizer": tokenizer, "text_encoder": text_encoder}
        unet = _stage(folder / "unet", UNet2DConditionModel, lambda: _train_unet(parts, log))
    assemble(unet=unet, **parts).to(dtype=torch.float16).save_pretrained(folder)
    save_tokenizer(tokenizer, folder / "tokenizer")
    serving = {"guidance_scale": GUIDANCE_SCALE, "latent_rgb": fit_latent_rgb(), **SAMPLING}
    (folder / "serving.json").write_text(json.dumps(serving, indent=1) + "\n")


def assemble(**parts: Any) -> StableDiffusionPipeline:
    """The parts as the pipeline that diffusers reads and writes."""
    absent = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return StableDiffusionPipeline(scheduler=new_scheduler(), **parts, **absent)


def _stage(folder: Path, kind: Any, make: Callable[[], Any]) -> Any:
    """The model in `folder`, made first where there is none."""
    if not folder.exists():
        make().save_pretrained(folder)
    return kind.from_pretrained(folder, torch_dtype=torch.float32).eval()


def _train_vae(log: TrainingLog) -> AutoencoderKL:
    torch.manual_seed(0)
    vae = new_vae()
    for run, (iterations, peak_rate) in enumerate(DECODER_RUNS):
        report = log.stage(f"vae_decoder_{run}", iterations)
        train_vae_half(vae, decoder_loss, iterations, report, peak_rate, seed=run)
    train_vae_half(vae, encoder_loss, ENCODER_ITERATIONS, log.stage("vae_encoder", ENCODER_ITERATIONS))
    return vae


def _train_unet(parts: dict[str, Any], log: TrainingLog) -> UNet2DConditionModel:
    unet = None
    for run, (iterations, batch_size, peak_rate) in enumerate(UNET_RUNS):
        report = log.stage(f"unet_{run}", iterations)
        unet = train_unet(
            parts["tokenizer"], parts["text_encoder"], iterations, report, unet, peak_rate, batch_size, seed=run
        )
        figures = pipeline_accuracy(assemble(unet=unet, **parts), GUIDANCE_SCALE)
        log.add("accuracy", unet_run=run, **figures)
    return unet


def fit_latent_rgb() -> dict[str, list]:
    """The linear map from a latent to RGB in 0..1 at latent size, by least squares over training scenes."""
    pixels = next(scene_batches(128, seed=2))
    cells = latent_of(pixels).permute(0, 2, 3, 1).reshape(-1, LATENT_CHANNELS)
    cells = torch.cat([cells, torch.ones(len(cells), 1)], dim=1)
    colours = F.avg_pool2d(pixels / 2 + 0.5, VAE_FACTOR).permute(0, 2, 3, 1).reshape(-1, 3)
    solution = torch.linalg.lstsq(cells.double(), colours.double()).solution
    *weight, bias = (solution.round(decimals=4) + 0.0).tolist()  # the sum turns -0.0 into 0.0
    return {"weight": weight, "bias": bias}
