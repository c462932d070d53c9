"""Evaluation: the share of images that show what their prompts say."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from rich.progress import track

from export.in_process import InProcess
from shapes.analyser import analyse
from shapes.captions import ATTRIBUTES, full_caption
from shapes.scenes import ALL_SCENES, HELD_OUT_SCENES, TRAINING_SCENES, Scene, draw


def evaluation_prompts(trained: int, held_out: int, seed: int) -> list[tuple[Scene, str]]:
    """Scenes and full captions: `trained` of combinations seen in training, then `held_out` of those that were not."""
    rng = np.random.default_rng(seed)
    scenes = [TRAINING_SCENES[i] for i in rng.choice(len(TRAINING_SCENES), trained, replace=False)]
    scenes += [HELD_OUT_SCENES[i] for i in rng.choice(len(HELD_OUT_SCENES), held_out, replace=False)]
    return [(scene, full_caption(scene, rng)) for scene in scenes]


def accuracy(scenes: Sequence[Scene], images: Sequence[np.ndarray]) -> dict[str, float]:
    """The share of `images`, uint8 (128, 128, 3), that show each attribute of their scenes, and all of them."""
    seen = [analyse(image) for image in images]
    right = {
        attribute: [getattr(found, attribute, None) == getattr(scene, attribute) for scene, found in zip(scenes, seen)]
        for attribute in ATTRIBUTES
    }
    right["all"] = [scene == found for scene, found in zip(scenes, seen)]
    return {name: round(float(np.mean(values)), 4) for name, values in right.items()}


def analyser_accuracy(count: int = 2000, seed: int = 4) -> dict[str, float]:
    """The analyser's own accuracy on `count` freshly drawn scenes."""
    rng = np.random.default_rng(seed)
    scenes = [ALL_SCENES[i] for i in rng.integers(len(ALL_SCENES), size=count)]
    return accuracy(scenes, [draw(scene, rng) for scene in scenes])


def exported_accuracy(repository: Path, trained: int = 256, held_out: int = 128, seed: int = 5) -> dict[str, dict]:
    """Accuracy through the exported graphs and the server's own loop, with every default (DPM++ 2M, 20 steps)."""
    prompts = evaluation_prompts(trained, held_out, seed)
    with InProcess(repository) as generator:
        futures = [generator.generate(caption, seed=1000 + k) for k, (_, caption) in enumerate(prompts)]
        images = [future.result()[0] for future in track(futures, "generating")]
    scenes = [scene for scene, _ in prompts]
    return {
        "analyser": analyser_accuracy(),
        "trained": accuracy(scenes[:trained], images[:trained]),
        "held_out": accuracy(scenes[trained:], images[trained:]),
        "all": accuracy(scenes, images),
    }


@torch.no_grad()
def pipeline_accuracy(pipeline: StableDiffusionPipeline, guidance_scale: float) -> dict[str, float]:
    """A quick look during training, by diffusers' own pipeline: 48 trained and 16 held-out combinations."""
    prompts = evaluation_prompts(48, 16, seed=3)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config, use_karras_sigmas=True)
    pipeline.set_progress_bar_config(disable=True)
    generated = pipeline(
        [caption for _, caption in prompts],
        num_inference_steps=15,
        guidance_scale=guidance_scale,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).images
    scenes = [scene for scene, _ in prompts]
    images = list(np.rint(generated * 255).astype(np.uint8))
    figures = accuracy(scenes, images)
    return {**figures, "held_out": accuracy(scenes[48:], images[48:])["all"]}
