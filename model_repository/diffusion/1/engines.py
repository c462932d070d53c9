"""The three exported models as callables, over Triton's business logic scripting (BLS)."""

import numpy as np
import triton_python_backend_utils as pb_utils


class EngineError(RuntimeError):
    """An engine's call failed; the message names the model and gives Triton's reason."""


def call(model_name: str, inputs: dict[str, np.ndarray], output: str) -> np.ndarray:
    """One call of `model_name`: its tensor `output`, on the host. Raises EngineError."""
    request = pb_utils.InferenceRequest(
        model_name=model_name,
        requested_output_names=[output],
        inputs=[pb_utils.Tensor(name, array) for name, array in inputs.items()],
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
    )
    response = request.exec()
    if response.has_error():
        raise EngineError(f"{model_name}: {response.error().message()}")
    return pb_utils.get_output_tensor_by_name(response, output).as_numpy()


def text_encoder(input_ids: np.ndarray) -> np.ndarray:
    """input_ids int32 (B, 77) to context float32 (B, 77, D)."""
    return call("text_encoder", {"input_ids": input_ids}, "context")


def unet(sample: np.ndarray, timestep: np.ndarray, context: np.ndarray) -> np.ndarray:
    """sample float32 (B, C, h, w), timestep (B,), context (B, 77, D) to model_output (B, C, h, w)."""
    return call("unet", {"sample": sample, "timestep": timestep[:, None], "context": context}, "model_output")


def vae_decoder(latent: np.ndarray) -> np.ndarray:
    """latent float32 (B, C, h, w) to image uint8 (B, H, W, 3)."""
    return call("vae_decoder", {"latent": latent}, "image")
