"""The component with TLS between gateway and servers: its files, its names, its probes, against the real programs."""

import http.server
import re
import subprocess
import threading

import pytest
from options import parse_arguments
from triton_diffusion import Tls
from triton_diffusion._transports.address import addresses
from triton_options import http_host

from tests.support.certificates import Authority
from tests.support.manifests import OVERLAYS, arguments, find, needs_kubectl, render, workload

pytestmark = needs_kubectl

every_rendering = pytest.mark.parametrize("rendering", [f"{overlay} tls monitoring" for overlay in OVERLAYS])


@pytest.fixture(scope="module")
def mounted(tmp_path_factory):
    """The files of either side's Secret, as its pod has them."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder, "authority")
    signed = authority.sign("server", host="triton-diffusion-server-grpc")
    authority.certificate.rename(folder / "ca.crt")
    signed.certificate.rename(folder / "tls.crt")
    signed.key.rename(folder / "tls.key")
    return folder


def mount_path(rendering: str, name: str, secret: str) -> str:
    """The folder in which the pod has all of the Secret."""
    item = workload(rendering, name)
    (container,) = item.pod["containers"]
    volume = item.volume("tls")["secret"]
    assert volume["secretName"] == secret
    assert "items" not in volume
    assert "optional" not in volume
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "tls")
    assert mount["readOnly"]
    return mount["mountPath"]


@every_rendering
def test_the_launcher_takes_the_servers_certificates(rendering, mounted):
    path = mount_path(rendering, "server", "triton-diffusion-server-tls")
    (container,) = workload(rendering, "server").pod["containers"]
    given = [argument.replace(path, str(mounted)) for argument in arguments(rendering, container)]
    launched = parse_arguments(given)
    assert (launched.tls_cert.name, launched.tls_key.name, launched.tls_ca.name) == ("tls.crt", "tls.key", "ca.crt")
    assert http_host(launched) == "127.0.0.1"
    assert launched.metrics_host == "0.0.0.0"


@every_rendering
def test_the_gateway_asks_over_tls_for_the_name_of_all_servers(rendering, mounted):
    path = mount_path(rendering, "gateway", "triton-diffusion-client-tls")
    (container,) = workload(rendering, "gateway").pod["containers"]
    options = dict(argument.split("=", 1) for argument in container["args"] if "=" in argument)
    (address,) = addresses(options["--url"], "grpc")
    assert address.tls
    assert find(rendering, "Service", address.host)["spec"]["clusterIP"] == "None"
    Tls(*(options[f"--tls-{name}"].replace(path, str(mounted)) for name in ("ca", "cert", "key"))).context()


@every_rendering
def test_the_probes_ask_from_within_the_pod(rendering):
    """As nothing else can: run here, they say what a server of ours answers them."""
    (container,) = workload(rendering, "server").pod["containers"]
    probes = {kind: container[kind] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert all("httpGet" not in probe for probe in probes.values())
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200 if answering else 503)
            self.end_headers()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for answering in (True, False):
            for probe in probes.values():
                interpreter, *rest = probe["exec"]["command"]
                assert interpreter == "python3"
                assert "127.0.0.1:8000/" in rest[-1]
                rest[-1] = rest[-1].replace(":8000", f":{server.server_port}")
                ended = subprocess.run([interpreter, *rest], capture_output=True, timeout=30)
                assert (ended.returncode == 0) is answering
        server.shutdown()
        thread.join()
    assert asked == [f"/v2/health/{what}" for what in ("ready", "ready", "live")] * 2


@every_rendering
def test_nothing_leads_to_http(rendering):
    (policy,) = (
        item["spec"]
        for item in render(rendering)
        if item["kind"] == "NetworkPolicy" and item["metadata"]["name"] == "triton-diffusion-server"
    )
    assert {entry["port"] for rule in policy["ingress"] for entry in rule["ports"]} == {8001, 8002}
    services = [item["metadata"]["name"] for item in render(rendering) if item["kind"] == "Service"]
    assert not [name for name in services if re.search(r"server-http", name)]
