"""Where the networks run: in the process of the loop, or as Triton models. The images are the same."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
from triton_diffusion import Client, server_metrics

from tests.support.launched import last_words
from tests.support.launching import Server
from tests.support.processes import processes_of_models
from tests.support.replicas import Replica, replicas

NETWORKS = {"text_encoder", "denoiser", "vae_decoder"}
PROMPT = "a small red circle on the left of a blue background"
MIXED = [
    {"seed": 1, "num_inference_steps": 6},
    {"seed": 2, "num_inference_steps": 4, "sampler": "dpmpp_2m_sde", "num_images": 2},
    {"seed": 3, "num_inference_steps": 5, "guidance_scale": 1.0},
    {"seed": 4, "num_inference_steps": 3, "sampler": "euler_ancestral", "negative_prompt": "a square"},
]


@pytest.fixture(scope="module")
def isolated(shipped_repository: Path) -> Iterator[Replica]:
    """A server whose networks are Triton models."""
    with replicas(shipped_repository, 1, "--networks=models") as (replica,):
        yield replica


def images(server: Server, callers: int) -> list[np.ndarray]:
    with Client(server.grpc_url) as client, ThreadPoolExecutor(callers) as pool:
        made = pool.map(lambda settings: client.text_to_image(PROMPT, **settings), MIXED)
        return [np.asarray(image) for each in made for image in each]


def test_the_images_are_the_same_alone_and_among_others(server: Server, isolated: Replica) -> None:
    alone = images(server, 1)
    for made in (images(server, 4), images(isolated.server, 1), images(isolated.server, 4)):
        np.testing.assert_array_equal(made, alone)


def test_clients_are_told_of_the_networks_wherever_they_run(server: Server, isolated: Replica) -> None:
    listed = []
    for where in (server, isolated.server):
        with Client(where.grpc_url) as client:
            listed.append(client.models())
            (_,) = client.text_to_image(PROMPT, num_inference_steps=2)
        where.wait_until_idle()
        counted = server_metrics(where.metrics_url).networks
        assert counted.keys() == NETWORKS
        assert all(network.seconds > 0 and 0 < network.calls <= network.rows for network in counted.values())
    assert listed[0] == listed[1]
    assert {model.name for model in listed[0] if model.ready} == {"diffusion", "text_to_image", *NETWORKS}


def test_a_network_is_opened_once(shipped_repository: Path, isolated: Replica) -> None:
    """By the one process that calls it: Triton has none for what `diffusion` has opened."""
    with replicas(shipped_repository, 1) as (replica,):
        in_process = {name: engines(process) for name, process in processes_of_models(replica.launcher.pid).items()}
    of_their_own = {name: engines(process) for name, process in processes_of_models(isolated.launcher.pid).items()}
    assert in_process == {"diffusion": True, "text_to_image": False}
    assert of_their_own == {"diffusion": False, "text_to_image": False, **dict.fromkeys(NETWORKS, True)}


def engines(process: int) -> bool:
    """True where `process` has loaded ONNX Runtime."""
    return "onnxruntime" in Path(f"/proc/{process}/maps").read_text()


def test_networks_that_only_triton_can_open_are_its_models(start, shipped_repository, tmp_path) -> None:
    repository = shutil.copytree(shipped_repository, tmp_path / "repository")
    (repository / "denoiser/1/network.py").unlink()
    said = last_words(start(repository, "--networks=in-process", stderr=PIPE))
    assert "denoiser: only Triton can open such networks" in said
    assert "leave out --networks in-process" in said
