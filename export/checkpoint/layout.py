"""Layout of a checkpoint: its folder, its family, and the components that the family has."""

import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download

from export.errors import CheckpointError, quote
from export.families.family import Family
from export.families.registry import FAMILIES, SUPPORTED

INDEX = "model_index.json"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def find_folder(checkpoint: str) -> Path:
    """The folder that `checkpoint` names: a local folder, or a name on the Hugging Face hub to download."""
    folder = Path(checkpoint)
    if folder.is_dir():
        find_family(folder)
        return folder
    if folder.exists():
        raise CheckpointError(
            f"{checkpoint} is a file, and a checkpoint is a folder in diffusers' layout: convert the file"
            " with StableDiffusionPipeline.from_single_file(...).save_pretrained(FOLDER)"
        )
    if not HUB_NAME.fullmatch(checkpoint):
        raise CheckpointError(
            f"{checkpoint}: no such folder: name a checkpoint's folder, or a hub name like owner/name"
        )
    return _download(checkpoint)


def checkpoint_name(checkpoint: str, folder: Path) -> str:
    """The name of the checkpoint that `checkpoint` names and that lies in `folder`."""
    return folder.resolve().name if Path(checkpoint).is_dir() else checkpoint.rstrip("/").rpartition("/")[2]


def _download(name: str) -> Path:
    # Imported here because it brings every pipeline with it, which takes seconds that a local folder need not wait.
    from diffusers import DiffusionPipeline

    try:
        # The small index first: no gigabytes for a checkpoint that cannot be used.
        check_index(Path(name), read_json(Path(hf_hub_download(name, INDEX))))
        return Path(DiffusionPipeline.download(name, safety_checker=None, feature_extractor=None, image_encoder=None))
    except CheckpointError:
        raise
    except Exception as error:  # the hub client raises errors of a dozen unrelated classes
        raise CheckpointError(
            f"{name} is no folder here and could not be downloaded from the hub ({quote(error)}):"
            " check the name and the network, or name a local folder"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in the JSON file at `path`, which a checkpoint must have."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} has no {path.name}: {SUPPORTED}") from None
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({quote(error)}): get the file again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds no JSON object: get the file again")
    return value


def find_family(folder: Path) -> Family:
    """The family of the checkpoint in `folder`. Raises CheckpointError where there is none, or a component is wrong."""
    return check_index(folder, read_json(folder / INDEX))


def check_index(folder: Path, index: dict[str, Any]) -> Family:
    """The family that the checkpoint's model_index.json names; refuses pipelines that only look like it."""
    pipeline = index.get("_class_name")
    family = next((family for family in FAMILIES if pipeline in family.pipelines), None)
    if family is None:
        known = " or ".join(name for family in FAMILIES for name in family.pipelines)
        raise CheckpointError(f"{folder} is a {pipeline!r}: {SUPPORTED}, that is {known}")
    for extra in family.foreign_components:
        if _class_name(index, extra):
            raise CheckpointError(
                f"{folder} has a {extra} ({_class_name(index, extra)!r}): {SUPPORTED}, which have none"
            )
    for component, allowed in family.components.items():
        found = _class_name(index, component)
        if not found:
            raise CheckpointError(f"{folder}: {INDEX} names no {component}: get the complete checkpoint")
        if allowed and found not in allowed:
            raise CheckpointError(f"{folder}: the {component} is a {found!r}: it must be a {' or '.join(allowed)}")
    return family


def check_components(folder: Path, family: Family) -> None:
    """Raise CheckpointError naming the first component whose folder is not there."""
    for component in family.components:
        if not (folder / component).is_dir():
            raise CheckpointError(f"{folder} has no folder {component}/: get the complete checkpoint")


def _class_name(index: dict[str, Any], component: str) -> str | None:
    entry = index.get(component)
    return entry[1] if isinstance(entry, list) and len(entry) == 2 else None
