"""Makes the shipped checkpoint from nothing: autoencoder, text encoder, UNet, each kept when it is done.

A stage whose result already lies in the folder is not run again, so an interrupted training goes on from there.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from rich.progress import Progress
from transformers import CLIPTextModel, CLIPTokenizer

from export.shapes.evaluate import pipeline_accuracy
from export.shapes.text_encoder import new_tokenizer, save_tokenizer, train_text_encoder
from export.shapes.unet import new_scheduler, train_unet
from export.shapes.vae import scene_batches, train_vae

VAE_ITERATIONS = 1400
TEXT_ENCODER_ITERATIONS = 300
UNET_ITERATIONS = 4000
LOG_EVERY = 50
ACCURACY_EVERY = 500
GUIDANCE_SCALE = 3.0


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
        vae = _stage(folder / "vae", AutoencoderKL, lambda: train_vae(VAE_ITERATIONS, log.stage("vae", VAE_ITERATIONS)))
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

        def assemble(unet: UNet2DConditionModel) -> StableDiffusionPipeline:
            return StableDiffusionPipeline(
                vae=vae,
                text_encoder=text_encoder,
                tokenizer=tokenizer,
                unet=unet,
                scheduler=new_scheduler(),
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )

        def check(iteration: int, average: UNet2DConditionModel) -> None:
            if (iteration + 1) % ACCURACY_EVERY == 0:
                log.add("accuracy", iteration=iteration + 1, **pipeline_accuracy(assemble(average), GUIDANCE_SCALE))

        log.entries["accuracy"] = []
        report = log.stage("unet", UNET_ITERATIONS)
        unet = train_unet(vae, tokenizer, text_encoder, UNET_ITERATIONS, report, check)
        assemble(unet).to(dtype=torch.float16).save_pretrained(folder)
        serving = {"guidance_scale": GUIDANCE_SCALE, "latent_rgb": fit_latent_rgb(vae.float())}
        (folder / "serving.json").write_text(json.dumps(serving, indent=1) + "\n")


def _stage(folder: Path, kind, make: Callable):
    """The model in `folder`, made first where there is none."""
    if not folder.exists():
        make().save_pretrained(folder)
    return kind.from_pretrained(folder, torch_dtype=torch.float32).eval()


@torch.no_grad()
def fit_latent_rgb(vae: AutoencoderKL, seed: int = 2) -> dict[str, list]:
    """The linear map from a latent to RGB in 0..1 at latent size, by least squares over training scenes."""
    pixels = torch.cat([batch for _, batch in zip(range(8), scene_batches(16, seed))])
    latents = torch.cat([vae.encode(chunk).latent_dist.mean for chunk in pixels.split(16)]) * vae.config.scaling_factor
    colours = torch.nn.functional.avg_pool2d(pixels / 2 + 0.5, pixels.shape[-1] // latents.shape[-1])
    rows = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
    solution = torch.linalg.lstsq(rows, colours.permute(0, 2, 3, 1).reshape(-1, 3)).solution
    return {
        "weight": [[round(value, 4) for value in row] for row in solution[:-1].tolist()],
        "bias": [round(value, 4) for value in solution[-1].tolist()],
    }
