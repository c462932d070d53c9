"""Starting, finding and ending replicas: the manifests' times and ports against those of the launcher."""

import re
from argparse import Namespace
from threading import Event

import pytest
import typer
from installation import Installation
from launch_error import LaunchError
from options import parse_arguments
from repository import Served
from server import KILL_TIMEOUT, Server
from triton_diffusion.cli import app
from triton_options import EXIT_TIMEOUT

from tests.support.manifests import OVERLAYS, Object, arguments, find, needs_kubectl, workload

pytestmark = needs_kubectl

GRPC_JITTER = 1.1  # gRPC spreads the connection age by a tenth either way
DNS_SECONDS = 5  # how long CoreDNS lets a service's addresses be cached
AUTOSCALER_SECONDS = 600  # the grace that the cluster autoscaler allows by default when it takes a node away

every_server = pytest.mark.parametrize("rendering", [*OVERLAYS, "kserve"])
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@pytest.fixture
def launched(rendering) -> Namespace:
    """The manifest's arguments, parsed by the launcher."""
    (container,) = workload(rendering, "server").pod["containers"]
    return parse_arguments(arguments(rendering, container))


def ports(container: Object) -> dict[str, int]:
    return {port["name"].removesuffix("1"): port["containerPort"] for port in container["ports"]}


def stop_seconds(container: Object) -> int:
    return container["lifecycle"]["preStop"]["sleep"]["seconds"]


@every_server
def test_the_server_listens_where_the_manifest_says(rendering, launched):
    (container,) = workload(rendering, "server").pod["containers"]
    assert "command" not in container, "the image's entry point is the launcher"
    assert launched.host == launched.metrics_host == "0.0.0.0"
    assert ports(container) == {
        "http": launched.http_port,
        "grpc": launched.grpc_port,
        "metrics": launched.metrics_port,
    }


@every_server
def test_a_server_is_given_the_time_that_it_needs_to_end(rendering, launched):
    pod = workload(rendering, "server").pod
    (container,) = pod["containers"]
    assert launched.drain_timeout >= 480
    assert EXIT_TIMEOUT > KILL_TIMEOUT
    needed = stop_seconds(container) + launched.drain_timeout + KILL_TIMEOUT
    assert needed + 10 <= pod["terminationGracePeriodSeconds"] <= AUTOSCALER_SECONDS


@every_overlay
def test_a_gateway_outlives_the_longest_generation_that_passes_through_it(overlay):
    pod = workload(overlay, "gateway").pod
    server_arguments = workload(overlay, "server").pod["containers"][0]["args"]
    (drain,) = (int(a.removeprefix("--drain-timeout=")) for a in server_arguments if a.startswith("--drain-timeout="))
    assert pod["terminationGracePeriodSeconds"] > stop_seconds(pod["containers"][0]) + drain


@every_server
def test_clients_leave_before_a_server_drains_and_return_before_the_next(rendering, launched):
    server = workload(rendering, "server")
    (container,) = server.pod["containers"]
    renewed = launched.connection_age * GRPC_JITTER + DNS_SECONDS
    assert 0 < renewed < stop_seconds(container)
    if server.owner["kind"] == "Deployment":
        assert renewed < server.owner["spec"]["minReadySeconds"]


@pytest.mark.parametrize("rendering", ["gpu"])
def test_triton_is_told_the_connection_age_in_milliseconds(launched, tmp_path):
    triton = tmp_path / "tritonserver"
    triton.write_text('#!/bin/sh\necho "$@" > "$0.arguments"\n')
    triton.chmod(0o755)
    launched.http_port = 0  # where nothing can answer in its place
    server = Server(
        Installation(triton, tmp_path, {}, frozenset()),
        launched,
        Served(tmp_path, tmp_path, in_process=False),
        tmp_path,
    )
    with pytest.raises(LaunchError, match="ended with code 0"):
        server.wait_until_ready(Event())
    assert "--grpc-max-connection-age=30000" in (tmp_path / "tritonserver.arguments").read_text().split()


