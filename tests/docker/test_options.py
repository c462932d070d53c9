"""The launcher's arguments, and what becomes of them on Triton's command line."""

import pytest
from launch_error import LaunchError
from options import ADMIN_KEY, parse_arguments
from triton_options import triton_options

from tests.support.certificates import Authority

OLD = frozenset({"allow-sagemaker", "allow-vertex-ai"})
NEW = OLD | {"allow-client-shm", "http-max-input-size"}


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    monkeypatch.delenv(ADMIN_KEY, raising=False)


def triton(*given: str, known: frozenset[str] = NEW) -> dict[str, str]:
    """Triton's options by name."""
    options = triton_options(parse_arguments([*given]), known)
    return dict(option.removeprefix("--").partition("=")[::2] for option in options)


def test_by_default_nothing_is_heard_outside_and_little_is_open():
    options = triton()
    assert {options[f"{name}-address"] for name in ("http", "grpc", "metrics")} == {"127.0.0.1"}
    assert options["model-control-mode"] == "none"
    assert options["allow-sagemaker"] == options["allow-vertex-ai"] == options["allow-client-shm"] == "false"
    assert 0 < int(options["http-max-input-size"]) < 2**26, "Triton's own limit is larger"
    assert "disable-auto-complete-config" in options
    assert not {"trace-config", "grpc-use-ssl", "grpc-use-ssl-mutual"} & options.keys()


def test_only_clients_are_heard_on_the_address_for_clients():
    options = triton("--host=0.0.0.0")
    assert options["grpc-address"] == options["http-address"] == "0.0.0.0"
    assert options["metrics-address"] == "127.0.0.1"
    assert triton("--metrics-host=0.0.0.0")["metrics-address"] == "0.0.0.0"


def test_an_older_release_gets_no_option_that_it_does_not_know():
    assert triton().keys() - triton(known=OLD).keys() == NEW - OLD


def test_shared_memory_is_opened_on_request():
    closed, opened = triton(), triton("--client-shared-memory")
    assert opened["allow-client-shm"] == "true"
    for name in ("http-restricted-api", "grpc-restricted-protocol"):
        assert closed[name].replace(",shared-memory", "").split(":")[0] == opened[name].split(":")[0]


def key_of(options: dict[str, str]) -> str:
    (key,) = {options[name].split("admin-key=")[1] for name in ("http-restricted-api", "grpc-restricted-protocol")}
    return key


def test_without_a_key_one_is_drawn_that_nobody_knows():
    one, other = key_of(triton()), key_of(triton())
    assert one != other
    assert len(one) == 64


def test_the_key_is_in_a_file_or_in_the_environment(tmp_path, monkeypatch):
    (tmp_path / "key").write_text("of-the-file-1234\n")
    monkeypatch.setenv(ADMIN_KEY, "of-the-environment")
    assert key_of(triton("--admin-key-file", str(tmp_path / "key"))) == "of-the-file-1234"
    assert key_of(triton()) == "of-the-environment"
    assert len(key_of(triton())) == 64, "the models do not find it in their environment"


@pytest.mark.parametrize("key", ["", "short", "sixteen characters", "with,commas,and=signs", "über-sechzehn-zeichen"])
def test_an_unusable_key_is_told(tmp_path, key):
    (tmp_path / "key").write_text(key, encoding="utf-8")
    with pytest.raises(LaunchError, match="is not usable: take 16 or more of"):
        triton("--admin-key-file", str(tmp_path / "key"))


def test_a_key_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(LaunchError, match=r"none cannot be read: .*No such file"):
        triton("--admin-key-file", str(tmp_path / "none"))


def test_spans_go_where_they_are_wanted():
    arguments = parse_arguments(["--trace-url=http://collector:4318/v1/traces", "--trace-rate=10"])
    settings = [option.partition("=")[2] for option in triton_options(arguments, NEW) if "trace-config" in option]
    assert {"mode=opentelemetry", "rate=10", "opentelemetry,url=http://collector:4318/v1/traces"} <= {*settings}


def test_an_address_without_a_protocol_is_no_collectors(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--trace-url=collector:4318"])
    assert "use http://HOST:4318/v1/traces" in capsys.readouterr().err


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


def test_tls_is_for_grpc_and_leaves_http_to_this_machine(authority):
    server = authority.sign("server")
    files = [f"--tls-cert={server.certificate}", f"--tls-key={server.key}"]
    one_way = triton("--host=0.0.0.0", *files)
    assert (one_way["http-address"], one_way["grpc-address"]) == ("127.0.0.1", "0.0.0.0")
    assert (one_way["grpc-use-ssl"], one_way["grpc-server-key"]) == ("true", str(server.key))
    mutual = triton(*files, f"--tls-ca={authority.certificate}")
    assert (mutual["grpc-use-ssl-mutual"], mutual["grpc-root-cert"]) == ("true", str(authority.certificate))


def test_certificates_that_cannot_be_served_with_are_told(authority, tmp_path):
    server, other = authority.sign("server"), authority.sign("other")
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate\n")
    wrong = {
        (server.certificate, None, None): "--tls-cert and --tls-key go together, and --tls-ca only with them",
        (None, None, authority.certificate): "--tls-cert and --tls-key go together, and --tls-ca only with them",
        (tmp_path / "none.pem", server.key, None): "none.pem cannot be read: No such file or directory",
        (
            server.certificate,
            other.key,
            None,
        ): "are no PEM certificate and its key, not encrypted (key values mismatch)",
        (empty, server.key, None): "are no PEM certificate and its key",
        (server.certificate, server.key, empty): "empty.pem holds no PEM certificate",
    }
    for files, said in wrong.items():
        options = [f"--tls-{name}={file}" for name, file in zip(("cert", "key", "ca"), files) if file]
        with pytest.raises(LaunchError) as refused:
            triton(*options)
        assert said in str(refused.value)
