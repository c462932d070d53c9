"""Files for Grafana: the dashboard's JSON and the provisioning. There is no Grafana here to read it.

Its types, as Grafana's own generator made them for Python, stand in: what they do not know is lost on the way through.
"""

import itertools
import json
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import heatmap, stat, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.prometheus import MONITORING, panels

DASHBOARD = json.loads((MONITORING / "grafana/dashboards/triton-diffusion.json").read_text())
MODELS = {"timeseries": timeseries, "stat": stat, "heatmap": heatmap}
SHOWN = [panel for panel in panels() if panel["type"] != "row"]
every_panel = pytest.mark.parametrize("panel", SHOWN, ids=lambda panel: panel["title"])


def known(value: Any, kind: Any) -> Any:
    """The parts of `value` that an object of the type `kind` keeps."""
    return json.loads(json.dumps(kind.from_json(value), cls=JSONEncoder))


def assert_known(given: Any, understood: Any, path: str = "") -> None:
    if isinstance(given, dict):
        for name, value in given.items():
            assert name in understood, f"{path}.{name} is no field"
            assert_known(value, understood[name], f"{path}.{name}")
    elif isinstance(given, list):
        for index, (one, other) in enumerate(zip(given, understood, strict=True)):
            assert_known(one, other, f"{path}.{index}")
    else:
        assert given == understood, path


def test_grafanas_types_know_every_field():
    given = json.loads(json.dumps(DASHBOARD))
    for annotation in given["annotations"]["list"]:
        del annotation["titleFormat"]  # of the data source for Prometheus, and not in the types
    assert_known(given, known(given, Dashboard))


@every_panel
def test_the_types_of_the_panel_know_its_options(panel):
    model = MODELS[panel["type"]]
    assert_known(panel["options"], known(panel["options"], model.Options))
    custom = panel["fieldConfig"]["defaults"].get("custom")
    if custom is not None:
        assert_known(custom, known(custom, model.FieldConfig))


@every_panel
def test_a_panel_is_complete(panel):
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    defaults = panel["fieldConfig"]["defaults"]
    assert "unit" in defaults or panel["options"]["yAxis"]["unit"]
    assert all(target["legendFormat"] for target in panel["targets"])


def test_panels_have_their_own_numbers_and_places():
    every = panels()
    assert len({panel["id"] for panel in every}) == len(every)
    for one, other in itertools.combinations([panel["gridPos"] for panel in every], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in every)


def test_grafana_finds_data_source_and_dashboard():
    (source,) = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    configuration = yaml.safe_load((MONITORING / "prometheus/prometheus.yml").read_text())
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == configuration["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((MONITORING / "grafana/provisioning/dashboards/triton-diffusion.yml").read_text())[
        "providers"
    ]
    assert provider["type"] == "file"
