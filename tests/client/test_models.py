"""The client's report of models that a server does not have, or not yet."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from triton_diffusion import AsyncClient, Checkpoint, Client, MockTransport, Model, ServerUnavailable

from tests.support.description import DESCRIPTION


@pytest.fixture
def half_loaded() -> Iterator[str]:
    """The address of a Triton that serves two networks, of which only `denoiser` is ready."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, answer = {
                "/v2": (200, {"name": "triton", "version": "2.51.0"}),
                "/v2/models/diffusion/config": (200, {"parameters": {"description": {"string_value": DESCRIPTION}}}),
                "/v2/models/denoiser": (200, {"name": "denoiser", "versions": ["1"]}),
            }.get(self.path, (404, {"error": "Request for unknown model"}))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_each_model_that_is_not_ready_has_its_reason(half_loaded, run):
    async def ask() -> list[Model]:
        async with AsyncClient(half_loaded) as client:
            return await client.models()

    with Client(half_loaded) as client:
        found = {model.name: model for model in client.models()}
    assert {name for name, model in found.items() if model.ready} == {"denoiser"}
    assert [*found] == ["diffusion", "text_to_image", "denoiser", "vae_decoder"]
    assert all("Request for unknown model" in model.reason for model in found.values() if not model.ready)
    assert run(ask()) == [*found.values()]


def test_networks_in_the_process_of_diffusion_are_as_ready_as_it():
    class InProcess(MockTransport):
        def ask(self, question, deadline):
            found = super().ask(question, deadline)
            return replace(found, in_process=True) if isinstance(found, Checkpoint) else found

        def model(self, name, deadline):
            assert name in ("diffusion", "text_to_image"), "there is no other Triton model"
            return Model(name, "1", ready=name != "diffusion")

    with Client(transport=InProcess()) as client:
        assert {model.name for model in client.models() if not model.ready} == {
            "diffusion",
            "text_encoder",
            "denoiser",
            "vae_decoder",
        }


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_nobody_there_is_not_a_server_without_models(unused_url, protocol):
    with Client(unused_url, protocol, retries=0) as client, pytest.raises(ServerUnavailable, match="is it running"):
        client.models()
