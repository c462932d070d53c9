"""Streams on the real server that nobody reads: they end as others do, and hold up nobody."""

from contextlib import ExitStack

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

PROMPT = "a small red circle"
STREAMS, IMAGES, STEPS = 4, 4, 30


def open_and_never_read(held: ExitStack, url: str, tensors):
    """A stream of previews at every step, on a connection of its own."""
    channel = held.enter_context(grpc.insecure_channel(url, options=[("grpc.use_local_subchannel_pool", 1)]))
    asked = service_pb2.ModelInferRequest(model_name="diffusion")
    for tensor in tensors:
        asked.inputs.append(tensor._get_tensor())
        asked.raw_input_contents.append(tensor._get_content())
    call = channel.unary_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        service_pb2.ModelInferRequest.SerializeToString,
        service_pb2.ModelStreamInferResponse.FromString,
    )
    return call(asked)


def test_streams_that_nobody_reads_end_and_delay_no_other_request(server, grpc_infer, wire_inputs):
    server.wait_until_idle()
    known = grpc_infer(prompt=PROMPT, seed=5, num_inference_steps=4)
    done = server.metric("diffusion_requests_total", outcome="done")
    fields = {"num_images": IMAGES, "num_inference_steps": STEPS, "preview_interval": 1, "guidance_scale": 1.0}
    with ExitStack() as held:
        streams = [
            open_and_never_read(held, server.grpc_url, wire_inputs(prompt=PROMPT, seed=k, **fields))
            for k in range(STREAMS)
        ]
        before = server.metric("diffusion_denoiser_steps_total")
        np.testing.assert_array_equal(grpc_infer(prompt=PROMPT, seed=5, num_inference_steps=4), known)
        assert server.metric("diffusion_denoiser_steps_total") - before <= STEPS + 10, "it went first"
        server.wait_until_idle(60)
        assert server.metric("diffusion_requests_total", outcome="done") == done + STREAMS + 1
        responses = [response.infer_response for response in streams[0]]  # at last
    outputs = [[output.name for output in response.outputs] for response in responses]
    assert sum("preview" in names for names in outputs) >= STEPS - 2
    assert sum("image" in names for names in outputs) == 1
