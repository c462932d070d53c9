"""The one place for the tensor names, dtypes, shapes and batch limits of all five models.

The graphs, the gates and the config.pbtxt of `text_encoder`, `unet` and `vae_decoder` are made from here, and a test
holds the hand-written config.pbtxt of `diffusion` and `text_to_image` to it.
"""

from dataclasses import dataclass

HAND_WRITTEN_MODELS = ("diffusion", "text_to_image")

NUM_TOKENS = 77
LATENT_CHANNELS = 4

MAX_BATCH = {"text_encoder": 16, "unet": 32, "vae_decoder": 8}
"""Rows a call, so the UNet advances at most 16 guided samples at once."""
USUAL_BATCH = {"text_encoder": 2, "unet": 2, "vae_decoder": 1}
"""Rows a call while one guided picture is made alone."""


@dataclass(frozen=True)
class Range:
    """The sizes, both ends included, that one axis may take."""

    min: int
    max: int

    def __str__(self) -> str:
        return f"{self.min}" if self.min == self.max else f"{self.min}:{self.max}"


@dataclass(frozen=True)
class Axis:
    """An axis whose size is chosen with each call."""

    name: str
    sizes: Range
    usual: int  # that of a request that names none


@dataclass(frozen=True)
class Tensor:
    """One input or output; `dtype` is Triton's name.

    `shape` leaves out the batch axis where the model has one. In a model without, an axis of None is of any size.
    """

    name: str
    dtype: str
    shape: tuple[int | Axis | None, ...]
    optional: bool = False


@dataclass(frozen=True)
class Model:
    """A model's interface. `max_batch` is 0 for a model whose tensors have no batch axis."""

    name: str
    max_batch: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    decoupled: bool = False


@dataclass(frozen=True)
class Sizes:
    """The pictures an export is made for. All but `context_dim` in pixels."""

    height: int  # of a request that names none
    width: int
    height_range: Range
    width_range: Range
    vae_factor: int  # pixels a latent cell, each way
    context_dim: int  # D, the width of the text embedding

    def latent_range(self, pixels: Range) -> Range:
        """`pixels` in latent cells."""
        return Range(pixels.min // self.vae_factor, pixels.max // self.vae_factor)


def engines(sizes: Sizes) -> dict[str, Model]:
    """The interfaces of the three exported models, in the order a request meets them."""
    latent = (
        LATENT_CHANNELS,
        _axis("latent_height", sizes.latent_range(sizes.height_range), sizes.height // sizes.vae_factor),
        _axis("latent_width", sizes.latent_range(sizes.width_range), sizes.width // sizes.vae_factor),
    )
    image = (_axis("height", sizes.height_range, sizes.height), _axis("width", sizes.width_range, sizes.width), 3)
    context = Tensor("context", "FP32", (NUM_TOKENS, sizes.context_dim))
    models = (
        Model(
            "text_encoder",
            MAX_BATCH["text_encoder"],
            inputs=(Tensor("input_ids", "INT32", (NUM_TOKENS,)),),
            outputs=(context,),
        ),
        Model(
            "unet",
            MAX_BATCH["unet"],
            # The timestep has the batch axis only: every row may be at its own step.
            inputs=(Tensor("sample", "FP32", latent), Tensor("timestep", "FP32", ()), context),
            outputs=(Tensor("model_output", "FP32", latent),),
        ),
        Model(
            "vae_decoder",
            MAX_BATCH["vae_decoder"],
            inputs=(Tensor("latent", "FP32", latent),),
            outputs=(Tensor("image", "UINT8", image),),
        ),
    )
    return {model.name: model for model in models}


def _axis(name: str, sizes: Range, usual: int) -> int | Axis:
    return sizes.min if sizes.min == sizes.max else Axis(name, sizes, usual)


_REQUEST = (
    Tensor("prompt", "STRING", (1,)),
    Tensor("negative_prompt", "STRING", (1,), optional=True),
    Tensor("num_images", "INT32", (1,), optional=True),
    Tensor("height", "INT32", (1,), optional=True),
    Tensor("width", "INT32", (1,), optional=True),
    Tensor("num_inference_steps", "INT32", (1,), optional=True),
    Tensor("guidance_scale", "FP32", (1,), optional=True),
    Tensor("sampler", "STRING", (1,), optional=True),
    Tensor("timestep_spacing", "STRING", (1,), optional=True),
    Tensor("eta", "FP32", (1,), optional=True),
    Tensor("seed", "INT64", (1,), optional=True),
    Tensor("priority", "STRING", (1,), optional=True),
)
_RESULT = (Tensor("image", "UINT8", (None, None, None, 3)), Tensor("seed", "INT64", (None,)))

TEXT_TO_IMAGE = Model("text_to_image", 0, inputs=_REQUEST, outputs=_RESULT)
DIFFUSION = Model(
    "diffusion",
    0,
    inputs=(*_REQUEST, Tensor("preview_interval", "INT32", (1,), optional=True)),
    outputs=(
        *_RESULT,
        Tensor("step", "INT32", (1,)),
        Tensor("num_steps", "INT32", (1,)),
        Tensor("preview", "UINT8", (None, None, None, 3)),
        Tensor("queue_position", "INT32", (1,)),
        Tensor("error", "STRING", (1,)),
    ),
    decoupled=True,
)
