"""Settings of a checkpoint's components: the component's JSON file, completed by the defaults of its class."""

import inspect
from pathlib import Path
from typing import Any

import diffusers
import transformers

from export.checkpoint.layout import read_json
from export.errors import CheckpointError, quote

SAME_DEFAULTS = {"DPMSolverSDEScheduler": "KDPM2DiscreteScheduler"}
"""Schedulers that diffusers only has beside another library (torchsde), each with one that has the same defaults."""
READ_BY_ALL = ("_class_name", "sigma_min", "sigma_max")
"""Settings of a scheduler that diffusers reads even where they are no parameters of its class."""
UNREAD = (
    "clip_sample",
    "clip_sample_range",
    "dynamic_thresholding_ratio",
    "sample_max_value",
    "flow_shift",
    "time_shift_type",
)
"""Settings of a scheduler that change nothing in what is supported, so whatever they are is right."""
KINDS: dict[type, tuple[Any, str]] = {
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: (int | float, "a number"),
    str: (str, "a string"),
    list: (list, "a list"),
}
"""By the type of a setting's default: the types that it may have in a file, in Python and in words."""
MAX_LAYERS = 1000
MAX_NUMBER = 10_000_000
"""Whole numbers beyond which a library builds a module without end, or asks for all memory."""


def read_settings(folder: Path, class_names: tuple[str, ...] | None) -> dict[str, Any]:
    """Settings of the component in `folder`, one of `class_names`; None: a scheduler, whose file names its class."""
    if class_names is None:
        path = folder / "scheduler_config.json"
        return _scheduler_settings(path, read_json(path))
    settings = read_json(folder / "config.json")
    _check_sizes(folder / "config.json", settings)
    if hasattr(diffusers, class_names[0]):
        return with_defaults(getattr(diffusers, class_names[0]), settings)
    try:
        config_class = getattr(transformers, class_names[0]).config_class
        return config_class.from_pretrained(folder, local_files_only=True).to_dict()
    except Exception as error:  # transformers checks the settings with classes of its own
        raise unreadable(folder, error) from error


def _check_sizes(path: Path, settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        most = MAX_LAYERS if "layers" in name else MAX_NUMBER
        numbers = value if isinstance(value, list) else [value]
        for number in numbers:
            if isinstance(number, int) and abs(number) > most:
                raise CheckpointError(f"{path}: {name} is {number}: use at most {most}")


def with_defaults(config_class: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """`settings` of a diffusers class, and that class's own default for each it leaves out."""
    parameters = inspect.signature(config_class.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty} | settings


def _scheduler_settings(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """`settings` as diffusers reads them: those that the class has, with its defaults. Raises CheckpointError."""
    defaults = with_defaults(scheduler_class(path, settings.get("_class_name")), {})
    settings = defaults | {key: value for key, value in settings.items() if key in defaults or key in READ_BY_ALL}
    for key, default in defaults.items():
        if default is None or key in UNREAD:
            continue
        types, words = KINDS[type(default)]
        if not isinstance(settings[key], types) or isinstance(settings[key], bool) != isinstance(default, bool):
            raise CheckpointError(f"{path}: {key} is {settings[key]!r}: write {words}, or leave it out for {default!r}")
    return settings


def scheduler_class(path: Path, name: Any) -> type:
    """The class whose defaults complete the settings; only looked up among diffusers' own schedulers."""
    is_name = isinstance(name, str) and name.endswith("Scheduler")
    found = getattr(diffusers, SAME_DEFAULTS.get(name, name), None) if is_name else None
    if not inspect.isclass(found) or not issubclass(found, diffusers.SchedulerMixin):
        raise CheckpointError(
            f"{path}: _class_name is {name!r}, which is no scheduler of diffusers {diffusers.__version__}"
        )
    return found


def unreadable(folder: Path, error: BaseException) -> CheckpointError:
    """The one line for a library's error about the files in `folder`."""
    return CheckpointError(f"{folder} cannot be loaded ({quote(error)}): get the folder's files again")
