"""The Dockerfiles, as far as they can be judged unbuilt: those for GPUs need bases from NVIDIA's registry."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import launcher
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from export import cached
from tests.support.dockerfiles import FILES, IMAGES, inherited, stages
from tests.support.manifests import ROOT

FINAL = [
    ("cpu.Dockerfile", "server"),
    ("cpu.Dockerfile", "exporter"),
    ("gpu.Dockerfile", "server"),
    ("gpu.Dockerfile", "exporter"),
    ("gateway.Dockerfile", "gateway.Dockerfile"),
]
LOCKED = ROOT / "requirements/locked"
LOCKS = {  # what each is made of
    "server-cpu.txt": ("server.txt", "server-ngc.txt", "triton.txt"),
    "server-gpu.txt": ("server-ngc.txt",),
    "exporter.txt": ("export.txt",),
    "gateway.txt": (),
}

every_image = pytest.mark.parametrize(("file", "target"), FINAL)
every_lock = pytest.mark.parametrize("lock", LOCKS)


def test_hadolint_finds_nothing():
    command = [
        Path(sys.executable).with_name("hadolint"),
        "--failure-threshold=style",
        *(IMAGES / file for file in FILES),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@every_image
def test_an_image_has_what_every_image_has(file, target):
    assert inherited(file, target, "USER")[-1] == "1000:1000"
    assert "HOME=/tmp" in " ".join(inherited(file, target, "ENV")), "the only place to write"
    if file != "gateway.Dockerfile":
        assert "ORT_DISABLE_TELEMETRY=1" in " ".join(inherited(file, target, "ENV"))
    assert inherited(file, target, "HEALTHCHECK")
    assert inherited(file, target, "ENTRYPOINT")
    labels = " ".join(inherited(file, target, "LABEL"))
    for name in ("title", "description", "version"):
        assert f"org.opencontainers.image.{name}=" in labels
    assert 'image.version="$VERSION"' in labels
    assert any(argument.startswith("VERSION") for argument in stages(file)[target].all("ARG"))


@pytest.mark.parametrize("file", FILES)
def test_everything_that_is_copied_is_there_and_not_ignored(file):
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    for stage in stages(file).values():
        for copied in stage.all("COPY"):
            *sources, _ = shlex.split(copied)
            if sources[0].startswith("--from="):
                assert sources[0].removeprefix("--from=") in stages(file)
                continue
            for source in sources:
                assert [*ROOT.glob(source)], source
                assert any(source == place or f"{source}/" in place or f"{place}/" in source for place in allowed), (
                    source
                )


@pytest.mark.parametrize("file", FILES)
def test_everything_that_is_installed_is_locked(file):
    for stage in stages(file).values():
        for run in stage.all("RUN"):
            for install in re.findall(r"pip install ([^&]*)", run):
                assert "--no-cache-dir" in install
                assert "--no-deps" in install
                assert "--require-hashes" in install or install.split()[-1] == "/tmp/client"


def test_server_and_exporter_for_gpus_are_of_one_release():
    bases = [stage.base for stage in stages("gpu.Dockerfile").values()]
    assert sorted(bases) == [
        "nvcr.io/nvidia/tensorrt:${NGC_RELEASE}-py3",
        "nvcr.io/nvidia/tritonserver:${NGC_RELEASE}-py3",
    ]
    named = [
        path
        for path in ROOT.glob("docker/**/*")
        if path.is_file() and re.search(r"nvcr\.io\S*:\d", path.read_text(errors="replace"))
    ]
    assert named == [], "the release is in .env alone"


@pytest.mark.parametrize("file", ["cpu.Dockerfile", "gpu.Dockerfile"])
def test_the_commands_are_understood(file, monkeypatch):
    command = json.loads(inherited(file, "server", "CMD")[-1])
    monkeypatch.setattr(sys, "argv", ["launcher.py", *command])
    served = launcher.parse_arguments()
    assert served.host == "0.0.0.0"
    arguments, options = cached.parse_arguments(json.loads(inherited(file, "exporter", "CMD")[-1]))
    assert options == []
    assert (ROOT / arguments.checkpoint / "model_index.json").exists()
    if file == "gpu.Dockerfile":
        assert arguments.link == served.repository
    assert (ROOT / json.loads(inherited(file, "server", "ENTRYPOINT")[-1])[-1]).exists()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_what_the_requirements_say(lock):
    locked = pins(LOCKED / lock)
    for name, wanted in [entry for file in LOCKS[lock] for entry in pins(ROOT / "requirements" / file).items()]:
        assert locked[name].partition("+")[0] == wanted, f"{name}: `make lock`"


def test_the_gateway_installs_what_its_tests_have_run_with():
    locked, tested = (
        pins(LOCKED / "gateway.txt"),
        pins(ROOT / "requirements/dev.txt") | pins(ROOT / "requirements/export.txt"),
    )
    assert all(locked[name] == version for name, version in tested.items() if name in locked)
    assert {"gradio", "fastapi", "uvicorn", "tritonclient"} <= {*locked}


def test_the_server_for_gpus_needs_no_more_than_its_lock(tmp_path, shipped_checkpoint):
    """Installs for Python 3.12, whose wheel of tokenizers is that of 3.11; -S leaves out whatever else is here."""
    uv = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--target", tmp_path]
    options = ["--require-hashes", "--no-deps", "--python-version=3.12", "--python-platform=x86_64-manylinux_2_35"]
    subprocess.run([*uv, *options, "-r", LOCKED / "server-gpu.txt"], check=True)
    script = "from tokenizers import Tokenizer; print(Tokenizer.from_file('tokenizer.json').encode('a red circle').ids)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        cwd=shipped_checkpoint / "tokenizer",
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert len(json.loads(done.stdout)) >= 3, done.stderr


@every_lock
def test_every_line_of_a_lock_has_a_hash(lock):
    for entry in re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", (LOCKED / lock).read_text(), flags=re.MULTILINE)):
        assert re.match(r"[\w.-]+==[\w.+]+ \\\n    --hash=sha256:[0-9a-f]{64}", entry), entry


def pins(path: Path) -> dict[str, str]:
    lines = (line.split("#")[0].split("\\")[0].strip() for line in path.read_text().splitlines())
    found = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {canonicalize_name(entry.name): str(entry.specifier).removeprefix("==") for entry in found}
