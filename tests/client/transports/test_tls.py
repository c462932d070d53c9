"""Certificates as the client reads them, before it speaks to anybody."""

import re

import pytest
from triton_diffusion import AsyncClient, Client, InvalidRequest, Tls
from triton_diffusion.cli import app
from typer.testing import CliRunner

from tests.support.certificates import Authority

ADDRESSES = ("grpcs://localhost:1", "https://localhost:1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


@pytest.fixture(scope="module")
def wrong(authority):
    """Certificates that are not as they should be, by the line that says so."""
    signed, other = authority.sign("client"), authority.sign("other")
    nothing = authority.certificate.with_name("nothing.pem")
    empty = authority.certificate.with_name("empty.pem")
    empty.write_text("no certificate\n")
    return {
        "tls.ca is '.*nothing.pem', which cannot be read (No such file or directory): use a PEM file": Tls(nothing),
        "tls.certificate is '.*nothing.pem', which cannot be read": Tls(certificate=nothing, key=signed.key),
        "tls.ca is '.*empty.pem': use a PEM file of certificates": Tls(empty),
        "tls has certificate '.*empty.pem' and key '.*': use a PEM certificate": Tls(None, empty, signed.key),
        "use a PEM certificate and its own key, not encrypted": Tls(None, signed.certificate, other.key),
        "tls has a certificate without a key": Tls(certificate=signed.certificate),
    }


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("url", ADDRESSES)
def test_what_is_wrong_with_a_file_is_told_alike_for_both_protocols(kind, url, wrong):
    for said, tls in wrong.items():
        with pytest.raises(InvalidRequest, match=re.escape(said).replace(r"\.\*", ".*")) as refused:
            kind(url, tls=tls)
        assert refused.value.field == "tls"
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("url", ["localhost:8001", "grpc://localhost:8001", "http://localhost:8000"])
def test_certificates_for_a_connection_without_tls_are_refused(url, authority):
    with pytest.raises(InvalidRequest, match="and tls is given: use grpcs:// or https://"):
        Client(url, tls=Tls(authority.certificate))


@pytest.mark.parametrize("command", [["generate", "a red circle"], ["models"], ["status"], ["gateway"], ["serve-web"]])
def test_every_command_that_asks_a_server_takes_certificates(command, authority):
    options = ["--url", "grpcs://localhost:1", "--tls-ca", str(authority.certificate.with_name("none.pem"))]
    result = CliRunner().invoke(app, [*command, *options])
    assert result.exit_code == 2
    assert "none.pem', which cannot be read" in result.stderr
    environment = {"TRITON_DIFFUSION_TLS_CA": str(authority.certificate.with_name("none.pem"))}
    assert CliRunner().invoke(app, [*command, *options[:2]], env=environment).stderr == result.stderr
