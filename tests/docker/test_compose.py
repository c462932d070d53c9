"""compose.yaml: valid for the specification, safe, and whole in both of its profiles."""

import copy
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import launcher
import pytest
import typer
import yaml
from server import KILL_TIMEOUT
from triton_diffusion.cli import app
from triton_diffusion.cli.gateway import DRAIN
from triton_diffusion.gateway import Keys

from export import cached
from tests.support.dockerfiles import inherited, stages
from tests.support.manifests import ROOT, VERSION

COMPOSE = ROOT / "compose.yaml"
GUIDE = (ROOT / "docs/deployment.md").read_text()
SETTINGS = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env").read_text(), re.MULTILINE))
PROFILES = ("cpu", "gpu")


def filled(text: str) -> str:
    """`text` with its variables as .env has them."""

    def value(variable: re.Match[str]) -> str:
        name, _, default = variable[1].partition(":-")
        return SETTINGS[name] if name in SETTINGS else default if ":-" in variable[1] else pytest.fail(f"no {name}")

    return re.sub(r"\$\{([^}]*)\}", value, text)


PROJECT = yaml.safe_load(filled(COMPOSE.read_text()))
SERVICES: dict[str, dict[str, Any]] = PROJECT["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("triton-diffusion-")]
SERVERS = [name for name in SERVICES if name.startswith("server-")]

every_service = pytest.mark.parametrize("name", SERVICES)
every_profile = pytest.mark.parametrize("profile", PROFILES)


def schema_errors(file: Path) -> str:
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", file]
    return subprocess.run(command, capture_output=True, text=True).stdout


def test_it_obeys_the_schema_of_the_compose_specification(tmp_path):
    assert schema_errors(COMPOSE) == "ok -- validation done\n"
    misspelt = copy.deepcopy(PROJECT)
    misspelt["services"]["gateway"]["healtcheck"] = {}
    (tmp_path / "misspelt.yaml").write_text(yaml.safe_dump(misspelt))
    assert "healtcheck" in schema_errors(tmp_path / "misspelt.yaml")


def test_the_settings_are_those_that_are_used():
    used = {*re.findall(r"\$\{(\w+)\}", COMPOSE.read_text())}
    assert used == {*SETTINGS} - {"COMPOSE_PROFILES"}
    assert SETTINGS["VERSION"] == VERSION
    assert SETTINGS["COMPOSE_PROFILES"] == "cpu"
    assert (ROOT / SETTINGS["CHECKPOINTS"] / Path(SETTINGS["CHECKPOINT"]).name / "model_index.json").exists()


@every_service
def test_a_container_is_confined(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & {*service}
    assert "docker.sock" not in str(service)
    assert {"memory", "pids"} <= {*service["deploy"]["resources"]["limits"]}
    user = inherited(*image_of(name), "USER")[-1] if name in OURS else service["user"]
    assert re.fullmatch(r"[1-9]\d*:\d+", user)


@every_service
def test_a_container_is_watched_and_started_again(name):
    service = SERVICES[name]
    if name == "exporter":
        assert service["restart"] == "no", "it ends when it is done"
        return
    assert service["restart"] == "unless-stopped"
    assert "healthcheck" in service or (name in OURS and inherited(*image_of(name), "HEALTHCHECK"))


@every_service
def test_a_container_writes_to_bounded_scratch_space_and_volumes_only(name):
    service = SERVICES[name]
    assert all(re.fullmatch(r"/tmp:size=\d+[mg]", entry) for entry in service.get("tmpfs", []))
    assert name == "prometheus" or service["tmpfs"]
    for mount in service.get("volumes", []):
        if mount["type"] == "bind":
            assert mount["read_only"] is True
            assert (ROOT / mount["source"]).exists()
        else:
            assert mount["source"] in PROJECT["volumes"]


@every_service
def test_only_this_machine_reaches_a_published_port(name):
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


def test_a_server_reaches_nothing_and_is_reached_from_within_only():
    assert PROJECT["networks"]["inside"] == {"internal": True}
    for name in SERVERS:
        assert {*SERVICES[name]["networks"]} == {"inside"}
        assert "ports" not in SERVICES[name]


def test_a_server_gets_shared_memory_that_its_limit_covers():
    for name in SERVERS:
        assert SERVICES[name]["shm_size"] == "1gb"
        assert int(SERVICES[name]["deploy"]["resources"]["limits"]["memory"].removesuffix("g")) >= 4


@every_profile
def test_a_profile_is_whole(profile):
    active = {name for name, service in SERVICES.items() if profile in service.get("profiles", [profile])}
    assert {"gateway", "page", "prometheus", "grafana", f"server-{profile}"} <= active
    assert len(active & {*SERVERS}) == 1, "one answers to the name `server`"
    for name in active:
        for other, how in SERVICES[name].get("depends_on", {}).items():
            assert other in active or (other in SERVICES and how["required"] is False)


def test_what_a_service_names_is_declared_and_what_is_declared_is_used():
    for kind in ("networks", "secrets"):
        assert {entry for service in SERVICES.values() for entry in service.get(kind, ())} == {*PROJECT[kind]}
    volumes = (mount for service in SERVICES.values() for mount in service.get("volumes", []))
    assert {mount["source"] for mount in volumes if mount["type"] == "volume"} == {*PROJECT["volumes"]}


def test_images_are_ours_in_this_version_or_pinned():
    for name, service in SERVICES.items():
        repository, _, tag = service["image"].partition(":")
        variant = "-cpu" if name == "server-cpu" else ""
        assert tag == VERSION + variant if name in OURS else re.fullmatch(r"v?\d+\.\d+\.\d+", tag)
        assert name not in OURS or repository in {f"triton-diffusion-{i}" for i in ("server", "exporter", "gateway")}


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_a_build_gives_its_dockerfile_what_it_asks_for(name):
    file, target = image_of(name)
    asked = re.findall(r"^ARG (\w+)", (ROOT / "docker/images" / file).read_text(), re.MULTILINE)
    assert target in stages(file)
    assert {*SERVICES[name]["build"]["args"]} == {*asked} - {"BASE", "TORCH_INDEX"}


def image_of(name: str) -> tuple[str, str]:
    """The Dockerfile of a service, and the stage in it."""
    builders = [s["build"] for s in SERVICES.values() if "build" in s and s["image"] == SERVICES[name]["image"]]
    file = Path(builders[0]["dockerfile"]).name
    return file, builders[0].get("target", file)


def test_the_server_for_gpus_serves_what_the_exporter_made_on_the_same_gpu(monkeypatch):
    exporter, server = SERVICES["exporter"], SERVICES["server-gpu"]
    assert server["depends_on"]["exporter"]["condition"] == "service_completed_successfully"
    arguments, options = cached.parse_arguments(exporter["command"])
    assert (arguments.runtime, options) == ("tensorrt", [])
    assert str(arguments.link) in inherited("gpu.Dockerfile", "server", "CMD")[-1]
    mounts = [service["volumes"][0] for service in (exporter, server)]
    assert mounts == [mounts[0], mounts[0] | {"read_only": True}]
    assert mounts[0]["target"] == str(arguments.models)
    devices = [service["deploy"]["resources"]["reservations"]["devices"] for service in (exporter, server)]
    assert devices[0] == devices[1] == [{"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}]


def test_a_container_is_given_the_time_that_it_needs_to_end(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["launcher.py"])
    for name in SERVERS:
        assert seconds(SERVICES[name]["stop_grace_period"]) > launcher.parse_arguments().drain_timeout + KILL_TIMEOUT
    assert seconds(SERVICES["gateway"]["stop_grace_period"]) > DRAIN


def seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


@pytest.mark.parametrize("name", ["gateway", "page"])
def test_the_command_takes_the_arguments(name):
    command, *options = SERVICES[name]["command"]
    group = typer.main.get_command(app)
    understood = group.commands[command].make_context(command, options).params
    assert understood["host"] == "0.0.0.0"
    assert understood["url"] == ["server:8001"]
    (published,) = SERVICES[name]["ports"]
    assert published.endswith(f":{understood['port']}:{understood['port']}")


def test_the_gateway_reads_its_keys_from_the_secret():
    (secret,) = SERVICES["gateway"]["secrets"]
    assert f"--keys=/run/secrets/{secret}" in SERVICES["gateway"]["command"]


def test_prometheus_scrapes_what_is_there():
    settings = yaml.safe_load((ROOT / "docker/monitoring/prometheus/prometheus.yml").read_text())
    targets = [t for job in settings["scrape_configs"] for config in job["static_configs"] for t in config["targets"]]
    aliases = {alias for name in SERVERS for alias in SERVICES[name]["networks"]["inside"]["aliases"]}
    assert {target.partition(":")[0] for target in targets} <= {*SERVICES} | aliases
    assert "inside" in SERVICES["prometheus"]["networks"]


def test_the_guide_makes_a_key_that_opens_the_gateway(tmp_path):
    (step,) = re.findall(r"^KEY=.* > api-keys$", GUIDE, re.MULTILINE)
    done = subprocess.run(
        ["bash", "-ec", f'{step}\necho "$KEY"'], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert Keys(tmp_path / "api-keys").caller(f"Bearer {done.stdout.strip()}").name == "me"


def test_the_guide_names_the_ports_and_settings_that_there_are():
    told = {int(port) for port in re.findall(r"^\| http://127\.0\.0\.1:(\d+)", GUIDE, re.MULTILINE)}
    assert told == {int(p.rpartition(":")[2]) for service in SERVICES.values() for p in service.get("ports", [])}
    override = yaml.safe_load(re.findall(r"```yaml\n# compose.override.yaml\n(.*?)```", GUIDE, re.DOTALL)[0])
    ((name, changed),) = override["services"].items()
    assert name in SERVERS
    assert {*changed["networks"]} <= {*PROJECT["networks"]}
    for setting in (
        "COMPOSE_PROFILES",
        "CHECKPOINT",
        "CHECKPOINTS",
        "GPU",
        "API_KEYS",
        "GATEWAY_ADDRESS",
        "NGC_RELEASE",
    ):
        assert setting in SETTINGS
        assert setting in GUIDE
