"""PNG files that keep the settings of their image.

A file holds the settings twice. The chunk `triton_diffusion` is JSON with the names of the arguments. The chunk
`parameters` is AUTOMATIC1111's text.
"""

import json
import os
from typing import IO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .._errors import InvalidRequest
from .._request import Value
from .._settings import DATATYPES
from .._version import __version__
from .automatic1111 import from_parameters_text, parameters_text

_CHUNK = "triton_diffusion"


def save_png(image: Image.Image, path: str | os.PathLike[str] | IO[bytes]) -> None:
    """Writes an image of this package as PNG with its settings, which `read_settings` gives back.

    `Image.save` alone leaves them out. Raises OSError if the file cannot be written.
    """
    found = {str(name): value for name, value in image.info.items() if isinstance(value, str | int | float)}
    settings = {name: found[name] for name in sorted(found, key=_place)}  # made again, the file is the same too
    texts = PngInfo()
    texts.add_text("parameters", parameters_text(settings))
    content = json.dumps(settings | {"software": f"triton-diffusion {__version__}"})
    texts.add_text(_CHUNK, content)
    image.save(path, format="PNG", pnginfo=texts)


def read_settings(path: str | os.PathLike[str]) -> dict[str, Value]:
    """The settings in a PNG file, under the names of the arguments of `Client.text_to_image`, `model` and others.

    Reads what `save_png` wrote, or AUTOMATIC1111's text. Raises OSError if the file is no image, and InvalidRequest if
    there are no settings in it.
    """
    with Image.open(path) as image:
        texts = {name: text for name, text in image.info.items() if isinstance(text, str)}
    if _CHUNK in texts:
        try:
            found = json.loads(texts[_CHUNK])
        except ValueError:
            found = None
        if isinstance(found, dict):
            return {str(name): value for name, value in found.items() if isinstance(value, str | int | float)}
    if found := from_parameters_text(texts.get("parameters", "")):
        return found
    raise InvalidRequest(f"{os.fspath(path)} has no settings in it: use a PNG that save_png wrote", "path", path)


def _place(name: str) -> int:
    """The place of a setting in a file: in the order of the arguments, and others at the end."""
    return list(DATATYPES).index(name) if name in DATATYPES else len(DATATYPES)
