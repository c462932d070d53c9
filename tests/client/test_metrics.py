"""The server's metrics, read by the client."""

import pytest
from triton_diffusion import WrongServer, server_metrics

PROMPT = "a small red circle on the left of a blue background"


def test_metrics(server, client):
    server.wait_until_idle()
    before = server_metrics(server.metrics_url)
    client.text_to_image(PROMPT, num_images=2, num_inference_steps=3)
    server.wait_until_idle()
    after = server_metrics(server.metrics_url)
    assert after.requests_done == before.requests_done + 1
    assert after.denoiser_steps == before.denoiser_steps + 3
    assert after.denoiser_samples == before.denoiser_samples + 6
    assert after.requests_in_flight == after.waiting_requests == 0
    assert after.generation_seconds > before.generation_seconds


def test_metrics_of_something_else(server):
    with pytest.raises(WrongServer, match="is it Triton Diffusion's metrics port"):
        server_metrics(server.http_url)
