"""Code to copy, which makes an image again."""

import json
import shlex
from collections.abc import Mapping, Sequence

from .._request import Value
from .._settings import DATATYPES

# Triton answers with the pixels as numbers; a PPM file is such numbers with the size before them.
_TO_PPM = (
    '.outputs[] | select(.name == "image") | "P3 \\(.shape[2]) \\(.shape[1]) 255", (.data | map(tostring) | join(" "))'
)


def as_python(arguments: Mapping[str, Value], urls: Sequence[str]) -> str:
    """A Python program that uses this package. arguments: of `Client.text_to_image`; urls: the servers' addresses."""
    url = json.dumps(urls[0] if len(urls) == 1 else list(urls))
    given = {name: value for name, value in arguments.items() if name != "prompt"}
    lines = [
        "from triton_diffusion import Client, save_png",
        "",
        f"with Client({url}) as client:",
        "    (image,) = client.text_to_image(",
        f"        {arguments['prompt']!r},",
        *(f"        {name}={value!r}," for name, value in given.items()),
        "    )",
        'save_png(image, "out.png")',
    ]
    return "\n".join(lines)


def as_curl(arguments: Mapping[str, Value], http_url: str) -> str:
    """A shell command. arguments: of `Client.text_to_image`; http_url: of the server, host:port."""
    inputs = [
        {"name": name, "datatype": DATATYPES[name], "shape": [1], "data": [value]} for name, value in arguments.items()
    ]
    lines = [json.dumps(each, ensure_ascii=False) for each in inputs]
    body = '{"inputs": [\n  ' + ",\n  ".join(lines) + '],\n "outputs": [{"name": "image"}]}'
    address = http_url if "://" in http_url else f"http://{http_url}"
    return (
        f"curl -sf {shlex.quote(address + '/v2/models/text_to_image/infer')} -d {shlex.quote(body)} |\n"
        f"  jq -r {shlex.quote(_TO_PPM)} > out.ppm"
    )
