"""Registry of all families: the packages beside this file."""

import importlib
from pathlib import Path

from export.families.family import Family

FAMILIES: tuple[Family, ...] = tuple(
    importlib.import_module(f"export.families.{path.parent.name}").FAMILY
    for path in sorted(Path(__file__).parent.glob("*/__init__.py"))
)
SUPPORTED = f"supported are {', '.join(family.title for family in FAMILIES)}"