@every_server
def test_the_launcher_gives_up_with_its_reason_before_the_kubelet_does(rendering, launched):
    server = workload(rendering, "server")
    probe = server.pod["containers"][0]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > launched.ready_timeout + 30
    if server.owner["kind"] == "Deployment":
        assert server.owner["spec"]["progressDeadlineSeconds"] >= 2 * launched.ready_timeout


@every_server
def test_the_server_is_asked_where_triton_answers(rendering):
    (container,) = workload(rendering, "server").pod["containers"]
    asked = {kind: container[kind]["httpGet"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert all(get["port"] in ("http", ports(container)["http"]) for get in asked.values())
    assert asked["startupProbe"]["path"] == asked["readinessProbe"]["path"] == "/v2/health/ready"
    assert asked["livenessProbe"]["path"] == "/v2/health/live"


@every_overlay
def test_the_gateway_listens_where_it_is_asked(overlay):
    (container,) = workload(overlay, "gateway").pod["containers"]
    assert f"--port={ports(container)['http']}" in container["args"]
    asked = {kind: container[kind]["httpGet"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert all(get["port"] == "http" for get in asked.values())
    assert [get["path"] for get in asked.values()] == ["/healthz", "/readyz", "/healthz"]


@pytest.mark.parametrize("rendering", [*OVERLAYS, *(f"{overlay} tls monitoring" for overlay in OVERLAYS)])
def test_the_gateways_command_takes_the_arguments(rendering):
    (container,) = workload(rendering, "gateway").pod["containers"]
    command, *options = container["args"]
    group = typer.main.get_command(app)
    understood = group.commands[command].make_context(command, options).params
    given = {option.partition("=")[0].removeprefix("--").replace("-", "_") for option in options}
    assert {"keys_file" if name == "keys" else name for name in given} <= {n for n, v in understood.items() if v}


@every_overlay
def test_the_gateway_reads_its_keys_from_the_secret(overlay):
    gateway = workload(overlay, "gateway")
    (container,) = gateway.pod["containers"]
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "api-keys")
    assert f"--keys={mount['mountPath']}/keys" in container["args"]
    assert gateway.volume("api-keys")["secret"]["secretName"] == "triton-diffusion-api-keys"
    assert "optional" not in gateway.volume("api-keys")["secret"], "no keys, no gateway"


@every_overlay
def test_every_service_leads_to_a_port_of_the_pods_it_selects(overlay):
    for name, component in (("server-grpc", "server"), ("server-http", "server"), ("gateway", "gateway")):
        service = find(overlay, "Service", f"triton-diffusion-{name}")["spec"]
        item = workload(overlay, component)
        assert service["selector"] == item.labels
        assert {port["targetPort"] for port in service["ports"]} <= {*ports(item.pod["containers"][0])}


@every_overlay
def test_the_gateway_goes_round_all_servers_by_name(overlay):
    (container,) = workload(overlay, "gateway").pod["containers"]
    (url,) = (argument for argument in container["args"] if argument.startswith("--url="))
    name, port = re.fullmatch(r"--url=dns:///([\w-]+):(\d+)", url).groups()
    service = find(overlay, "Service", name)["spec"]
    assert service["clusterIP"] == "None", "or one address would stand for all of them"
    # Without a virtual address nothing translates ports: the service's must be the container's.
    assert int(port) == ports(workload(overlay, "server").pod["containers"][0])["grpc"]
    assert [entry["port"] for entry in service["ports"]] == [int(port)]


def test_kserve_runs_the_pod_of_the_gpu_overlay():
    ours, theirs = workload("gpu", "server").pod, workload("kserve", "server").pod
    for key in ("securityContext", "nodeSelector", "tolerations", "terminationGracePeriodSeconds"):
        assert theirs[key] == ours[key]
    assert theirs["volumes"] == ours["volumes"]
    for kind in ("initContainers", "containers"):
        (our, their) = (pod[kind][0] for pod in (ours, theirs))
        for key in ("image", "resources", "lifecycle", "securityContext", "volumeMounts", "env"):
            assert their.get(key) == our.get(key)
        assert arguments("kserve", their) == arguments("gpu", our)
