"""TLS with real certificates: Triton's gRPC, HTTP behind nginx, the gateway. Who is refused, and in what words."""

import asyncio
import json
import socket
import ssl
import threading
import time
import urllib.request
import warnings
from dataclasses import dataclass

import httpx2
import numpy as np
import pytest
from triton_diffusion import AsyncClient, Client, ServerUnavailable, Tls, WrongServer

from tests.support.certificates import Authority, Signed
from tests.support.launching import gateway, launch, wait_until_ready
from tests.support.proxy import running_nginx

PROMPT = "a small red circle"
SETTINGS = {"num_inference_steps": 2, "seed": 7}


@dataclass(frozen=True)
class Certificates:
    ours: Authority
    others: Authority
    server: Signed
    expired_server: Signed
    client: Signed

    def options(self, server: Signed | None = None) -> list[str]:
        """For the launcher and for nginx, which take the same."""
        server = server or self.server
        return [f"--tls-cert={server.certificate}", f"--tls-key={server.key}", f"--tls-ca={self.ours.certificate}"]

    def tls(self, client: Signed | None = None, ca: Authority | None = None) -> Tls:
        client = client or self.client
        return Tls((ca or self.ours).certificate, client.certificate, client.key)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    ours, others = Authority(folder, "ours"), Authority(folder, "others")
    return Certificates(ours, others, ours.sign("server"), ours.sign("expired-server", days=-1), ours.sign("client"))


@pytest.fixture(scope="module")
def tls_launcher(shipped_repository, certificates):
    launcher = launch(shipped_repository, *certificates.options())
    try:
        yield launcher, wait_until_ready(launcher)
    finally:
        launcher.terminate()
        launcher.wait(timeout=90)


@pytest.fixture(scope="module")
def tls_server(tls_launcher):
    """A server that wants certificates of its gRPC clients."""
    return tls_launcher[1]


@pytest.fixture(scope="module")
def front(tls_server, certificates, tmp_path_factory):
    """nginx that wants certificates, on the same machine. Over gRPC the server behind it wants another."""
    with running_nginx(tmp_path_factory.mktemp("nginx"), [tls_server], *certificates.options()) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def urls(tls_server, front) -> dict[str, str]:
    return {"grpc": f"grpcs://{tls_server.grpc_url}", "http": f"https://{front.http_url}"}


both = pytest.mark.parametrize("protocol", ["grpc", "http"])


@both
def test_who_has_a_certificate_gets_the_same_images(server, urls, certificates, protocol):
    async def ask() -> list:
        async with AsyncClient(urls[protocol], tls=certificates.tls()) as client:
            return await client.text_to_image(PROMPT, **SETTINGS)

    with Client(server.grpc_url) as plain, Client(urls[protocol], tls=certificates.tls()) as client:
        (expected,) = plain.text_to_image(PROMPT, **SETTINGS)
        for (image,) in (client.text_to_image(PROMPT, **SETTINGS), asyncio.run(ask())):
            assert np.array_equal(np.asarray(image), np.asarray(expected))
        assert all(model.ready for model in client.models())


def test_one_name_for_several_servers(tls_server, certificates):
    port = tls_server.grpc_url.rpartition(":")[2]
    with Client(f"grpcs://dns:///localhost:{port}", tls=certificates.tls(), retries=0) as client:
        assert client.text_to_image(PROMPT, **SETTINGS)


@both
@pytest.mark.parametrize("who", ["without a certificate", "signed by others", "expired"])
def test_a_stranger_is_refused(urls, certificates, protocol, who):
    tls = {
        "without a certificate": Tls(certificates.ours.certificate),
        "signed by others": certificates.tls(certificates.others.sign("client")),
        "expired": certificates.tls(certificates.ours.sign("expired", days=-1)),
    }[who]
    with (
        Client(urls[protocol], retries=0, tls=tls) as client,
        pytest.raises(ServerUnavailable, match=r"a client certificate that (it trusts|is trusted)"),
    ):
        client.text_to_image(PROMPT, **SETTINGS)


def test_nginx_refuses_strangers_over_grpc_in_its_words(front, certificates):
    with (
        Client(f"grpcs://{front.grpc_url}", tls=Tls(certificates.ours.certificate)) as client,
        pytest.raises(WrongServer, match="a client certificate that is trusted here is needed"),
    ):
        client.text_to_image(PROMPT, **SETTINGS)


