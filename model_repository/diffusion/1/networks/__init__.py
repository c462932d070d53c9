"""Networks by name, wherever they run: `text_encoder`, `denoiser`, `vae_decoder`."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from networks.arrays import Array, Arrays

Network: TypeAlias = Callable[..., dict[str, Array]]
"""Arrays in by name, arrays out by name, all of one library and device; the batch is the first axis of each. May raise
anything.

text_encoder: input_ids int32 (B, tokens), ... -> the conditioning: context float32 (B, tokens, D), ...
denoiser: sample float32 (B, C, h, w), timestep float32 (B,), the conditioning -> model_output float32 (B, C, h, w)
vae_decoder: latent float32 (B, C, h, w) -> image uint8 (B, H, W, 3), magnitude float32 (B, 1): not finite where the
decoder computed NaN or infinity, of which bytes tell nothing
"""

Conditioning: TypeAlias = Mapping[str, Array]
"""Inputs of the denoiser beside `sample` and `timestep`, by name; each (1, *shape) for the prompt, or (2, *shape) where
guided: for the prompt and the negative prompt."""


class OpenNetwork(Protocol):
    """A `Network` that says which arrays it takes and returns."""

    @property
    def arrays(self) -> Arrays: ...

    def __call__(self, **inputs: Array) -> dict[str, Array]: ...


class NetworkError(RuntimeError):
    """A network does not open, or a call of it failed; the message names the network and gives the reason."""
