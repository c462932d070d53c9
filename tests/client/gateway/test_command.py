"""The commands `gateway` and `gateway-key`, as far as they go without a server."""

import socket
import stat
import sys

import pytest
from triton_diffusion.cli import app
from triton_diffusion.gateway import Keys
from typer.testing import CliRunner


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_a_new_key_is_let_in_and_not_stored(tmp_path):
    file = tmp_path / "keys"
    given = [["alice"], ["bob", "--priority", "high"]]
    keys = [run("gateway-key", *one, "--keys", str(file)).stdout.strip() for one in given]
    assert [Keys(file).caller(f"Bearer {key}") for key in keys] == [("alice", None), ("bob", "high")]
    assert not any(key in file.read_text() for key in keys)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a b"], "name is 'a b': use 1 to 64 letters"),
        (["alice", "--priority", "urgent"], "priority is 'urgent': use low, normal, high"),
    ],
)
def test_what_would_break_the_file(arguments, message, tmp_path):
    result = run("gateway-key", *arguments, "--keys", str(tmp_path / "keys"))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"triton-diffusion: {message}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org"])
def test_other_machines_need_keys(host):
    result = run("gateway", "--host", host)
    assert result.exit_code == 2
    expected = f"host is '{host}', and anybody could ask: use --keys with it, or 127.0.0.1"
    assert result.stderr == f"triton-diffusion: {expected}\n"


def test_a_file_without_keys(tmp_path):
    result = run("gateway", "--keys", str(tmp_path / "keys"))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    for line in ("alice secret", f"alice sha256:{'0' * 64} secret"):
        (tmp_path / "keys").write_text(f"# nobody\n{line}\n")
        result = run("gateway", "--keys", str(tmp_path / "keys"))
        assert result.exit_code == 2
        assert "line 2 of" in result.stderr
        assert "secret" not in result.stderr


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = run("gateway", "--port", str(port))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"triton-diffusion: cannot listen on 127.0.0.1:{port}: ")


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run("gateway")
    assert (result.exit_code, result.stderr) == (
        1,
        "triton-diffusion: uvicorn is not installed: pip install 'triton-diffusion[web]'\n",
    )
