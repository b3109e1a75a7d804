"""The manifests against Kubernetes' own schemas, offline.

KubeRay's own fields are checked against what its CRD allows, kept here by hand for the fields that
we use; the pod templates in it against Kubernetes' schema of a pod. What only a cluster can see is
not checked: whether images, volumes and the operator are there.
"""

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy.deployed import CONSTRAINTS, ROOT

KUBERNETES = ("1.30", "1.37")
FILE = ROOT / "deploy/kubernetes/batchgrad.yaml"
PARAMETERS = {"type": "object", "additionalProperties": {"type": "string"}}
RAY_CLUSTER_SPEC = {
    "type": "object",
    "required": ["headGroupSpec"],
    "additionalProperties": False,
    "properties": {
        "rayVersion": {"type": "string"},
        "headGroupSpec": {
            "required": ["template", "rayStartParams"],
            "additionalProperties": False,
            "properties": {"rayStartParams": PARAMETERS, "template": {"type": "object"}},
        },
        "workerGroupSpecs": {
            "type": "array",
            "items": {
                "required": ["groupName", "minReplicas", "maxReplicas", "template"],
                "additionalProperties": False,
                "properties": {
                    "groupName": {"type": "string"},
                    "replicas": {"type": "integer"},
                    "minReplicas": {"type": "integer", "minimum": 0},
                    "maxReplicas": {"type": "integer", "minimum": 1},
                    "rayStartParams": PARAMETERS,
                    "template": {"type": "object"},
                },
            },
        },
    },
}


def documents(file: Path = FILE) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def by_kind(kind: str) -> dict[str, Any]:
    (found,) = (one for one in documents() if one["kind"] == kind)
    return found


def groups() -> list[dict[str, Any]]:
    """The group of the head, then the group of the workers."""
    spec = by_kind("RayCluster")["spec"]
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def pods() -> list[dict[str, Any]]:
    return [group["template"] for group in groups()]


def check(document: dict[str, Any], version: str) -> None:
    """Validate a document as `kubectl apply` does; refuse unknown fields."""
    if document["kind"] != "RayCluster":
        kubernetes_validate.validate(document, version, strict=True)
        return
    jsonschema.Draft202012Validator(RAY_CLUSTER_SPEC).validate(document["spec"])
    head, workers = document["spec"]["headGroupSpec"], document["spec"]["workerGroupSpecs"]
    for group in (head, *workers):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
        kubernetes_validate.validate(pod | group["template"], version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_document_fits_its_schema(version: str) -> None:
    for document in documents():
        check(document, version)


@pytest.mark.parametrize("wrong", ["replica", "volumeMount"])
def test_a_misspelt_field_is_seen(wrong: str) -> None:
    document = by_kind("RayCluster")
    workers = document["spec"]["workerGroupSpecs"][0]
    if wrong == "replica":
        workers[wrong] = workers.pop("replicas")
    else:
        container = workers["template"]["spec"]["containers"][0]
        container[wrong] = container.pop("volumeMounts")
    with pytest.raises(jsonschema.ValidationError, match=wrong):
        check(document, KUBERNETES[-1])


def test_ray_version_is_the_one_installed() -> None:
    assert by_kind("RayCluster")["spec"]["rayVersion"] == CONSTRAINTS["ray"]


def test_references_between_documents_exist() -> None:
    cluster = by_kind("RayCluster")
    name = cluster["metadata"]["name"]
    service = by_kind("Service")
    assert service["spec"]["selector"] == {"ray.io/cluster": name, "ray.io/node-type": "head"}
    head, worker = (pod["spec"]["containers"][0] for pod in pods())
    settings = {one["name"]: one["value"] for one in head["env"] + worker["env"]}
    assert settings["BATCHGRAD_HEAD"] == f"{name}-head-svc"  # what KubeRay calls it
    assert settings["BATCHGRAD_ADVERTISED_URL"] == f"http://{service['metadata']['name']}:8711"
    claim = by_kind("PersistentVolumeClaim")["metadata"]["name"]
    volumes = {volume["name"]: volume for pod in pods() for volume in pod["spec"]["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim


def test_pods_have_few_rights() -> None:
    for pod in pods():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"] is True
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_pods_get_no_variables_of_services() -> None:
    """A service named batchgrad would set BATCHGRAD_PORT=tcp://…, which `serve` refuses."""
    assert [pod["spec"]["enableServiceLinks"] for pod in pods()] == [False, False]


def test_workers_do_not_get_the_token_of_the_api() -> None:
    _, worker = pods()
    (tokens,) = (v["secret"] for v in worker["spec"]["volumes"] if v["name"] == "tokens")
    assert [item["key"] for item in tokens["items"]] == ["ray"]
