"""Every rendering of the Kubernetes manifests: valid for the API, safe, and whole."""

import copy
from pathlib import Path

import kubernetes_validate
import pytest
from kubernetes_validate import SchemaNotFoundError, ValidationError

from export import cached
from tests.support.manifests import (
    OVERLAYS,
    RENDERINGS,
    ROOT,
    VERSION,
    arguments,
    find,
    needs_kubectl,
    quantity,
    render,
    workload,
    workloads,
)

pytestmark = needs_kubectl

API_VERSIONS = ("1.30", kubernetes_validate.latest_version())  # the oldest that knows all that is used, and the newest
# test_kubernetes_scaling.py is about these
CUSTOM_KINDS = {"PodMonitor", "PrometheusRule", "ScaledObject", "InferenceService"}
IMAGES = ("triton-diffusion-server", "triton-diffusion-exporter", "triton-diffusion-gateway")

every_rendering = pytest.mark.parametrize("rendering", RENDERINGS)
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@pytest.mark.parametrize("api_version", API_VERSIONS)
@every_rendering
def test_every_object_obeys_the_strict_schema_of_its_kind(rendering, api_version):
    for item in render(rendering):
        if item["kind"] not in CUSTOM_KINDS:
            kubernetes_validate.validate(item, api_version, strict=True)


