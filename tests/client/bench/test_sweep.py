"""The networks that a run of perf_analyzer asks for, from the description of a server that is played here."""

from dataclasses import replace

import pytest
from triton_diffusion import Checkpoint, Client, MockTransport
from triton_diffusion.bench import sweep
from triton_diffusion.bench.errors import BenchError
from triton_diffusion.bench.results import BATCHING
from triton_diffusion.bench.workload import PROMPTS, uniform

TARGET = sweep.Target(BATCHING, "played:8001", "played:8002")


class Analyzer:
    """Keeps the arguments of a run, and gives up."""

    def run(self, arguments, folder, timeout):
        self.arguments = arguments
        raise BenchError("enough")


@pytest.fixture
def describe(monkeypatch):
    """Play a server that describes this checkpoint."""

    def play(checkpoint: Checkpoint | None) -> None:
        class Described(MockTransport):
            def ask(self, question, deadline):
                return checkpoint

        monkeypatch.setattr(sweep, "Client", lambda url: Client(transport=Described()))
        monkeypatch.setattr(sweep, "server_metrics", lambda url: None)

    return play


def measure(analyzer: Analyzer) -> None:
    sweep.measure(analyzer, TARGET, uniform(1, PROMPTS, {}), "concurrency", 1)


def test_every_network_that_the_server_describes_is_asked_for(describe):
    with Client(transport=MockTransport()) as client:
        described = replace(client.checkpoint(), networks=("text_encoder", "denoiser", "vae_encoder"))
    describe(described)
    analyzer = Analyzer()
    with pytest.raises(BenchError, match="enough"):
        measure(analyzer)
    assert "--bls-composing-models=text_encoder,denoiser,vae_encoder" in analyzer.arguments


def test_a_server_that_does_not_name_its_networks_is_told(describe):
    describe(None)
    with pytest.raises(BenchError, match="played:8001 does not say which networks it has"):
        measure(Analyzer())
