"""The checkpoint that a server serves, and what the server takes, as it describes both itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ._request import Value
from ._response import Model

MODELS = ("diffusion", "text_to_image")
DESCRIBE_TIMEOUT = 5.0  # seconds that a finished image waits for the description that its settings are completed from


@dataclass(frozen=True)
class Sampler:
    """A sampler of the server."""

    timestep_spacing: str  # of a request that names this sampler and no spacing
    options: tuple[str, ...] = ()  # the fields that this sampler heeds beside those of every sampler, such as "eta"


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint that a server serves, its defaults, and the names that the server takes.

    Heights and widths are in pixels, both ends of a range included. A default is the value for a request that does not
    name the field.
    """

    name: str
    height: int  # default
    width: int  # default
    height_range: tuple[int, int]
    width_range: tuple[int, int]
    multiple: int  # that heights and widths must be of
    guidance_scale: float  # default
    num_inference_steps: int  # default
    sampler: str  # default
    timestep_spacing: str  # default, of a request that names no sampler either
    samplers: Mapping[str, Sampler] = field(default_factory=dict)
    timestep_spacings: tuple[str, ...] = ()
    aliases: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)  # other names: sampler, and spacing
    networks: Mapping[str, int] = field(default_factory=dict)  # by name: samples that a call takes
    in_process: bool = False  # `diffusion` has opened the networks itself: they are no Triton models
    limits: Mapping[str, str] = field(default_factory=dict)  # field of a request: what is allowed, such as "1 to 1000"
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # field: the least and the greatest number
    defaults: Mapping[str, Value] = field(default_factory=dict)  # field: default, of those that have no line above

    @property
    def models(self) -> tuple[str, ...]:
        """The Triton models that make an image."""
        return *MODELS, *(() if self.in_process else self.networks)

    def networks_in(self, diffusion: Model) -> list[Model]:
        """The networks in the process of the model `diffusion`, as ready as it is."""
        return [replace(diffusion, name=name) for name in self.networks] if self.in_process else []

    def image_bytes(self, fields: Mapping[str, Value]) -> int:
        """The size of all images of a request for `fields`: UINT8 [N,H,W,3]."""
        height, width = int(fields.get("height", self.height)), int(fields.get("width", self.width))
        return int(fields.get("num_images", self.defaults["num_images"])) * height * width * 3


def read_checkpoint(parameters: Mapping[str, str]) -> Checkpoint | None:
    """The checkpoint of `parameters`, those in Triton's configuration of the model `diffusion`: `description` is JSON,
    `networks` tells where these run. None without such a description: another program's, or an older server's."""
    try:
        found = json.loads(parameters["description"])
        defaults = found["defaults"]
        return Checkpoint(
            name=found["name"],
            height=found["height"],
            width=found["width"],
            height_range=tuple(found["height_range"]),
            width_range=tuple(found["width_range"]),
            multiple=found["vae_factor"],
            guidance_scale=defaults["guidance_scale"],
            num_inference_steps=defaults["num_inference_steps"],
            sampler=defaults["sampler"],
            timestep_spacing=defaults["timestep_spacing"],
            samplers={
                name: Sampler(each["timestep_spacing"], tuple(each["options"]))
                for name, each in found["samplers"].items()
            },
            timestep_spacings=tuple(found["timestep_spacings"]),
            aliases={name: (sampler, spacing) for name, (sampler, spacing) in found["aliases"].items()},
            networks={name: each["max_batch"] for name, each in found["networks"].items()},
            in_process=parameters.get("networks") == "in-process",
            limits={name: each["allowed"] for name, each in found["fields"].items()},
            ranges={name: tuple(each["range"]) for name, each in found["fields"].items() if "range" in each},
            defaults={name: each["default"] for name, each in found["fields"].items() if "default" in each},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
