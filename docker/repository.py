"""The check of a repository's small files, of which Triton says less, or later, when they are missing or damaged."""

import json
import re
from pathlib import Path

from launch_error import LaunchError

MODELS = ("diffusion", "text_to_image")
"""The models of every repository; the networks beside them differ by checkpoint."""
WRITE = "write the repository with `python -m export CHECKPOINT`"


def check_repository(repository: Path) -> None:
    """Raises LaunchError if a model, its configuration or a JSON file of a model is missing or damaged."""
    for model in (*MODELS, *_networks(repository)):
        config = repository / model / "config.pbtxt"
        if not config.exists():
            raise LaunchError(f"{config.parent} is missing or has no config.pbtxt: {WRITE}")
        text = config.read_text(errors="replace")
        if f'name: "{model}"' not in text or not re.search(r"^(backend|platform):", text, re.MULTILINE):
            raise LaunchError(f"{config} is no configuration of the model {model} (name and backend): {WRITE}")
    for file in sorted(repository.glob("*/1/*.json")):
        _read(file)


def _networks(repository: Path) -> list[str]:
    """Names of the networks that the export lists."""
    checkpoint = repository / "diffusion/1/checkpoint.json"
    try:
        return list(json.loads(checkpoint.read_text())["networks"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise LaunchError(f"{checkpoint} is missing or lists no networks: {WRITE}") from error


def _read(file: Path) -> None:
    try:
        json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise LaunchError(f"{file} is damaged ({error}): {WRITE}") from error
