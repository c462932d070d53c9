"""The report of the results: for a terminal, a program, a spreadsheet and a browser."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from .findings import findings
from .page import page
from .plots import draw
from .results import Results
from .tables import tables


def show(results: Results, console: Console) -> None:
    """Print tables and findings on a terminal."""
    for table in tables(results):
        shown = RichTable(*table.columns, title=table.title, title_justify="left")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
    for text in findings(results):
        console.print(text, highlight=False)


def write(results: Results, folder: Path) -> None:
    """Write report.json, report.csv, report.png and report.html into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(as_record(results), indent=1) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(page(results), encoding="utf-8")
    draw(results).savefig(folder / "report.png", dpi=110)
    rows = [_flat(asdict(level)) for level in results.levels]
    with (folder / "report.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def as_record(results: Results) -> dict[str, Any]:
    """All figures and findings, as JSON holds them."""
    record: dict[str, Any] = _rounded({**asdict(results), "findings": findings(results)})
    return record


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a nested record by names joined with underscores: one column each."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}_")
        else:
            flat[prefix + name] = _rounded(value)
    return flat
