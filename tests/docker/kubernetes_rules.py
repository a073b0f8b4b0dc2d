"""What the manifests must be: valid for a strict API server, and safe. Returns what they are not.

Fields are checked with Kubernetes' own schemas, which the package kubernetes-validate brings, and
with schemas/kuberay.yaml; both refuse fields that do not exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

Document = dict[str, Any]

KUBERNETES = "1.33"
KUBERAY = yaml.safe_load((Path(__file__).parent / "schemas" / "kuberay.yaml").read_text())
IMAGE = re.compile(r"[\w./:-]*rllib-mec:(?P<version>[\d.]+)-(?P<platform>cpu|cu\d+)")
DASHBOARD = 8265
TOKEN = {"name": "RAY_AUTH_MODE", "value": "token"}


def problems(document: Document) -> list[str]:
    """All that is wrong with one manifest; whether it is safe is asked of a valid one only."""
    found = list(_fields(document))
    if found:
        return found
    kind, spec = document["kind"], document["spec"]
    if kind in ("RayCluster", "RayJob"):
        for where, template in pod_templates(document).items():
            found += _pod(where, template)
        found += _cluster(cluster_spec(document))
    if kind == "RayJob":
        found += _job(spec)
    if kind == "NetworkPolicy":
        found += _policy(spec)
    return found


def cluster_spec(document: Document) -> Document:
    """The spec of the Ray cluster that a RayCluster or a RayJob describes."""
    spec = document["spec"]
    return spec["rayClusterSpec"] if document["kind"] == "RayJob" else spec


def pod_templates(document: Document) -> dict[str, Document]:
    """All pod templates of a RayCluster or RayJob, by where they are."""
    spec = cluster_spec(document)
    found = {"head": spec["headGroupSpec"]["template"]}
    found |= {group["groupName"]: group["template"] for group in spec.get("workerGroupSpecs", [])}
    if "submitterPodTemplate" in document["spec"]:
        found["submitter"] = document["spec"]["submitterPodTemplate"]
    return found


def _fields(document: Document) -> Iterator[str]:
    if not document["apiVersion"].startswith("ray.io/"):
        yield from _kubernetes(document)
        return
    errors = list(jsonschema.Draft202012Validator(KUBERAY).iter_errors(document))
    for error in errors:
        yield from (f"{each.json_path}: {each.message}" for each in _leaves(error))
    if not errors:
        for where, template in pod_templates(document).items():
            pod = {"apiVersion": "v1", "kind": "PodTemplate", "template": template}
            yield from (f"{where}: {problem}" for problem in _kubernetes(pod))


def _leaves(error: jsonschema.ValidationError) -> list[jsonschema.ValidationError]:
    """The errors inside a oneOf, of that alternative alone that is of the document's kind."""
    inner = list(error.context or [])
    other = {e.schema_path[0] for e in inner if list(e.absolute_path) == ["kind"]}
    return [e for e in inner if e.schema_path[0] not in other] or [error]


def _kubernetes(document: Document) -> Iterator[str]:
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{error.json_path}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        yield error.message


def _pod(where: str, template: Document) -> Iterator[str]:
    spec = template["spec"]
    security = spec.get("securityContext", {})
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield f"{where}: may run as root"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield f"{where}: no seccomp profile"
    if spec.get("automountServiceAccountToken") is not False:
        yield f"{where}: has a token of Kubernetes"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield f"{where}: {key}"
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for name, volume in volumes.items():
        if "hostPath" in volume:
            yield f"{where}: volume {name} is of the host"
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        for problem in _container(container, volumes):
            yield f"{where}: {container.get('name')}: {problem}"


def _container(container: Document, volumes: Document) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
        yield "may gain privileges"
    if security.get("capabilities") != {"drop": ["ALL"]}:
        yield "has capabilities"
    if not security.get("readOnlyRootFilesystem"):
        yield "its root can be written"
    if security.get("runAsNonRoot") is False or security.get("runAsUser") == 0:
        yield "may run as root"
    image = IMAGE.fullmatch(container.get("image", ""))
    if image is None:
        yield f"image {container.get('image')} is not rllib-mec:VERSION-PLATFORM"
    if TOKEN not in container.get("env", []):
        yield "does not ask for the token"
    if any(
        each["name"] == "RAY_AUTH_TOKEN" and "value" in each for each in container.get("env", [])
    ):
        yield "its token is in the manifest"
    resources = container.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    if requests != limits:
        yield f"requests {requests}, but may have {limits}"
    if not {"cpu", "memory", "ephemeral-storage"} <= set(limits):
        yield "no limits"
    on_gpu = "nvidia.com/gpu" in limits
    if image and on_gpu != image["platform"].startswith("cu"):
        yield f"image {container['image']} with limits {limits}"
    mounts = {mount["name"]: mount["mountPath"] for mount in container.get("volumeMounts", [])}
    if set(mounts) - set(volumes):
        yield f"mounts {sorted(set(mounts) - set(volumes))}, which are no volumes"
    if "/tmp" not in mounts.values():
        yield "nowhere to write: /tmp is of the read-only root"


def _cluster(spec: Document) -> Iterator[str]:
    if spec.get("authOptions", {}).get("mode") != "token":
        yield "authOptions: whoever reaches the cluster runs code there: no token"
    head = spec["headGroupSpec"]["template"]["spec"]["containers"][0]
    environment = {each["name"]: each.get("value") for each in head.get("env", [])}
    if int(environment.get("RAY_JOB_STOP_WAIT_TIME_S", 0)) < 60:
        yield "head: no time to save checkpoints when a job is stopped"
    groups = [group["groupName"] for group in spec["workerGroupSpecs"]]
    if len(set(groups)) < len(groups):
        yield f"workerGroupSpecs: {groups} are not distinct"
    for group in spec["workerGroupSpecs"]:
        if not group["minReplicas"] <= group.get("replicas", 0) <= group["maxReplicas"]:
            yield f"{group['groupName']}: replicas outside of minReplicas and maxReplicas"
    for template in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = template["template"]["spec"]
        mounts = pod["containers"][0].get("volumeMounts", [])
        if "/results" not in [mount["mountPath"] for mount in mounts]:
            yield "a node does not see /results"


def _job(spec: Document) -> Iterator[str]:
    if "submitterPodTemplate" not in spec:
        yield "submitter: KubeRay's own pod may run as root"
    if not spec.get("shutdownAfterJobFinishes") or not spec.get("ttlSecondsAfterFinished"):
        yield "its cluster is never taken down, or before the logs can be read"
    if not spec.get("activeDeadlineSeconds"):
        yield "no deadline"
    if "$" in spec["entrypoint"] or '"' in spec["entrypoint"]:
        yield "entrypoint: $ and double quotes do not come through two shells"


def _policy(spec: Document) -> Iterator[str]:
    own = spec["podSelector"]
    if not own.get("matchLabels"):
        yield "selects every pod of the namespace"
    if "Ingress" not in spec.get("policyTypes", []):
        yield "lets everybody in"
    for rule in spec.get("ingress", []):
        if not rule.get("from"):
            yield "lets everybody in"
        for peer in rule.get("from", []):
            if peer == {"podSelector": own}:
                continue
            named = peer.get("namespaceSelector", {}).get("matchLabels")
            if not named or not peer.get("podSelector", {}).get("matchLabels"):
                yield f"lets others in: {peer}"
            if rule.get("ports") != [{"protocol": "TCP", "port": DASHBOARD}]:
                yield f"lets {peer} reach more than the dashboard"
