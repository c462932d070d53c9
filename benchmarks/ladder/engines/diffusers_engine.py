"""diffusers' own pipeline, to compare with."""

from collections.abc import Sequence
from dataclasses import dataclass

import diffusers
import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
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
        family = checkpoint.family
        pipeline_class = getattr(diffusers, family.pipelines[0])
        schedule = {name: value for name, value in checkpoint.schedule.items() if name != "final_sigmas_type"}
        pipeline = pipeline_class(
            **dict.fromkeys(pipeline_class._optional_components),
            **{name: checkpoint.load_component(name) for name in family.modules.COMPONENTS},
            **{source.tokenizer: checkpoint.load_tokenizer(name) for name, source in family.text_inputs.items()},
            scheduler=DPMSolverMultistepScheduler.from_config(DDIMScheduler(**schedule).config, use_karras_sigmas=True),
        )
        pipeline.to(device(), family.modules.DTYPES[precision])
        pipeline.set_progress_bar_config(disable=True)
        components = {
            name: {component: getattr(pipeline, component) for component in used}
            for name, used in family.modules.NETWORKS.items()
        }
        if compiled:
            for component in components["denoiser"].values():
                compile_module(component)
        modules = {name: family.modules.make_module(name, used) for name, used in components.items()}
        super().__init__(workspace.repository(), torch_networks(modules))
        self._pipeline = pipeline

    def latents(self, requests: Sequence[Request]) -> np.ndarray:
        (guidance_scale,) = {request.guidance_scale for request in requests}
        height, width = requests[0].height, requests[0].width
        # The pipeline would draw it in its own precision, in which PyTorch draws other numbers on some processors.
        shape = self.served.latent_format.shape(height, width)
        noise = [torch.randn(shape, generator=torch.Generator().manual_seed(request.seed)) for request in requests]
        output = self._pipeline(
            [request.prompt for request in requests],
            height=height,
            width=width,
            num_inference_steps=requests[0].num_steps,
            guidance_scale=guidance_scale,
            latents=torch.stack(noise).to(self._pipeline.dtype),
            output_type="latent",
        )
        return output.images.float().cpu().numpy()
