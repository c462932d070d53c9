"""The repository that is served: the check of its small files, of which Triton says less, or later, when they are
missing or damaged, and the part of it that Triton loads."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from launch_error import LaunchError

MODELS = ("diffusion", "text_to_image")
"""The models of every repository; the networks beside them differ by checkpoint."""
IN_PROCESS = "in-process"
WHERE = (IN_PROCESS, "models")
"""Where the networks run: in the process of `diffusion`, which opens them itself, or each as a Triton model."""
TOLD = f'parameters {{ key: "networks" value {{ string_value: "{IN_PROCESS}" }} }}\n'
"""In the configuration of a served model: clients read from it where the networks run."""
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


@dataclass(frozen=True)
class Served:
    """A repository as Triton and `diffusion` find it: in the workspace, because the processes of Python models cannot
    be started with the name of every folder."""

    link: Path  # to the repository
    models: Path  # the folder for Triton
    in_process: bool  # the networks are not in it: `diffusion` opens them, through `link`


def compose(repository: Path, networks: str | None, workspace: Path) -> Served:
    """Link `repository` into `workspace`. Its networks run where `networks` says, one of WHERE; by default in process,
    where all can. Raises LaunchError."""
    closed = [name for name in _networks(repository) if not [*(repository / name).glob("*/network.py")]]
    if closed and networks == IN_PROCESS:
        raise LaunchError(
            f"{', '.join(closed)}: only Triton can open such networks (they have no network.py): "
            "leave out --networks in-process, or export with --runtime python or torch"
        )
    link = workspace / "repository"
    link.symlink_to(repository.resolve())
    if closed or networks == "models":
        return Served(link, link, in_process=False)
    models = workspace / "models"
    for model in MODELS:
        (models / model).mkdir(parents=True)
        for entry in (link / model).iterdir():
            if entry.name != "config.pbtxt":
                (models / model / entry.name).symlink_to(entry)
        text = (link / model / "config.pbtxt").read_text(encoding="utf-8")
        (models / model / "config.pbtxt").write_text(text + TOLD, encoding="utf-8")
    return Served(link, models, in_process=True)


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
