"""Connections that the rendered NetworkPolicies allow, by an evaluation of them."""

import pytest

from tests.support.manifests import Object, find, needs_kubectl, render, workload, workloads

pytestmark = needs_kubectl

OURS = {"kubernetes.io/metadata.name": "triton-diffusion"}
MONITORING = {"kubernetes.io/metadata.name": "monitoring"}
ELSEWHERE = {"kubernetes.io/metadata.name": "elsewhere"}
PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}
SERVER = {"app.kubernetes.io/name": "triton-diffusion", "app.kubernetes.io/component": "server"}
GATEWAY = {"app.kubernetes.io/name": "triton-diffusion", "app.kubernetes.io/component": "gateway"}
PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}


def selects(selector: Object, labels: dict[str, str]) -> bool:
    assert {*selector} <= {"matchLabels"}, "this test evaluates no other selectors"
    return selector.get("matchLabels", {}).items() <= labels.items()


def matches(peer: Object, namespace: dict[str, str], labels: dict[str, str]) -> bool:
    assert {*peer} <= {"podSelector", "namespaceSelector"}
    own = {"matchLabels": OURS}  # without a selector of namespaces it is the policy's own
    return selects(peer.get("namespaceSelector", own), namespace) and selects(peer.get("podSelector", {}), labels)


def allows(rules: list[Object], side: str, namespace: dict[str, str], labels: dict[str, str], port: int) -> bool:
    """True if a rule lets through TCP to `port`, from or to (`side`) the pod with these labels."""
    for rule in rules:
        peers, entries = rule.get(side), rule.get("ports")
        if (peers is None or any(matches(peer, namespace, labels) for peer in peers)) and (
            entries is None or {"protocol": "TCP", "port": port} in entries
        ):
            return True
    return False


def policies(labels: dict[str, str], rendering: str = "gpu") -> list[Object]:
    """The specs of the policies for the pods with `labels`, which are isolated both ways."""
    specs = [item["spec"] for item in render(rendering) if item["kind"] == "NetworkPolicy"]
    found = [spec for spec in specs if selects(spec["podSelector"], labels)]
    assert all(spec["policyTypes"] == ["Ingress", "Egress"] for spec in found)
    return found


def admits(labels: dict[str, str], namespace: dict[str, str], sender: dict[str, str], port: int) -> bool:
    return any(allows(spec["ingress"], "from", namespace, sender, port) for spec in policies(labels))


@pytest.mark.parametrize("rendering", ["cpu", "gpu", "gpu-mig", "checkpoint"])
def test_no_pod_is_without_a_policy(rendering):
    for item in workloads(rendering):
        assert policies(item.labels, rendering), item.name


def test_the_pods_have_the_labels_that_the_tests_below_give_them():
    assert workload("gpu", "server").labels == SERVER
    assert workload("gpu", "gateway").labels == GATEWAY


@pytest.mark.parametrize(
    ("namespace", "sender", "admitted"),
    [
        (OURS, GATEWAY, {"http", "grpc"}),
        (MONITORING, PROMETHEUS, {"metrics"}),
        (OURS, SERVER, set()),
        (OURS, {}, set()),
        (ELSEWHERE, GATEWAY, set()),  # labels are anybody's to give; namespaces are not
        (ELSEWHERE, PROMETHEUS, set()),
        (MONITORING, {"app.kubernetes.io/name": "grafana"}, set()),
    ],
)
def test_only_the_gateway_and_prometheus_reach_a_server(namespace, sender, admitted):
    assert {name for name, port in PORTS.items() if admits(SERVER, namespace, sender, port)} == admitted
    assert not admits(SERVER, namespace, sender, 22)


def test_a_server_reaches_nothing():
    assert [spec["egress"] for spec in policies(SERVER)] == [[]]


def test_the_gateway_reaches_the_servers_and_names_and_nothing_else():
    (spec,) = policies(GATEWAY)
    assert allows(spec["egress"], "to", OURS, SERVER, PORTS["grpc"])
    assert not allows(spec["egress"], "to", OURS, SERVER, PORTS["metrics"])
    assert not allows(spec["egress"], "to", ELSEWHERE, {}, 443)
    names = [rule for rule in spec["egress"] if {"protocol": "UDP", "port": 53} in rule["ports"]]
    assert [rule["to"][0]["podSelector"]["matchLabels"] for rule in names] == [{"k8s-app": "kube-dns"}]


def test_anybody_may_knock_at_the_gateway_alone():
    assert admits(GATEWAY, ELSEWHERE, {}, 8080)
    assert not admits(GATEWAY, ELSEWHERE, {}, 22)


def test_only_the_fetching_of_a_checkpoint_reaches_out():
    (spec,) = policies(workload("checkpoint", "checkpoint").labels, "checkpoint")
    assert allows(spec["egress"], "to", ELSEWHERE, {}, 443)
    assert not allows(spec["egress"], "to", OURS, SERVER, PORTS["grpc"])
    assert spec["ingress"] == []


def test_callers_from_outside_reach_the_interface_over_tls_and_no_metrics():
    ingress = find("gpu monitoring ingress autoscaling-keda", "Ingress")["spec"]
    (rule,) = ingress["rules"]
    assert ingress["tls"] == [{"hosts": [rule["host"]], "secretName": "triton-diffusion-tls"}]
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/v1", "Prefix")
    service = path["backend"]["service"]
    assert service["port"]["name"] in [
        port["name"] for port in find("gpu", "Service", service["name"])["spec"]["ports"]
    ]
