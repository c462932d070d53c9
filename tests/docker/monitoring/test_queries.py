"""Every query of dashboard and rules, put to a real Prometheus that watches the real server and gateway under load."""

import math
import re
import threading
import time
from collections.abc import Iterator

import httpx2
import promql_parser
import pytest
import yaml
from triton_diffusion import Client

from tests.support.launching import gateway
from tests.support.prometheus import MONITORING, Prometheus, filled_in, panels, prometheus

WATCHED = 15.0  # seconds under load
RATE_INTERVAL = "10s"
PROMPT = "a small red circle on the left of a blue background"
RULES = [
    rule
    for group in yaml.safe_load((MONITORING / "prometheus/rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
QUERIES = {
    f"{panel['title']}: {target['legendFormat']}": target["expr"]
    for panel in panels()
    if panel["type"] != "row"
    for target in panel["targets"]
}


def needs_gpu(expression: str) -> bool:
    """True for metrics that Triton exports on a GPU only."""
    return "nv_gpu_" in expression


@pytest.fixture(scope="module")
def watching(server) -> Iterator[Prometheus]:
    """Prometheus, after some seconds of load on the server and on a gateway before it."""
    with gateway("--url", server.grpc_url) as (address, _):
        targets = {
            "triton-diffusion-server": server.metrics_url,
            "triton-diffusion-gateway": address.removeprefix("http://"),
        }
        with prometheus(targets) as watching:
            _load(server.grpc_url, address, WATCHED)
            yield watching


def _load(server: str, gateway: str, seconds: float) -> None:
    """Two callers of the server and two of the gateway, of which one makes a mistake now and then."""
    end = time.monotonic() + seconds

    def ask_server() -> None:
        with Client(server) as client:
            while time.monotonic() < end:
                client.text_to_image(PROMPT, num_inference_steps=8)

    def ask_gateway() -> None:
        while time.monotonic() < end:
            for steps, status in ((0, 400), (8, 200)):
                body = {"prompt": PROMPT, "steps": steps}
                answer = httpx2.post(f"{gateway}/v1/images/generations", json=body, timeout=60)
                assert answer.status_code == status

    threads = [threading.Thread(target=ask) for ask in (ask_server, ask_gateway) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def values(found: list[dict]) -> list[float]:
    return [float(series["value"][1]) for series in found]


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_of_the_dashboard_gives_data(watching, name):
    query = filled_in(QUERIES[name], RATE_INTERVAL)
    assert "$" not in query
    found = watching.query(query)  # which raises where it is no PromQL
    if not needs_gpu(query):
        assert found
        assert not any(math.isnan(value) for value in values(found))


@pytest.mark.parametrize("name", [rule["record"] for rule in RULES if "record" in rule])
def test_a_recorded_figure_is_there(watching, name):
    found = watching.query(name)
    assert found
    assert not any(math.isnan(value) for value in values(found))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("record") or rule["alert"])
def test_what_a_rule_looks_at_is_there(watching, rule):
    watching.query(rule["expr"])
    for expression in measured(promql_parser.parse(rule["expr"])):
        assert watching.query(expression) or needs_gpu(expression), expression


def measured(node) -> Iterator[str]:
    """The parts of an expression that it compares with thresholds; all of it, if it compares nothing."""
    match node:
        case promql_parser.ParenExpr():
            yield from measured(node.expr)
        case promql_parser.Call() if node.func.name == "absent":
            yield from measured(node.args[0])
        case promql_parser.BinaryExpr() if re.search(r"and|or", str(node.op), re.IGNORECASE):
            yield from measured(node.lhs)
            yield from measured(node.rhs)
        case promql_parser.BinaryExpr() if re.search(r"[<>]|==", str(node.op)):
            yield node.lhs.prettify()
        case _:
            yield node.prettify()


def test_a_service_that_is_well_raises_no_alarm(watching):
    assert watching.query('ALERTS{alertstate="firing"}') == []


def test_the_dashboard_offers_the_servers(watching):
    """Its variable, `label_values(diffusion_max_active_samples, instance)`, is a query for this."""
    assert [one["metric"]["instance"] for one in watching.query("diffusion_max_active_samples")] == ["server:8002"]
