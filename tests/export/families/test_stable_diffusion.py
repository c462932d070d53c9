"""Stable Diffusion as a family: its facts fit together, and its modules' outputs have the networks' names."""

import inspect

import pytest
import torch

from export.checkpoint.components import Checkpoint
from export.families.registry import FAMILIES
from export.families.stable_diffusion import FAMILY
from export.graph.gate import random_inputs
from export.specification import Sizes


def test_it_is_registered() -> None:
    assert FAMILY in FAMILIES


def test_a_pipeline_belongs_to_one_family() -> None:
    pipelines = [name for family in FAMILIES for name in family.pipelines]
    assert len({*pipelines}) == len(pipelines)


@pytest.mark.parametrize("name", ["text_encoder", "denoiser", "vae_decoder"])
def test_a_module_takes_and_gives_what_its_network_says(tiny: Checkpoint, sizes: Sizes, name: str) -> None:
    network, module = tiny.networks(sizes)[name], tiny.load_module(tiny.networks(sizes)[name])
    assert [*inspect.signature(module.forward).parameters] == [tensor.name for tensor in network.inputs]
    feed = next(random_inputs(network))
    with torch.no_grad():
        outputs = module(**{key: torch.from_numpy(array) for key, array in feed.items()})
    assert [*outputs] == [tensor.name for tensor in network.outputs]
    assert {name for name, _ in module.named_children()} == {*FAMILY.modules.NETWORKS[name]}


def test_a_network_of_another_name_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'vae_encoder' is no network .*: use text_encoder, denoiser, vae_decoder"):
        FAMILY.modules.make_module("vae_encoder", {})


def test_every_text_input_has_its_components(tiny: Checkpoint, sizes: Sizes) -> None:
    inputs = {tensor.name: tensor for tensor in tiny.networks(sizes)["text_encoder"].inputs}
    assert inputs.keys() == FAMILY.text_inputs.keys()
    for name, source in FAMILY.text_inputs.items():
        assert {source.tokenizer, source.text_encoder} <= FAMILY.components.keys()
        assert inputs[name].shape == (source.num_tokens,)


def test_the_decoder_takes_no_shift_off_a_latent_as_the_pipeline_does(tiny: Checkpoint) -> None:
    modules, vae = FAMILY.modules, tiny.load_component("vae")
    latent = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = modules.VaeDecoder(vae)(latent)["image"]
        vae.register_to_config(shift_factor=0.1)
        assert torch.equal(modules.VaeDecoder(vae)(latent)["image"], plain)
