"""The exported graphs in this process, around the server's own sampling code."""

from pathlib import Path

import numpy as np
import onnxruntime
from batch import UNet
from checkpoint import Checkpoint as Served
from request import Request
from sampling import StepTable
from text import PromptEncoder


class Host:
    """Everything of a picture's making but the UNet and the step table: text encoder, decoder, facts."""

    def __init__(self, repository: Path, threads: int) -> None:
        """`repository`: written by `python -m export` with FP32 graphs. `threads`: of ONNX Runtime, 0 for all cores."""
        self._repository = repository
        self._threads = threads
        folder = repository / "diffusion/1"
        self.served = Served.from_file(folder / "checkpoint.json")
        text_encoder, self._vae_decoder = self._session("text_encoder"), self._session("vae_decoder")
        self._encoder = PromptEncoder(
            folder / "tokenizer.json",
            lambda ids: text_encoder.run(None, {"input_ids": ids})[0],
            warn=lambda warning: None,
        )

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self.served.latent_shape(self.served.height, self.served.width)

    def request(self, prompt: str, seed: int, table: StepTable) -> Request:
        """A request for one picture with the checkpoint's defaults."""
        served = self.served
        return Request(prompt, "", 1, served.height, served.width, served.guidance_scale, seed, 0, table)

    def context(self, request: Request) -> np.ndarray:
        """float32 (1 or 2, 77, D), as `Generation` wants it."""
        return self._encoder.context(request)

    def decode(self, latent: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3) of `latent`, float32 (N, C, h, w)."""
        rows = self.served.max_batch["vae_decoder"]
        pieces = [latent[i : i + rows] for i in range(0, len(latent), rows)]
        return np.concatenate([self._vae_decoder.run(None, {"latent": piece})[0] for piece in pieces])

    def onnx_unet(self) -> UNet:
        """The UNet's graph, by ONNX Runtime."""
        session = self._session("unet")
        return lambda sample, timestep, context: session.run(
            None, {"sample": sample, "timestep": timestep, "context": context}
        )[0]

    def _session(self, name: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        return onnxruntime.InferenceSession(
            self._repository / name / "1/model.onnx", options, providers=["CPUExecutionProvider"]
        )
