"""Monitoring and autoscaling: custom resources, and what they ask of Prometheus.

No schema of the custom resources is at hand. Their fields are held to lists that were written from the sources of KEDA,
the Prometheus Operator and KServe, which catches a misspelt field and not a wrong value.
"""

import importlib.util
import re
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import promql_parser
import pytest
import yaml

from tests.support.manifests import KUBERNETES, ROOT, Object, find, needs_kubectl, render, workload

pytestmark = needs_kubectl

KEDA = "gpu monitoring ingress autoscaling-keda"
HPA = "gpu monitoring ingress autoscaling-hpa"

# Field names by path; "*" is every element of a list.
FIELDS = {
    "ScaledObject": {
        "spec": "scaleTargetRef pollingInterval cooldownPeriod idleReplicaCount minReplicaCount maxReplicaCount "
        "fallback advanced triggers",
        "spec.scaleTargetRef": "apiVersion kind name envSourceContainerName",
        "spec.advanced": "restoreToOriginalReplicaCount horizontalPodAutoscalerConfig",
        "spec.advanced.horizontalPodAutoscalerConfig": "behavior",
        "spec.triggers.*": "type name metadata metricType authenticationRef",
        "spec.triggers.*.metadata": "serverAddress query threshold activationThreshold namespace ignoreNullValues "
        "customHeaders unsafeSsl queryParameters timeout authModes",
    },
    "PodMonitor": {
        "spec": "selector namespaceSelector podMetricsEndpoints podTargetLabels jobLabel",
        "spec.podMetricsEndpoints.*": "port path interval scrapeTimeout scheme relabelings metricRelabelings",
    },
    "PrometheusRule": {
        "spec": "groups",
        "spec.groups.*": "name interval limit query_offset labels rules",
        "spec.groups.*.rules.*": "record alert expr for keep_firing_for labels annotations",
    },
    "InferenceService": {
        "spec": "predictor transformer explainer",
        # its own, and those of a pod
        "spec.predictor": "minReplicas maxReplicas labels annotations timeout deploymentStrategy containers volumes "
        "initContainers nodeSelector tolerations securityContext terminationGracePeriodSeconds enableServiceLinks "
        "automountServiceAccountToken",
    },
}


def at(item: Any, path: str) -> list[Object]:
    """The objects at `path` of `item`."""
    found = [item]
    for key in path.split("."):
        found = [value for value in found if key == "*" or key in value]
        found = [each for value in found for each in (value if key == "*" else [value[key]])]
    return found


@pytest.mark.parametrize(
    ("rendering", "kind"),
    [(KEDA, "ScaledObject"), (KEDA, "PodMonitor"), (KEDA, "PrometheusRule"), ("kserve", "InferenceService")],
)
def test_the_fields_of_custom_resources_are_known(rendering, kind):
    items = [item for item in render(rendering) if item["kind"] == kind]
    assert items
    for item in items:
        for path, names in FIELDS[kind].items():
            assert at(item, path), path
            assert all({*each} <= {*names.split()} for each in at(item, path)), path


@pytest.fixture(scope="module")
def metric_names() -> set[str]:
    """The names that the loop's own code registers with Triton."""
    families = []

    class MetricFamily:
        COUNTER, GAUGE, HISTOGRAM = [""], [""], ["_bucket", "_sum", "_count"]

        def __init__(self, name: str, description: str, suffixes: list[str]) -> None:
            families.extend(name + suffix for suffix in suffixes)

        def Metric(self, labels, buckets=None):  # noqa: N802 - Triton's name
            return None

    path = ROOT / "model_repository/diffusion/1/metrics.py"
    specification = importlib.util.spec_from_file_location("loop_metrics", path)
    module = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:  # outside Triton there is no such module
        patch.setitem(sys.modules, "triton_python_backend_utils", SimpleNamespace(MetricFamily=MetricFamily))
        specification.loader.exec_module(module)
        module.TritonMetrics(["denoiser"])
    return {*families}


def metrics_in(query: str) -> set[str]:
    """The metrics that `query` reads; it must be PromQL."""
    return {*_names(promql_parser.parse(query))}


def _names(node: Any) -> Iterator[str]:
    match node:
        case promql_parser.VectorSelector():
            yield node.name
        case promql_parser.MatrixSelector():
            yield node.vector_selector.name
        case promql_parser.Call():
            for argument in node.args:
                yield from _names(argument)
        case promql_parser.AggregateExpr():
            yield from _names(node.expr)
        case promql_parser.BinaryExpr():
            yield from _names(node.lhs)
            yield from _names(node.rhs)
        case _:
            assert isinstance(node, promql_parser.NumberLiteral), node


def adapter_queries() -> dict[str, str]:
    """The adapter's queries by the name of the metric that each makes, its placeholders filled as it does."""
    values = yaml.safe_load((KUBERNETES / "components/autoscaling-hpa/prometheus-adapter-values.yaml").read_text())
    queries = {}
    for rule in values["rules"]["custom"] + values["rules"]["external"]:
        (series,) = re.findall(r"^\w+", rule["seriesQuery"])
        query = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.GroupBy>>", "pod")
        queries[rule["name"]["as"]] = query.replace("<<.LabelMatchers>>", 'namespace="triton-diffusion"')
    return queries


