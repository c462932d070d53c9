"""The report in all of its forms."""

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from triton_diffusion.bench.findings import findings
from triton_diffusion.bench.report import show, write
from triton_diffusion.bench.results import BASELINE, Results
from triton_diffusion.bench.tables import tables


@pytest.fixture
def folder(results: Results, tmp_path: Path) -> Path:
    write(results, tmp_path / "new/report")
    return tmp_path / "new/report"


class Page(HTMLParser):
    """A parser that checks the nesting of elements and keeps their names, links and text."""

    VOID = ("meta",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_one_whole_file_with_plots_tables_and_sentences(folder, results):
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert all(link.startswith("#") for link in page.links)
    assert page.elements.count("svg") == 1
    assert page.elements.count("table") == len(tables(results)) == 5
    for text in (*findings(results), "Throughput", "Latency, mixed requests", "a <fast> one", "between previews"):
        assert text in page.text


def test_json_holds_every_figure_and_the_sentences(folder, results):
    record = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert record["findings"] == findings(results)
    assert len(record["levels"]) == len(results.levels)
    assert record["levels"][0]["latency"] == {"p50": 1300, "p90": 1950, "p99": 2600}
    assert record["levels"][0]["models"]["denoiser"] == {"queue": 0.5, "compute": 67.5}
    assert record["in_process"][0] == {"workload": "uniform", "concurrency": 1, "images_per_second": 5.0}


def test_csv_has_a_row_for_every_run(folder, results):
    with (folder / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["server"] for row in rows].count(BASELINE) == 2
    assert len(rows) == len(results.levels)
    assert rows[0]["latency_p99"] == "2600"
    assert rows[0]["models_denoiser_compute"] == "67.5"


def test_the_plots_can_be_opened(folder):
    with Image.open(folder / "report.png") as image:
        assert image.width > 800


def test_the_terminal_shows_the_tables(results, capsys):
    show(results, Console(width=200))
    shown = capsys.readouterr().out
    for text in ("2.50 a second", "one active request", "0.80", "between previews", "0.50 + 67.50"):
        assert text in shown


def test_without_the_parts_that_were_not_measured(results, tmp_path):
    results.levels, results.in_process, results.streamed = results.levels[:1], [], []
    write(results, tmp_path)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.elements.count("table") == len(tables(results)) == 2
