"""The report as one HTML file that needs nothing else."""

from html import escape

from .findings import findings
from .plots import draw, svg
from .results import Results
from .tables import Table, tables

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.1em; margin-top: 2em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .9em .25em 0; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; vertical-align: bottom; }
svg { width: 100%; height: auto; }
.about { color: #666; }
"""


def page(results: Results) -> str:
    """HTML with the sentences, the plots as inline SVG and the tables."""
    about = " · ".join(f"{name} {value}" for name, value in results.about.items())
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Triton Diffusion: load test</title>',
        f"<style>{STYLE}</style></head><body>",
        "<h1>Triton Diffusion: load test</h1>",
        f'<p class="about">{escape(about)}</p>',
        *(f"<p>{escape(text)}</p>" for text in findings(results)),
        svg(draw(results)),
        *(_table(table) for table in tables(results)),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f"<h2>{escape(table.title)}</h2>\n<table>\n<tr>{head}</tr>\n{rows}\n</table>"
