"""Checkpoint: its settings first, then its weights, one component at a time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTokenizer

from export.checkpoint.layout import check_components, checkpoint_name, find_family, find_folder
from export.checkpoint.sampling import check_sampling, default_sampling
from export.checkpoint.schedule import noise_schedule
from export.checkpoint.serving import read_serving
from export.checkpoint.settings import read_settings, unreadable
from export.errors import CheckpointError
from export.families.family import Family
from export.specification import Network, Sizes


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been found good as far as its settings tell; the weights are loaded on request."""

    folder: Path
    name: str
    family: Family
    settings: dict[str, dict[str, Any]]  # of each component, the classes' defaults filled in
    schedule: dict[str, Any]  # the arguments of the loop's `read_schedule`
    defaults: dict[str, Any]  # of requests: sampler, timestep_spacing, num_inference_steps, guidance_scale
    latent_rgb: dict[str, Any]

    @property
    def vae_factor(self) -> int:
        """Pixels a latent cell, each way."""
        return self.family.vae_factor(self.settings)

    @property
    def native_size(self) -> tuple[int, int]:
        """(height, width) in pixels that the denoiser was trained at."""
        height, width = self.family.native_size(self.settings)
        return height * self.vae_factor, width * self.vae_factor

    def networks(self, sizes: Sizes) -> dict[str, Network]:
        """The interfaces of the exported networks by name, in the order a request meets them."""
        return {network.name: network for network in self.family.networks(self.settings, sizes)}

    def load_tokenizer(self, name: str) -> CLIPTokenizer:
        """The tokenizer for the text encoder's input `name`; all its ids have an embedding."""
        source = self.family.text_inputs[name]
        folder = self.folder / source.tokenizer
        try:
            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers and tokenizers raise errors of many unrelated classes
            raise unreadable(folder, error) from error
        vocabulary = tokenizer.get_vocab()
        embeddings = self.settings[source.text_encoder]["vocab_size"]
        if len(vocabulary) < 256 or tokenizer.pad_token_id is None:
            raise CheckpointError(f"{folder} holds no CLIP vocabulary and pad token: get the folder again")
        if max(vocabulary.values()) >= embeddings:
            raise CheckpointError(
                f"{folder} has token id {max(vocabulary.values())} and the text encoder {embeddings}"
                " embeddings: the tokenizer and the text encoder must come from the same checkpoint"
            )
        return tokenizer

    def load_module(self, network: Network) -> torch.nn.Module:
        """The torch module of `network` in FP32."""
        modules = self.family.modules
        components = {name: self.load_component(name) for name in modules.NETWORKS[network.name]}
        return modules.make_module(network.name, components, dynamic_size=bool(network.axes)).eval()

    def load_component(self, component: str) -> Any:
        """diffusers' or transformers' module of `component` in FP32, whatever the file's precision."""
        model_class, options = self.family.modules.COMPONENTS[component]
        folder = self.folder / component
        # Some checkpoints hold half-precision files only, under names with a variant.
        if not _has_weights(folder) and any(folder.glob("*.fp16.*")):
            options = {**options, "variant": "fp16"}
        elif not _has_weights(folder):
            raise CheckpointError(f"{folder} holds no weight file (.safetensors or .bin): get the complete checkpoint")
        try:
            module, report = model_class.from_pretrained(
                folder,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                dtype=torch.float32,
                **options,
            )
        except Exception as error:  # a damaged file surfaces as any of a dozen unrelated classes
            raise unreadable(folder, error) from error
        # Left alone, both libraries fill such tensors with random numbers.
        for fault, names in (
            ("are missing from", sorted(report["missing_keys"])),
            ("have another size in", sorted(name for name, *_ in report["mismatched_keys"])),
        ):
            if names:
                raise CheckpointError(
                    f"{folder}: {len(names)} tensors that config.json asks for {fault} the weight file, {names[0]}"
                    " first: get both files from the same checkpoint"
                )
        for name, weight in module.named_parameters():
            if not torch.isfinite(weight).all():
                raise CheckpointError(f"{folder}: {name} holds NaN or infinity: get the weight file again")
        return module.eval().requires_grad_(False)


def read_checkpoint(checkpoint: str) -> Checkpoint:
    """Read and check the settings of `checkpoint`, a folder in diffusers' layout or a hub name."""
    folder = find_folder(checkpoint)
    family = find_family(folder)
    check_components(folder, family)
    tokenizers = {source.tokenizer for source in family.text_inputs.values()}
    settings = {
        component: read_settings(folder / component, class_names)
        for component, class_names in family.components.items()
        if component not in tokenizers
    }
    scheduler = folder / "scheduler" / "scheduler_config.json"
    schedule = noise_schedule(scheduler, settings["scheduler"], family)
    for refusal in family.refusals(settings):
        raise CheckpointError(f"{folder}: {refusal}")
    serving = read_serving(folder, family.latent.channels)
    latent_rgb = serving.get("latent_rgb", family.latent.latent_rgb)
    defaults = default_sampling(scheduler, settings["scheduler"], schedule, serving)
    check_sampling(scheduler, schedule, defaults)
    defaults["guidance_scale"] = serving.get("guidance_scale", family.guidance_scale)
    return Checkpoint(folder, checkpoint_name(checkpoint, folder), family, settings, schedule, defaults, latent_rgb)


def _has_weights(folder: Path) -> bool:
    files = [*folder.glob("*.safetensors"), *folder.glob("*.bin"), *folder.glob("*.index.json")]
    return any(".fp16" not in file.name for file in files)
