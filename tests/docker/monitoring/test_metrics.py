"""docs/monitoring.md lists what the real server and gateway export, no more and no less."""

import re
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.launching import ROOT, gateway

GUIDE = (ROOT / "docs/monitoring.md").read_text()


@pytest.fixture(scope="module")
def addresses(server):
    with gateway("--url", server.grpc_url) as (address, _):
        yield {"server": f"http://{server.metrics_url}", "gateway": address}


@pytest.mark.parametrize("name", ["server", "gateway"])
def test_the_guide_lists_the_metrics(addresses, name):
    prefix = "diffusion_gateway_" if name == "gateway" else "diffusion_(?!gateway)"
    listed = dict(re.findall(rf"^\| `({prefix}\w+)` \| (\w+) \|", GUIDE, re.MULTILINE))
    with urllib.request.urlopen(f"{addresses[name]}/metrics", timeout=10) as response:
        families = [*text_string_to_metric_families(response.read().decode())]
    exported = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in families
        if family.name.startswith("diffusion_") and not family.name.endswith("_created")
    }
    assert exported == listed
    assert all(family.documentation for family in families)


def test_the_gateway_tells_of_its_process(addresses):
    with urllib.request.urlopen(f"{addresses['gateway']}/metrics", timeout=10) as response:
        assert "process_start_time_seconds" in response.read().decode()
