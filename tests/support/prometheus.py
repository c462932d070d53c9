"""A real Prometheus with the project's own configuration, and what the project asks it."""

import json
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.launching import free_ports
from tests.support.tools import tool

MONITORING = Path(__file__).parents[2] / "docker/monitoring"
INTERVAL = 1  # seconds between two looks at every target


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that `expression` gives now, "metric" and "value". Raises RuntimeError where it is no PromQL."""
        return self._get("query", {"query": expression})["result"]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series between two times in seconds since 1970, "metric" and "values" [time, text]."""
        return self._get("query_range", {"query": expression, "start": start, "end": end, "step": step})["result"]

    def targets_up(self) -> int:
        return sum(target["health"] == "up" for target in self._get("targets", {})["activeTargets"])

    def _get(self, path: str, parameters: Mapping[str, object]) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(
                f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=30
            ) as response:
                data: dict[str, Any] = json.load(response)["data"]
                return data
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{parameters}: {json.load(error)['error']}") from error


@contextmanager
def prometheus(targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """Start one that reads prometheus.yml and rules.yml and looks every second; wait until it has reached its targets.

    targets: host:port by job name. They pass for those of compose.yaml, whose names they get.
    """
    configuration = yaml.safe_load((MONITORING / "prometheus/prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": f"{INTERVAL}s", "evaluation_interval": f"{INTERVAL}s"}
    configuration["rule_files"] = [str(MONITORING / "prometheus/rules.yml")]
    for job in configuration["scrape_configs"]:
        ((name,),) = [static["targets"] for static in job["static_configs"]]
        job["static_configs"] = [{"targets": [targets[job["job_name"]]], "labels": {"instance": name}}]
    with tempfile.TemporaryDirectory() as folder:
        (port,) = free_ports(1)
        address = f"127.0.0.1:{port}"
        Path(folder, "prometheus.yml").write_text(yaml.safe_dump(configuration))
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={address}",
                "--log.level=warn",
            ]
        )
        try:
            here = Prometheus(f"http://{address}")
            _wait_for(here, process, len(targets))
            yield here
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_for(here: Prometheus, process: subprocess.Popen[bytes], targets: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "Prometheus has said why on standard error"
        try:
            if here.targets_up() == targets:
                return
        except OSError:  # it does not listen yet
            pass
        assert time.monotonic() < deadline, "Prometheus does not reach its targets"
        time.sleep(0.2)


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard, rows among them."""
    dashboard = json.loads((MONITORING / "grafana/dashboards/triton-diffusion.json").read_text())
    found: list[dict[str, Any]] = dashboard["panels"]
    return found


def filled_in(expression: str, rate_interval: str) -> str:
    """`expression` with Grafana's variables as they are where everything is shown."""
    return expression.replace("$__rate_interval", rate_interval).replace("$instance", ".*")
