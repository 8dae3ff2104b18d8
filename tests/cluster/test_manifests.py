"""The cluster files, offline. The launcher's against the schema that Ray's wheel brings; KubeRay's against a
small schema of the fields used here, written by hand from KubeRay's API reference (its CRD is in no package);
both against the profile that they are made for.
"""

from __future__ import annotations

import json
import re
import shlex
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

from pipelines.cli.main import parser
from pipelines.engine.config import load_profile
from pipelines.engine.resolve import resolve_engine
from pipelines.execution.run_spec import groups_of
from pipelines.preflight.checks import check_resources, check_store

CLUSTER = Path(str(resources.files("cluster")))
LAUNCHERS = sorted((CLUSTER / "launcher").glob("*.yaml"))
KUBERAY = sorted((CLUSTER / "kuberay").glob("*.yaml"))
GIB = 1 << 30
PROFILE = load_profile("autoscaling")


def strict(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


TEXT, COUNT, TRUTH = (
    {"type": "string", "minLength": 1},
    {"type": "integer", "minimum": 0},
    {"type": "boolean"},
)
QUANTITIES = {"type": "object", "additionalProperties": {"type": "string", "pattern": r"^\d+(m|Mi|Gi)?$"}}
CONTAINER = strict(
    {
        "name": TEXT,
        "image": TEXT,
        "command": {"type": "array", "items": TEXT},
        "env": {"type": "array", "items": strict({"name": TEXT, "value": TEXT}, ["name", "value"])},
        "ports": {
            "type": "array",
            "items": strict({"containerPort": COUNT, "name": TEXT}, ["containerPort"]),
        },
        "resources": strict({"requests": QUANTITIES, "limits": QUANTITIES}, ["requests", "limits"]),
        "volumeMounts": {
            "type": "array",
            "items": strict({"name": TEXT, "mountPath": TEXT}, ["name", "mountPath"]),
        },
    },
    ["name", "image", "resources", "volumeMounts"],
)
VOLUME = strict(
    {"name": TEXT, "emptyDir": strict({"medium": {"const": "Memory"}, "sizeLimit": TEXT}, ["sizeLimit"])},
    ["name", "emptyDir"],
)
POD = strict(
    {
        "securityContext": strict(
            {"runAsNonRoot": {"const": True}, "runAsUser": COUNT, "runAsGroup": COUNT, "fsGroup": COUNT},
            ["runAsNonRoot", "runAsUser"],
        ),
        "initContainers": {"type": "array", "items": CONTAINER, "minItems": 1},
        "containers": {"type": "array", "items": CONTAINER, "minItems": 1, "maxItems": 1},
        "tolerations": {
            "type": "array",
            "items": strict({"key": TEXT, "operator": TEXT, "effect": TEXT}, ["key", "operator"]),
        },
        "volumes": {"type": "array", "items": VOLUME},
    },
    ["securityContext", "initContainers", "containers", "volumes"],
)
START = {"type": "object", "additionalProperties": {"type": "string"}}
TEMPLATE = strict({"spec": POD}, ["spec"])
WORKERS = strict(
    {
        "groupName": TEXT,
        "replicas": COUNT,
        "minReplicas": COUNT,
        "maxReplicas": COUNT,
        "rayStartParams": START,
        "template": TEMPLATE,
    },
    ["groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"],
)
CLUSTER_SPEC = strict(
    {
        "rayVersion": TEXT,
        "enableInTreeAutoscaling": {"const": True},
        "autoscalerOptions": strict(
            {
                "upscalingMode": {"enum": ["Default", "Conservative", "Aggressive"]},
                "idleTimeoutSeconds": COUNT,
            },
            [],
        ),
        "headGroupSpec": strict(
            {"rayStartParams": START, "template": TEMPLATE}, ["rayStartParams", "template"]
        ),
        "workerGroupSpecs": {"type": "array", "items": WORKERS, "minItems": 2},
    },
    ["rayVersion", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs"],
)
JOB_SPEC = strict(
    {
        "entrypoint": TEXT,
        "backoffLimit": COUNT,
        "shutdownAfterJobFinishes": TRUTH,
        "ttlSecondsAfterFinished": COUNT,
        "rayClusterSpec": CLUSTER_SPEC,
    },
    ["entrypoint", "rayClusterSpec"],
)


def document(spec: dict[str, Any]) -> dict[str, Any]:
    head = {"apiVersion": {"const": "ray.io/v1"}, "kind": TEXT, "metadata": strict({"name": TEXT}, ["name"])}
    return strict({**head, "spec": spec}, ["apiVersion", "kind", "metadata", "spec"])


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def cluster_of(path: Path) -> Any:
    spec = load(path)["spec"]
    return spec.get("rayClusterSpec", spec)


def gib(text: str) -> int:
    assert text.endswith("Gi")
    return int(text[:-2])


def preflight(cpus: float, gpus: float, store: float, engine: str) -> None:
    """Run the checks of `retalk run --profile autoscaling` with the resources of a cluster."""
    built = resolve_engine(engine)
    placed = groups_of(built, PROFILE, "/nowhere", isolated=True)
    check_resources(PROFILE, [pool for pool, _ in placed], {"CPU": cpus, "GPU": gpus})
    check_store(PROFILE, built, [(pool, spec.stages) for pool, spec in placed], store, int(cpus))


def most(engine: str) -> tuple[float, float]:
    """CPUs and GPUs of the profile with every pool at its maximum."""
    pools = [PROFILE.plan, *(PROFILE.engines[engine].pools if engine in PROFILE.engines else PROFILE.pools)]
    sizes = [pool.bounds(0)[1] for pool in pools]
    cpus = (
        sum(n * pool.num_cpus for n, pool in zip(sizes, pools))
        + PROFILE.assemble.at_once * PROFILE.assemble.num_cpus
    )
    return cpus, sum(n * pool.num_gpus for n, pool in zip(sizes, pools))


def test_the_files_are_there() -> None:
    assert [path.name for path in LAUNCHERS] == ["aws.yaml", "gcp.yaml"]
    assert [path.name for path in KUBERAY] == ["raycluster.yaml", "rayjob.yaml"]


@pytest.mark.parametrize("path", KUBERAY, ids=lambda path: path.name)
def test_kuberay_manifests_have_the_right_form(path: Path) -> None:
    kind = load(path)["kind"]
    jsonschema.validate(load(path), document({"RayCluster": CLUSTER_SPEC, "RayJob": JOB_SPEC}[kind]))
    assert cluster_of(path)["rayVersion"] == ray.__version__


@pytest.mark.parametrize("path", KUBERAY, ids=lambda path: path.name)
def test_kuberay_pods(path: Path) -> None:
    spec = cluster_of(path)
    head, groups = spec["headGroupSpec"], {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    assert head["rayStartParams"]["num-cpus"] == "0", "the head does no work"
    assert head["rayStartParams"]["num-gpus"] == "0"
    for group in (head, *groups.values()):
        pod, start = group["template"]["spec"], group["rayStartParams"]
        volumes = {volume["name"]: volume["emptyDir"] for volume in pod["volumes"]}
        (container,) = pod["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["shm"] == "/dev/shm"
        assert volumes["shm"]["medium"] == "Memory"
        store, shm = int(start["object-store-memory"]), gib(volumes["shm"]["sizeLimit"])
        assert store < shm * GIB, "the object store lies in /dev/shm"
        assert shm < 0.5 * gib(container["resources"]["limits"]["memory"]), (
            "/dev/shm counts as the pod's memory"
        )
        (models,) = pod["initContainers"]
        assert models["command"][:3] == ["retalk", "models", "pull"]
        assert models["image"] == container["image"]
        home = {one["name"]: one["value"] for one in container["env"]}["RETALK_HOME"]
        assert (
            {mount["name"]: mount["mountPath"] for mount in models["volumeMounts"]}["models"]
            == mounts["models"]
            == home
        )
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    for name, group in groups.items():
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"], (
            "GPUs and memory are not overcommitted"
        )
        gpus = container["resources"]["limits"].get("nvidia.com/gpu", "0")
        assert group["rayStartParams"].get("num-gpus", "0") == gpus
        assert (name == "gpu") == (gpus != "0")
        assert group["rayStartParams"]["num-cpus"] == container["resources"]["limits"]["cpu"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.parametrize("path", KUBERAY, ids=lambda path: path.name)
@pytest.mark.parametrize("engine", ["retalk", "exemplar"])
def test_kuberay_groups_fit_the_profile(path: Path, engine: str) -> None:
    groups = cluster_of(path)["workerGroupSpecs"]

    def total(count: str, what: str) -> int:
        return sum(group[count] * int(group["rayStartParams"].get(what, "0")) for group in groups)

    preflight(
        *(total("minReplicas", what) for what in ("num-cpus", "num-gpus", "object-store-memory")), engine
    )
    cpus, gpus = most(engine)
    assert total("maxReplicas", "num-cpus") >= cpus
    assert total("maxReplicas", "num-gpus") >= gpus


def test_the_job_is_repeated_when_it_is_lost_not_when_titles_fail() -> None:
    """KubeRay repeats whatever ends with another exit code than 0. The entrypoint is parsed by the real
    command line: KubeRay splits it into words itself, so that nothing may need a shell.
    """
    spec = load(CLUSTER / "kuberay" / "rayjob.yaml")["spec"]
    assert spec["backoffLimit"] > 0
    words = shlex.split(spec["entrypoint"])
    assert words == spec["entrypoint"].split(), "no quotes"
    assert not set("|&;<>$`") & set(spec["entrypoint"])
    assert words[0] == "retalk"
    args = parser().parse_args(words[1:])
    assert args.allow_failures
    assert (args.command, args.profile) == ("run", "autoscaling")
    assert load_profile(args.profile)
    assert resolve_engine(args.engine)


def test_the_profile_and_the_manifests_mean_the_same_nodes() -> None:
    groups = {
        group["groupName"]: group
        for group in cluster_of(CLUSTER / "kuberay" / "raycluster.yaml")["workerGroupSpecs"]
    }
    assert set(groups) == {group.name for group in PROFILE.nodes}
    for node in PROFILE.nodes:
        start = groups[node.name]["rayStartParams"]
        assert (node.cpus, node.gpus) == (int(start["num-cpus"]), int(start.get("num-gpus", "0")))
        assert (node.min, node.max) == (groups[node.name]["minReplicas"], groups[node.name]["maxReplicas"])


def test_the_two_manifests_describe_the_same_cluster() -> None:
    assert cluster_of(KUBERAY[0]) == cluster_of(KUBERAY[1])


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.name)
def test_launcher_files_satisfy_the_schema_of_ray(path: Path) -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    config = load(path)
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "availble_node_types": {}}, schema)
    assert config["provider"]["type"] == path.stem
    assert config["head_node_type"] in config["available_node_types"]
    assert config["available_node_types"]["head"]["resources"] == {"CPU": 0}
    assert "--num-cpus=0" in " ".join(config["head_start_ray_commands"])
    assert any(command.startswith("retalk models pull") for command in config["setup_commands"])


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.name)
@pytest.mark.parametrize("engine", ["retalk", "exemplar"])
def test_launcher_nodes_fit_the_profile(path: Path, engine: str) -> None:
    config = load(path)
    nodes = [
        node for name, node in config["available_node_types"].items() if name != config["head_node_type"]
    ]

    def total(count: str, what: str) -> int:
        return sum(node[count] * node["resources"].get(what, 0) for node in nodes)

    preflight(total("min_workers", "CPU"), total("min_workers", "GPU"), 60 * GIB, engine)
    cpus, gpus = most(engine)
    assert total("max_workers", "CPU") >= cpus
    assert total("max_workers", "GPU") >= gpus
    assert sum(node["max_workers"] for node in nodes) <= config["max_workers"]


