"""The settings that an image was made with, under the names of the arguments of `Client.text_to_image`."""

from collections.abc import Mapping

from .._checkpoint import Checkpoint
from .._request import Request, Value
from .._response import Answer, names_of
from .._settings import OF_ONE_IMAGE


def settings_used(request: Request, checkpoint: Checkpoint | None, answer: Answer) -> dict[str, Value]:
    """All that makes an image of `request` again but its seed and size: the given settings, the server's defaults, and
    its own names of sampler and spacing.

    checkpoint: what the server serves, if it says so; without it there are no defaults.
    """
    given = {name: value for name, value in request.fields.items() if name in OF_ONE_IMAGE}
    settings: dict[str, Value] = {"prompt": given["prompt"], "negative_prompt": ""}
    if checkpoint is not None:
        settings["num_inference_steps"] = checkpoint.num_inference_steps
        settings["guidance_scale"] = checkpoint.guidance_scale
    settings |= given | names_of(answer.outputs)
    settings["model"] = request.model if checkpoint is None else checkpoint.name
    settings["model_version"] = answer.version
    return settings


def arguments_of(settings: Mapping[str, Value]) -> dict[str, Value]:
    """Those of `settings` that are arguments of `Client.text_to_image`."""
    return {name: value for name, value in settings.items() if name in OF_ONE_IMAGE}
