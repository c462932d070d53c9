"""Options of a command for the settings of a request, from their declaration."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from .._settings import Settings, fields_of, parameters_of


def setting_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator of a command with a keyword-only parameter `settings`: an option for every field of `Settings` in its
    place. The command gets those that were given, by name."""
    signature = inspect.signature(command)
    fields = fields_of(Settings)
    options = []
    for setting in parameters_of(Settings):
        field = fields[setting.name]
        flag = field.option or f"--{setting.name.replace('_', '-')}"
        text = f"{field.text[0].upper()}{field.text[1:]}."
        kind: Any = setting.annotation
        options.append(setting.replace(annotation=Annotated[kind, typer.Option(flag, help=text)]))
    parameters: list[inspect.Parameter] = []
    for own in signature.parameters.values():
        parameters += options if own.name == "settings" else [own]

    @functools.wraps(command)
    def called(**arguments: Any) -> None:
        found = {name: arguments.pop(name) for name in fields}
        command(**arguments, settings={name: value for name, value in found.items() if value is not None})

    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called
