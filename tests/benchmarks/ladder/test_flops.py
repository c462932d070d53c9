"""The count of arithmetic, against the published one."""

from dataclasses import replace

import pytest
from diffusers import UNet2DConditionModel

from benchmarks.ladder.flops import denoiser_flops, matrix_product_rate
from export.checkpoint.components import Checkpoint
from export.checkpoint.random_weights import UNETS, Architecture
from export.checkpoint.settings import with_defaults


def test_stable_diffusion_takes_803_gflop_a_sample(tiny: Checkpoint):
    unet = with_defaults(UNet2DConditionModel, UNETS[Architecture.SD15])
    text_encoder = {**tiny.settings["text_encoder"], "hidden_size": 768}
    full_size = replace(tiny, settings={**tiny.settings, "unet": unet, "text_encoder": text_encoder})
    assert denoiser_flops(full_size, 2) / 2 == pytest.approx(803e9, rel=0.01)


def test_matrix_products_run_at_a_plausible_rate():
    assert 1e9 < matrix_product_rate("fp32", threads=1) < 1e14
