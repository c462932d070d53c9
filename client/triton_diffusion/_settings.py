"""The settings of a request: every field that a call takes beside the prompt, declared once.

The wire's datatypes, the signatures and docstrings of the calls, and the command line's options come from here. A new
field is a line in `Settings`. Limits and defaults are not declared: they are the server's, which describes them itself.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypedDict, TypeVar, get_type_hints

Call = TypeVar("Call", bound=Callable[..., object])


@dataclass(frozen=True)
class Field:
    """A field of a request, one value of shape [1]."""

    datatype: str  # Triton's name of it
    text: str  # one line of documentation
    option: str | None = None  # of the command line; by default named as the field
    makes_image: bool = True  # False: the image of one seed does not depend on it


class Settings(TypedDict, total=False):
    """The settings of `text_to_image`. One that is absent or None is not sent: the server fills in its default."""

    negative_prompt: Annotated[str | None, Field("BYTES", "text that the image must not show", "--negative")]
    num_images: Annotated[int | None, Field("INT32", "images to make; image k uses seed+k", makes_image=False)]
    height: Annotated[int | None, Field("INT32", "pixels")]
    width: Annotated[int | None, Field("INT32", "pixels")]
    num_inference_steps: Annotated[int | None, Field("INT32", "steps of the sampler; fewer is faster", "--steps")]
    guidance_scale: Annotated[
        float | None,
        Field("FP32", "weight of the prompt; 1.0 or less turns guidance off and halves the work", "--guidance"),
    ]
    guidance_rescale: Annotated[
        float | None, Field("FP32", "share of the contrast that guidance adds to take away (arXiv 2305.08891)")
    ]
    sampler: Annotated[
        str | None, Field("BYTES", "name of a sampler, the server's or another program's, such as \"Euler a\"")
    ]
    timestep_spacing: Annotated[str | None, Field("BYTES", "places of the steps, such as karras", "--spacing")]
    eta: Annotated[float | None, Field("FP32", "noise of a sampler that takes it, such as ddim; 1 is as much as ddpm")]
    seed: Annotated[int | None, Field("INT64", "the same seed and settings make the same image; drawn by default")]
    priority: Annotated[str | None, Field("BYTES", "order of admission on the server, such as high", makes_image=False)]


class StreamSettings(Settings, total=False):
    """The settings of `stream`."""

    preview_interval: Annotated[
        int | None, Field("INT32", "steps between two previews; none by default", makes_image=False)
    ]


def fields_of(settings: type) -> dict[str, Field]:
    """The fields of `Settings` or `StreamSettings` by name, in the order of declaration."""
    return {name: hint.__metadata__[0] for name, hint in get_type_hints(settings, include_extras=True).items()}


FIELDS = {"prompt": Field("BYTES", "text of what the image shows"), **fields_of(StreamSettings)}
DATATYPES = {name: field.datatype for name, field in FIELDS.items()}
OF_ONE_IMAGE = {name for name, field in FIELDS.items() if field.makes_image}
STREAM_ONLY = FIELDS.keys() - {"prompt", *fields_of(Settings)}  # fields of the model `diffusion` alone


def parameters_of(settings: type) -> list[inspect.Parameter]:
    """The fields of `settings` as keyword-only parameters with their types, None by default."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in get_type_hints(settings).items()
    ]


def takes(settings: type) -> Callable[[Call], Call]:
    """Decorator of a call with `**settings: Unpack[...]`: its signature and its docstring list the settings."""

    def listed(call: Call) -> Call:
        signature = inspect.signature(call)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        first = [each for each in own if each.kind is not inspect.Parameter.KEYWORD_ONLY]
        parameters = [*first, *parameters_of(settings), *own[len(first) :]]
        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        lines = [f"- {name}: {field.text}" for name, field in fields_of(settings).items()]
        call.__doc__ = f"{inspect.cleandoc(call.__doc__ or '')}\n\n" + "\n".join(lines)
        return call

    return listed