def test_the_image() -> None:
    text = (CLUSTER / "Dockerfile").read_text()
    steps = re.sub(r"\\\n", " ", text)
    installs = [
        line for line in re.split(r";|\n", steps) if "pip install" in line and not line.startswith("#")
    ]
    assert "opencv-python-headless" in installs[-1], (
        "both OpenCV packages own the folder cv2: headless is written last"
    )
    assert "--force-reinstall --no-deps" in installs[-1]
    root = CLUSTER.parent
    for copied in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        assert all((root / name).exists() for name in copied.split()), copied
    user = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert user == ["ray"], "not root"
    uid, gid = re.findall(r"--uid (\d+) --gid (\d+)", text)[0]
    for path in KUBERAY:
        context = cluster_of(path)["headGroupSpec"]["template"]["spec"]["securityContext"]
        assert (str(context["runAsUser"]), str(context["runAsGroup"])) == (uid, gid)
    constraints = (root / "constraints.txt").read_text()
    fsspec, s3fs = (
        re.search(rf"^{name}==([\d.]+)", constraints, re.MULTILINE) for name in ("fsspec", "s3fs")
    )
    assert fsspec is not None
    assert s3fs is not None
    assert fsspec[1] == s3fs[1], "s3fs takes its own version of fsspec only"
    assert "[cloud," in steps
    torch = re.findall(r"^ARG TORCH=(\S+)$", text, re.MULTILINE)
    assert f"torch=={torch[0]}\n" in (root / "constraints.txt").read_text()