@both
def test_a_server_that_the_client_does_not_trust(urls, certificates, protocol):
    with (
        Client(urls[protocol], tls=certificates.tls(ca=certificates.others)) as client,
        pytest.raises(WrongServer, match=r"its certificate is not trusted \((self.signed|unable to get local issuer)"),
    ):
        client.text_to_image(PROMPT, **SETTINGS)


@both
def test_a_server_of_another_name(tls_server, certificates, protocol, tmp_path):
    elsewhere = certificates.ours.sign("elsewhere", host="elsewhere")
    with running_nginx(tmp_path, [tls_server], *certificates.options(elsewhere)) as proxy:
        url = {"grpc": f"grpcs://{proxy.grpc_url}", "http": f"https://{proxy.http_url}"}[protocol]
        with (
            Client(url.replace("127.0.0.1", "localhost"), tls=certificates.tls()) as client,
            pytest.raises(WrongServer, match=r"not trusted \(Hostname (Verification Check failed|mismatch)"),
        ):
            client.text_to_image(PROMPT, **SETTINGS)


@both
def test_a_server_whose_certificate_has_expired(tls_server, certificates, protocol, tmp_path):
    with running_nginx(tmp_path, [tls_server], *certificates.options(certificates.expired_server)) as proxy:
        url = {"grpc": f"grpcs://{proxy.grpc_url}", "http": f"https://{proxy.http_url}"}[protocol]
        with (
            Client(url, tls=certificates.tls()) as client,
            pytest.raises(WrongServer, match="certificate has expired"),
        ):
            client.text_to_image(PROMPT, **SETTINGS)


def test_nobody_is_served_in_plain_text(tls_server, front):
    with (
        Client(tls_server.grpc_url, retries=0) as client,
        pytest.raises(ServerUnavailable, match=r"does it want TLS \(grpcs://\)"),
    ):
        client.text_to_image(PROMPT)
    answer = httpx2.get(f"http://{front.http_url}/v2/health/ready")
    assert (answer.status_code, answer.json()["error"]) == (400, "TLS is needed: use https://")


def test_only_this_machine_is_served_http_without_tls(certificates, tls_server):
    assert tls_server.http_url.startswith("127.0.0.1:")
    with urllib.request.urlopen(f"http://{tls_server.http_url}/v2/health/ready", timeout=10) as answer:
        assert answer.status == 200


def test_old_versions_of_tls_are_refused(urls, certificates):
    for url in urls.values():
        host, port = url.rpartition("/")[2].split(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(certificates.ours.certificate)
        context.load_cert_chain(certificates.client.certificate, certificates.client.key)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with socket.create_connection((host, int(port))) as connection, pytest.raises(ssl.SSLError):
            context.wrap_socket(connection, server_hostname="localhost")


def test_the_gateway_speaks_tls_to_both_sides(urls, certificates):
    own, listener = certificates.client, certificates.server
    options = [f"--tls-ca={certificates.ours.certificate}", f"--tls-cert={own.certificate}", f"--tls-key={own.key}"]
    options += [f"--listen-cert={listener.certificate}", f"--listen-key={listener.key}", "--url", urls["grpc"]]
    trusting = ssl.create_default_context(cafile=certificates.ours.certificate)
    order = {"prompt": PROMPT, "steps": 2, "seed": 7}
    with gateway(*options) as (url, _), httpx2.Client(base_url=url, verify=trusting, timeout=60) as http:
        assert url.startswith("https://127.0.0.1:")
        assert http.get("/readyz").status_code == 200
        answer = http.post("/v1/images/generations", json=order)
        assert answer.status_code == 200, answer.text
        assert len(json.loads(answer.text)["data"]) == 1


def test_the_server_is_drained_over_tls_as_without(tls_launcher, certificates):
    """The last test, for it ends the server."""
    launcher, server = tls_launcher
    images = []
    with Client(f"grpcs://{server.grpc_url}", tls=certificates.tls(), retries=0) as client:
        asking = threading.Thread(target=lambda: images.extend(client.text_to_image(PROMPT, num_inference_steps=200)))
        asking.start()
        while server.metric("diffusion_active_samples") == 0:
            time.sleep(0.01)
        launcher.terminate()
        asking.join()
    assert len(images) == 1
    assert launcher.wait(timeout=60) == 0
