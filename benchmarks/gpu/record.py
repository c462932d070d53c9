"""The record of the GPU proof: one JSON file, written anew with every figure, so that a part cut off loses none."""

import json
from pathlib import Path
from typing import Any

from benchmarks.recording import write_record


class Record:
    """The figures by part; those of other parts, measured before, stay in the file."""

    def __init__(self, path: Path, part: str, about: dict[str, Any]) -> None:
        """`about`: machine and checkpoint of this run of the part."""
        self._path = path
        self._content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self._figures: dict[str, Any] = dict(about)
        self._content[part] = self._figures

    def put(self, name: str, figure: Any) -> None:
        """Keep `figure`, which JSON can hold, under `name`."""
        self._figures[name] = figure
        write_record(self._path, self._content)
