"""Family: the facts that all checkpoints of one kind share, from which the export is made.

A family is a package beside this file, with `FAMILY` in its `__init__.py` and, in `modules.py`, the torch modules of
its networks. That file is copied into the repository for the torch runtime, so it imports nothing of this project.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

from export.specification import Network, Sizes

Settings: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The configuration of each component of a checkpoint, by the component's name, with its class's defaults."""


@dataclass(frozen=True)
class LatentFormat:
    """The latents between denoiser and decoder."""

    channels: int
    latent_rgb: dict[str, Any]  # the linear map of previews, as in serving.json, of a checkpoint that brings none


@dataclass(frozen=True)
class TextInput:
    """The components that make and take the token ids of one input of the text encoder's network, and their number."""

    tokenizer: str
    text_encoder: str
    num_tokens: int


@dataclass(frozen=True)
class Family:
    """One kind of checkpoint: what it consists of, what is refused, and the networks that are exported of it."""

    name: str  # that of its package, and of checkpoint.json
    title: str  # of its checkpoints, in the plural
    pipelines: tuple[str, ...]  # diffusers' classes
    components: Mapping[str, tuple[str, ...] | None]  # with the classes each may have; None: judged by its settings
    foreign_components: tuple[str, ...]  # those of larger relatives, whose pipelines may have the same name
    prediction_types: tuple[str, ...]
    scheduler_settings: Mapping[str, Any]  # those that diffusers' pipeline sets, whatever the checkpoint's file says
    text_inputs: Mapping[str, TextInput]  # by input of the network `text_encoder`
    latent: LatentFormat
    guidance_scale: float  # of a checkpoint that names none
    refusals: Callable[[Settings], Iterator[str]]  # why settings are not of this family, each ending in what is
    vae_factor: Callable[[Settings], int]  # pixels a latent cell, each way
    native_size: Callable[[Settings], tuple[int, int]]  # (height, width) in latent cells that it was trained at
    networks: Callable[[Settings, Sizes], tuple[Network, ...]]  # in the order a request meets them

    @property
    def modules(self) -> ModuleType:
        """The torch modules, imported when first asked for: they bring PyTorch and diffusers along.

        `COMPONENTS`: class and loading options by component. `NETWORKS`: components by network.
        `make_module(name, components, dynamic_size)`, `load_module(name, folder, precision)` and `DTYPES`.
        """
        return importlib.import_module(f"export.families.{self.name}.modules")