def test_the_schemas_refuse_unknown_fields_and_pass_over_custom_kinds():
    misspelt = copy.deepcopy(find("cpu", "Deployment", "triton-diffusion-server"))
    container = misspelt["spec"]["template"]["spec"]["containers"][0]
    container["readynessProbe"] = container.pop("readinessProbe")
    with pytest.raises(ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(misspelt, API_VERSIONS[0], strict=True)
    with pytest.raises(SchemaNotFoundError):
        kubernetes_validate.validate(find("kserve", "InferenceService"), API_VERSIONS[0], strict=True)


@every_rendering
def test_every_object_is_in_the_one_namespace(rendering):
    for item in render(rendering):
        name = item["metadata"]["name"] if item["kind"] == "Namespace" else item["metadata"]["namespace"]
        assert name == "triton-diffusion", item


@every_rendering
def test_every_image_is_one_of_ours_in_the_version_of_the_project(rendering):
    variant = "-cpu" if rendering.startswith("cpu") else ""
    for container in (c for w in workloads(rendering) for c in w.containers):
        name, tag = container["image"].split(":")
        assert name in IMAGES
        assert tag == (VERSION if name == "triton-diffusion-gateway" else VERSION + variant)


@every_rendering
def test_every_container_has_requests_within_limits(rendering):
    for container in (c for w in workloads(rendering) for c in w.containers):
        resources = container["resources"]
        for resource in ("cpu", "memory"):
            assert 0 < quantity(resources["requests"][resource]) <= quantity(resources["limits"][resource])


@every_rendering
def test_every_pod_passes_the_restricted_pod_security_standard_and_more(rendering):
    for item in workloads(rendering):
        pod = item.pod["securityContext"]
        assert pod["runAsNonRoot"]
        assert pod["runAsUser"] > 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert item.pod["automountServiceAccountToken"] is False
        assert item.pod["enableServiceLinks"] is False, "TRITON_DIFFUSION_... are the launcher's"
        assert not {"hostNetwork", "hostPID", "hostIPC"} & {*item.pod}
        assert not any("hostPath" in volume for volume in item.pod["volumes"])
        for container in item.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@every_overlay
def test_the_namespace_has_the_cluster_refuse_less(overlay):
    labels = find(overlay, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@every_rendering
def test_every_mount_has_its_volume_and_scratch_space_is_bounded(rendering):
    for item in workloads(rendering):
        used = set()
        for container in item.containers:
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            used |= {*mounts.values()}
            assert mounts["/tmp"] == "tmp", "the root file system is read-only"
            assert {"name": "HOME", "value": "/tmp"} in container["env"]
        assert used == {volume["name"] for volume in item.pod["volumes"]}
        for volume in item.pod["volumes"]:
            assert "emptyDir" not in volume or quantity(volume["emptyDir"]["sizeLimit"]) > 0


@pytest.mark.parametrize("rendering", [*OVERLAYS, "kserve"])
def test_tensors_travel_through_memory_that_the_server_has(rendering):
    server = workload(rendering, "server")
    (container,) = server.pod["containers"]
    assert {"name": "shm", "mountPath": "/dev/shm"} in container["volumeMounts"]
    shared = server.volume("shm")["emptyDir"]
    assert shared["medium"] == "Memory"
    assert 2**30 <= quantity(shared["sizeLimit"]) <= quantity(container["resources"]["limits"]["memory"]) / 4


@pytest.mark.parametrize("rendering", [*OVERLAYS, "kserve"])
def test_the_server_only_reads_the_models(rendering):
    (container,) = workload(rendering, "server").pod["containers"]
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in container["volumeMounts"]


@every_overlay
@pytest.mark.parametrize("name", ["server", "gateway"])
def test_two_replicas_are_kept_apart_and_one_stays_through_disruptions(overlay, name):
    item = workload(overlay, name)
    spec = item.owner["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["selector"]["matchLabels"] == item.labels
    budget = find(overlay, "PodDisruptionBudget", f"triton-diffusion-{name}")["spec"]
    assert budget["selector"]["matchLabels"] == item.labels
    assert budget["maxUnavailable"] < spec["replicas"]
    spread = {constraint["topologyKey"]: constraint for constraint in item.pod["topologySpreadConstraints"]}
    assert {*spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert all(constraint["labelSelector"]["matchLabels"] == item.labels for constraint in spread.values())


def accelerators(resources: dict) -> set[str]:
    return {name for name in resources["limits"] if name.startswith("nvidia.com/")}


def test_plans_are_built_on_the_gpu_that_runs_them_and_shared_by_its_kind():
    claims, resources = [], []
    for overlay in ("gpu", "gpu-mig"):
        server = workload(overlay, "server")
        (resource,) = accelerators(server.containers[0]["resources"])
        assert all(container["resources"]["limits"][resource] == "1" for container in server.containers)
        claim = find(overlay, "PersistentVolumeClaim")
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
        assert server.volume("models")["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert "emptyDir" not in server.volume("models")
        assert server.pod["nodeSelector"]["nvidia.com/gpu.product"]
        claims.append(claim["metadata"]["name"])
        resources.append(resource)
    assert len({*claims}) == len({*resources}) == 2


def test_the_cpu_overlay_needs_neither_gpu_nor_storage():
    assert not any(accelerators(c["resources"]) for w in workloads("cpu") for c in w.containers)
    assert not any(item["kind"] == "PersistentVolumeClaim" for item in render("cpu"))


@pytest.mark.parametrize("rendering", [*OVERLAYS, "kserve"])
def test_the_server_reads_what_the_exporter_of_its_pod_has_made_ready(rendering):
    pod = workload(rendering, "server").pod
    (exporter,), (server,) = pod["initContainers"], pod["containers"]
    asked, options = cached.parse_arguments(arguments(rendering, exporter))
    assert options == []
    assert f"--repository={asked.link}" in server["args"]
    mounts = [{mount["mountPath"]: mount["name"] for mount in c["volumeMounts"]} for c in (exporter, server)]
    for path in (asked.models, asked.link.parent):  # the link is relative: both must be in the same places
        assert mounts[0][str(path)] == mounts[1][str(path)]
    assert mounts[0]["/tmp"] == "tmp", "of the pod alone: old replicas go on reading theirs while new ones start"
    assert asked.link.parent == Path("/tmp")
    assert (ROOT / asked.checkpoint / "model_index.json").exists()


def test_the_checkpoint_is_fetched_into_the_volume_that_the_exporter_reads():
    volume = workload("checkpoint", "checkpoint").volume("models")
    assert volume == workload("gpu", "server").volume("models")
    assert find("checkpoint", "ConfigMap")["data"]["CHECKPOINT"].startswith("/models/")
