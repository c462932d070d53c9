"""The exported graphs: their interface, and that they compute what diffusers does."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor

from export.checkpoint.components import Checkpoint
from export.graph.gate import check_graph, psnr, relative_error
from export.graph.graphs import write_graph
from export.specification import Axis, Sizes, Tensor

ONNX_TYPES = {"FP32": "tensor(float)", "INT32": "tensor(int32)", "UINT8": "tensor(uint8)"}


def session(repository: Path, name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(repository / name / "1" / "model.onnx", options)


def run(graph: onnxruntime.InferenceSession, **feed: np.ndarray) -> np.ndarray:
    output, *_ = graph.run(None, feed)
    return output


def described(tensors: tuple[Tensor, ...]) -> list[tuple[str, str, list[int | str]]]:
    return [(t.name, ONNX_TYPES[t.dtype], [s.name if isinstance(s, Axis) else s for s in t.shape]) for t in tensors]


@pytest.mark.parametrize("name", ["text_encoder", "denoiser", "vae_decoder"])
def test_interface(repository: Path, tiny: Checkpoint, sizes: Sizes, name: str) -> None:
    graph, network = session(repository, name), tiny.networks(sizes)[name]
    assert all(tensor.shape[0] == "batch" for tensor in [*graph.get_inputs(), *graph.get_outputs()])
    assert [(t.name, t.type, t.shape[1:]) for t in graph.get_inputs()] == described(network.inputs)
    outputs = [(t.name, t.type, [None if isinstance(s, str) else s for s in t.shape[1:]]) for t in graph.get_outputs()]
    # The names of an output's axes are formulas of the input's.
    expected = [
        (name, type, [None if isinstance(s, str) else s for s in shape])
        for name, type, shape in described(network.outputs)
    ]
    assert outputs == expected


@pytest.mark.parametrize("height", [24, 40, 64, 80])
def test_denoiser_at_every_height_and_a_timestep_a_row(repository: Path, tiny: Checkpoint, height: int) -> None:
    rng = np.random.default_rng(0)
    timestep = np.array([999, 0, 501.5, 20], dtype=np.float32)
    sample = rng.standard_normal((4, 4, height // 8, 8), dtype=np.float32)
    context = rng.standard_normal((4, 77, 32), dtype=np.float32)
    graph, unet = session(repository, "denoiser"), tiny.load_component("unet")
    together = run(graph, sample=sample, timestep=timestep, context=context)
    for row in range(4):
        one = slice(row, row + 1)
        alone = run(graph, sample=sample[one], timestep=timestep[one], context=context[one])
        with torch.no_grad():
            # diffusers' own calling convention: one timestep for the batch.
            expected = unet(torch.tensor(sample[one]), timestep[row].item(), torch.tensor(context[one])).sample.numpy()
        assert relative_error(expected, alone) < 1e-5
        assert relative_error(expected, together[one]) < 1e-5


def test_vae_decoder_makes_the_image_diffusers_makes(repository: Path, tiny: Checkpoint) -> None:
    vae = tiny.load_component("vae")
    latent = 3 * torch.randn(2, 4, 5, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        decoded = vae.decode(latent / vae.config.scaling_factor).sample
    expected = np.stack([np.asarray(p) for p in VaeImageProcessor().postprocess(decoded, output_type="pil")])
    image = run(session(repository, "vae_decoder"), latent=latent.numpy())
    assert image.shape == (2, 40, 64, 3)
    assert psnr(expected, image) > 60
    assert len(np.unique(image)) > 50


def test_text_encoder(repository: Path, tiny: Checkpoint) -> None:
    prompts = ["a red circle", "", "blue " * 100]
    tokenizer = tiny.load_tokenizer("input_ids")
    ids = tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = tiny.load_component("text_encoder")(ids)[0].numpy()
    context = run(session(repository, "text_encoder"), input_ids=ids.numpy().astype(np.int32))
    assert relative_error(expected, context) < 1e-5


def test_weights_past_the_limit_go_to_a_file_of_their_own(
    tiny: Checkpoint, sizes: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.graph.graphs.SINGLE_FILE_LIMIT", 10_000)
    network = tiny.networks(sizes)["text_encoder"]
    module = tiny.load_module(network)
    (tmp_path / "first").mkdir()
    write_graph(network, module, tmp_path / "first")
    moved = (tmp_path / "first").rename(tmp_path / "moved")
    assert sorted(path.name for path in moved.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert (moved / "model.onnx.data").stat().st_size > 100_000
    check_graph(network, moved / "model.onnx", module)


@pytest.mark.parametrize("name", ["text_encoder", "denoiser", "vae_decoder"])
def test_no_file_of_the_exporting_machine_is_named(repository: Path, name: str) -> None:
    content = (repository / name / "1" / "model.onnx").read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content
