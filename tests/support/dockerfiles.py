"""Reads the Dockerfiles of docker/images/, as far as the tests ask."""

import re
from dataclasses import dataclass, field

from tests.support.manifests import ROOT

IMAGES = ROOT / "docker/images"
FILES = sorted(path.name for path in IMAGES.glob("*.Dockerfile"))


@dataclass
class Stage:
    """One FROM and what follows it."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, keyword: str) -> list[str]:
        """The arguments of every instruction `keyword`, here."""
        return [text for name, text in self.instructions if name == keyword]


def stages(file: str) -> dict[str, Stage]:
    """The stages of a Dockerfile by name; the last, where it has none, by its file's."""
    text = re.sub(r"^\s*#.*\n", "", (IMAGES / file).read_text(), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        keyword, _, rest = line.strip().partition(" ")
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = found[name or file] = Stage(name or file, base)
        elif keyword and found:
            stage.instructions.append((keyword, rest.strip()))
    return found


def inherited(file: str, name: str, keyword: str) -> list[str]:
    """The arguments of every instruction `keyword` in a stage and in those that it builds on, the oldest first."""
    known = stages(file)
    stage = known[name]
    below = inherited(file, stage.base, keyword) if stage.base in known else []
    return below + stage.all(keyword)
