"""diffusers' own pipeline, to compare with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline
from request import Request

from benchmarks.ladder.engines.engine import Engine, device
from benchmarks.ladder.engines.loop import Loop
from benchmarks.ladder.engines.torch_engine import compile_module, limit_threads, missing_compiler, torch_networks
from benchmarks.ladder.workspace import Workspace


@dataclass(frozen=True)
class DiffusersEngine(Engine):
    """The pipeline with DPM++ 2M on Karras' noise levels; everything else as it comes."""

    compiled: bool = False  # the denoiser by torch.compile

    @property
    def name(self) -> str:
        return f"diffusers-{device()}-{self.precision}" + "-compiled" * self.compiled

    def missing(self, workspace: Workspace) -> str | None:
        return missing_compiler() if self.compiled else None

    def open(self, workspace: Workspace) -> Loop:
        limit_threads(workspace)
        return PipelineLoop(workspace, self.precision, self.compiled)


class PipelineLoop(Loop):
    """The pipeline in the place of our loop; DPM++ 2M only."""

    def __init__(self, workspace: Workspace, precision: str, compiled: bool) -> None:
        checkpoint = workspace.checkpoint
        schedule = {name: value for name, value in checkpoint.schedule.items() if name != "final_sigmas_type"}
        pipeline = StableDiffusionPipeline(
            vae=checkpoint.load_component("vae"),
            text_encoder=checkpoint.load_component("text_encoder"),
            tokenizer=checkpoint.load_tokenizer("input_ids"),
            unet=checkpoint.load_component("unet"),
            scheduler=DPMSolverMultistepScheduler.from_config(DDIMScheduler(**schedule).config, use_karras_sigmas=True),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        family = checkpoint.family.modules
        pipeline.to(device(), family.DTYPES[precision])
        pipeline.set_progress_bar_config(disable=True)
        if compiled:
            compile_module(pipeline.unet)
        modules = {
            name: family.make_module(name, {component: getattr(pipeline, component) for component in components})
            for name, components in family.NETWORKS.items()
        }
        super().__init__(workspace.repository(), torch_networks(modules))
        self._pipeline = pipeline

    def latents(self, requests: Sequence[Request]) -> np.ndarray:
        (guidance_scale,) = {request.guidance_scale for request in requests}
        output = self._pipeline(
            [request.prompt for request in requests],
            height=requests[0].height,
            width=requests[0].width,
            num_inference_steps=len(requests[0].table),
            guidance_scale=guidance_scale,
            generator=[torch.Generator().manual_seed(request.seed) for request in requests],
            output_type="latent",
        )
        return output.images.float().cpu().numpy()
