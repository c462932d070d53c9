"""Interfaces of models: tensors with names, types and shapes, the sizes of images, and the two hand-written models.

The interfaces of a checkpoint's networks are those of its family (export/families/), made of the types here.
"""

from dataclasses import dataclass

from export.loop import FIELDS


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
    below: int | None = None  # of an input of whole numbers from 0 on: their bound


@dataclass(frozen=True)
class Network:
    """An exported network: its interface, and the rows a call that it is made for. A row is one sample of the batch."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch: int
    usual_batch: int  # while one guided image is made alone
    graph_batches: tuple[int, ...]  # those that TensorRT's plans run as CUDA graphs
    compile_batches: tuple[int, ...]  # those that PyTorch compiles for; others are put together from them

    @property
    def axes(self) -> list[Axis]:
        """The axes of the inputs that vary beside the batch."""
        return [axis for tensor in self.inputs for axis in tensor.shape if isinstance(axis, Axis)]


@dataclass(frozen=True)
class Sizes:
    """The images an export is made for, in pixels."""

    height: int  # of a request that names none
    width: int
    height_range: Range
    width_range: Range
    vae_factor: int  # pixels a latent cell, each way

    @property
    def image(self) -> tuple[int | Axis, int | Axis]:
        """(height, width) of an image: a number, or an axis where it varies."""
        return _axis("height", self.height_range, self.height), _axis("width", self.width_range, self.width)

    @property
    def latent(self) -> tuple[int | Axis, int | Axis]:
        """(height, width) of a latent, in cells: a number, or an axis where it varies."""
        (heights, height), (widths, width) = (
            (Range(pixels.min // self.vae_factor, pixels.max // self.vae_factor), usual // self.vae_factor)
            for pixels, usual in ((self.height_range, self.height), (self.width_range, self.width))
        )
        return _axis("latent_height", heights, height), _axis("latent_width", widths, width)


def _axis(name: str, sizes: Range, usual: int) -> int | Axis:
    return sizes.min if sizes.min == sizes.max else Axis(name, sizes, usual)


@dataclass(frozen=True)
class Parameter:
    """A setting of a hand-written model in its config.pbtxt, with the reason for its value."""

    key: str
    value: str
    comment: str


@dataclass(frozen=True)
class HandWrittenModel:
    """A model whose code is in model_repository/: one process, whose tensors have no batch axis."""

    name: str
    purpose: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    one_process: str  # the reason
    decoupled: bool = False
    parameters: tuple[Parameter, ...] = ()


def _request(*, stream: bool) -> tuple[Tensor, ...]:
    """The fields of a request; those for streams only where it is one."""
    return tuple(
        Tensor(entry.name, entry.datatype, entry.shape, optional=not entry.required)
        for entry in FIELDS
        if stream or not entry.stream_only
    )


_RESULT = (
    Tensor("image", "UINT8", (None, None, None, 3)),
    Tensor("seed", "INT64", (None,)),
    Tensor("sampler", "STRING", (1,)),
    Tensor("timestep_spacing", "STRING", (1,)),
)

TEXT_TO_IMAGE = HandWrittenModel(
    "text_to_image",
    "One request, one response: forwards to `diffusion` and returns its last response.",
    inputs=_request(stream=False),
    outputs=_RESULT,
    one_process="One process for all requests: each has a thread there, which waits.",
)
DIFFUSION = HandWrittenModel(
    "diffusion",
    "The in-flight loop. Decoupled: progress, previews, then the images; for gRPC streams and for text_to_image.",
    inputs=_request(stream=True),
    outputs=(
        *_RESULT,
        Tensor("step", "INT32", (1,)),
        Tensor("num_steps", "INT32", (1,)),
        Tensor("preview", "UINT8", (None, None, None, 3)),
        Tensor("queue_position", "INT32", (1,)),
        Tensor("error", "STRING", (1,)),
    ),
    one_process="One process holds every active request; a second would split the batches.",
    decoupled=True,
    parameters=(
        Parameter(
            "max_active_samples",
            "16",
            "Samples in the loop at once; more wait. Guided samples take two rows of the denoiser's max_batch_size.",
        ),
        Parameter(
            "max_queue",
            "64",
            "Images that may wait beside those; more are refused, at once, as UNAVAILABLE."
            " The launcher's --max-queue goes before it.",
        ),
    ),
)
HAND_WRITTEN_MODELS = (DIFFUSION, TEXT_TO_IMAGE)