def keda_queries() -> list[str]:
    return [trigger["metadata"]["query"] for trigger in find(KEDA, "ScaledObject")["spec"]["triggers"]]


def hpa_metrics() -> list[tuple[str, Object]]:
    """Name and target of what the HorizontalPodAutoscaler looks at."""
    sources = [metric[metric["type"].lower()] for metric in find(HPA, "HorizontalPodAutoscaler")["spec"]["metrics"]]
    return [(source["metric"]["name"], source["target"]) for source in sources]


def test_autoscaling_reads_metrics_that_the_loop_writes(metric_names):
    for query in [*keda_queries(), *adapter_queries().values()]:
        assert metrics_in(query)
        assert metrics_in(query) <= metric_names
    assert {"diffusion_active_samples", "diffusion_queue_wait_seconds_sum"} <= metrics_in(" + ".join(keda_queries()))


def test_keda_counts_the_servers_of_its_namespace_only():
    for query in keda_queries():
        assert query.count('{namespace="triton-diffusion"}') == len(metrics_in(query))


def test_the_autoscaler_asks_for_what_the_adapter_makes():
    assert {name for name, _ in hpa_metrics()} == {*adapter_queries()}


def test_both_autoscalers_decide_alike():
    keda = find(KEDA, "ScaledObject")["spec"]
    hpa = find(HPA, "HorizontalPodAutoscaler")["spec"]
    assert (keda["minReplicaCount"], keda["maxReplicaCount"]) == (hpa["minReplicas"], hpa["maxReplicas"])
    assert keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == hpa["behavior"]
    thresholds = [(trigger["metricType"], trigger["metadata"]["threshold"]) for trigger in keda["triggers"]]
    assert thresholds == [(t["type"], t.get("averageValue") or t["value"]) for _, t in hpa_metrics()]
    active, wait = (promql_parser.parse(query).prettify() for query in keda_queries())
    adapter = {name: promql_parser.parse(query).prettify() for name, query in adapter_queries().items()}
    assert adapter["diffusion_active_samples"] == active.replace(
        "sum(", "sum by (pod) (", 1
    )  # averaged by the autoscaler
    assert adapter["diffusion_mean_queue_wait_seconds"] == wait


def test_a_replica_is_added_before_the_loops_are_full(shipped_repository):
    config = (shipped_repository / "diffusion/config.pbtxt").read_text()
    (room,) = re.findall(r'max_active_samples" value \{ string_value: "(\d+)"', config)
    (name, target), _ = hpa_metrics()
    assert name == "diffusion_active_samples"
    assert int(target["averageValue"]) == 0.75 * int(room)


@pytest.mark.parametrize("rendering", [KEDA, HPA])
def test_only_the_autoscaler_sets_the_number_of_servers(rendering):
    assert "replicas" not in find(rendering, "Deployment", "triton-diffusion-server")["spec"]
    kind = "ScaledObject" if rendering == KEDA else "HorizontalPodAutoscaler"
    assert find(rendering, kind)["spec"]["scaleTargetRef"]["name"] == "triton-diffusion-server"


def test_the_monitors_scrape_ports_that_are_there():
    for name in ("server", "gateway"):
        spec = find(KEDA, "PodMonitor", f"triton-diffusion-{name}")["spec"]
        item = workload(KEDA, name)
        assert spec["selector"]["matchLabels"] == item.labels
        (endpoint,) = spec["podMetricsEndpoints"]
        assert endpoint["path"] == "/metrics"
        assert endpoint["port"] in [port["name"] for port in item.pod["containers"][0]["ports"]]


def test_the_jobs_are_named_as_rules_and_dashboard_have_them():
    configuration = yaml.safe_load((ROOT / "docker/monitoring/prometheus/prometheus.yml").read_text())
    jobs = {job["job_name"] for job in configuration["scrape_configs"]}
    for name in ("server", "gateway"):
        (endpoint,) = find(KEDA, "PodMonitor", f"triton-diffusion-{name}")["spec"]["podMetricsEndpoints"]
        (relabeling,) = endpoint["relabelings"]
        assert relabeling["targetLabel"] == "job"
        jobs.remove(relabeling["replacement"])
    assert not jobs


def test_the_operator_gets_the_rules_that_prometheus_reads():
    rules = yaml.safe_load((ROOT / "docker/monitoring/prometheus/rules.yml").read_text())
    assert find(KEDA, "PrometheusRule")["spec"] == rules, "run `make rules`"


def test_grafanas_sidecar_finds_the_dashboard():
    dashboard = find(KEDA, "ConfigMap", "triton-diffusion-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    (content,) = dashboard["data"].values()
    assert content == (ROOT / "docker/monitoring/grafana/dashboards/triton-diffusion.json").read_text()
