"""Networks that are opened in this process, by code beside their files."""

from pathlib import Path

import numpy as np
import pytest
from networks import NetworkError
from networks.in_process import open_networks

TWICE = """
from pathlib import Path

def open_network():
    version = int(Path(__file__).parent.name)
    return lambda **inputs: {"output": version * inputs["sample"]}
"""


def write(model: Path, version: int, code: str) -> Path:
    folder = model / str(version)
    folder.mkdir(parents=True)
    (folder / "network.py").write_text(code)
    return folder


def test_the_latest_version_is_opened_as_triton_would(tmp_path):
    for version in (1, 2, 10):
        write(tmp_path / "denoiser", version, TWICE)
    (tmp_path / "denoiser/notes").mkdir()
    denoiser = open_networks(tmp_path, ["denoiser"])["denoiser"]
    np.testing.assert_array_equal(denoiser(sample=np.ones(2))["output"], [10, 10])


def test_each_network_has_its_own_code(tmp_path):
    write(tmp_path / "denoiser", 1, TWICE)
    write(tmp_path / "vae_decoder", 2, TWICE)
    networks = open_networks(tmp_path, ["denoiser", "vae_decoder"])
    assert [networks[name](sample=1)["output"] for name in ("denoiser", "vae_decoder")] == [1, 2]


def test_a_call_that_fails_names_its_network(tmp_path):
    write(tmp_path / "denoiser", 1, TWICE)
    denoiser = open_networks(tmp_path, ["denoiser"])["denoiser"]
    with pytest.raises(NetworkError, match="denoiser: KeyError: 'sample'"):
        denoiser(latent=1)


def test_a_network_that_does_not_open_is_named(tmp_path):
    write(tmp_path / "denoiser", 1, "raise ImportError('onnxruntime is missing')")
    with pytest.raises(NetworkError, match="denoiser: onnxruntime is missing"):
        open_networks(tmp_path, ["denoiser"])
    with pytest.raises(NetworkError, match=r"vae_decoder: .*/vae_decoder has no version, such as 1: write"):
        open_networks(tmp_path, ["vae_decoder"])
