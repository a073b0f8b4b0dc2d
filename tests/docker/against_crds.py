"""Compares the manifests, and schemas/kuberay.yaml, with the CRDs of KubeRay itself.

    python tests/docker/against_crds.py helm-chart/kuberay-operator/crds

The argument is a folder of KubeRay's repository (Apache-2.0), which holds ray.io_rayclusters.yaml
and ray.io_rayjobs.yaml: 2 MB, and so not kept here. The CRDs are read as the API server reads them
under ``kubectl apply --validate=strict``: a field that they do not know is an error.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from docker_files import manifests
from kubernetes_rules import KUBERAY

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
CRDS = {"RayCluster": "ray.io_rayclusters.yaml", "RayJob": "ray.io_rayjobs.yaml"}
# Told apart by the schema of the whole document, not by the field.
SPECS = {"RayCluster": "rayClusterSpec", "RayJob": "rayJobSpec"}


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a CRD's structural schema as a JSON schema that refuses unknown fields."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    result = {k: v for k, v in schema.items() if k in ("type", "enum", "required", "minimum")}
    if "properties" in schema:
        result["properties"] = {k: strict(v) for k, v in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = strict(schema["additionalProperties"])
    if "items" in schema:
        result["items"] = strict(schema["items"])
    return result


def read_crd(file: Path) -> dict[str, Any]:
    """Returns the schema of a CRD's version v1."""
    crd = yaml.load(file.read_text(encoding="utf-8"), Loader=Loader)
    (version,) = [each for each in crd["spec"]["versions"] if each["name"] == "v1"]
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object"}  # of the API server, not of the CRD
    return schema


def differences(ours: dict[str, Any], theirs: dict[str, Any], place: str) -> list[str]:
    """Returns where our schema of a part allows what theirs does not."""
    if "$ref" in ours:
        ours = KUBERAY["$defs"][ours["$ref"].rsplit("/", 1)[1]]
    if ours.get("type", theirs.get("type")) != theirs.get("type"):
        return [f"{place}: {ours['type']} here, {theirs.get('type')} there"]
    found = []
    if not set(ours.get("enum", [])) <= set(theirs.get("enum", ours.get("enum", []))):
        found.append(f"{place}: {ours['enum']} here, {theirs['enum']} there")
    if not set(theirs.get("required", [])) <= set(ours.get("required", [])) and "$" not in place:
        found.append(f"{place}: {theirs['required']} are required there")
    for name, part in ours.get("properties", {}).items():
        if name not in theirs["properties"]:
            found.append(f"{place}.{name}: not there")
        elif name not in ("template", "submitterPodTemplate"):
            found += differences(part, theirs["properties"][name], f"{place}.{name}")
    if "items" in ours:
        found += differences(ours["items"], theirs["items"], f"{place}[]")
    return found


def main(folder: Path) -> int:
    """Prints what does not fit; returns the exit status."""
    found = []
    crds = {kind: read_crd(folder / file) for kind, file in CRDS.items()}
    for kind, crd in crds.items():
        spec = crd["properties"]["spec"]
        found += differences(KUBERAY["$defs"][SPECS[kind]], spec, f"{kind}.spec")
    checked = 0
    for file, document in manifests():
        if document["kind"] in crds:
            schema = jsonschema.Draft202012Validator(strict(crds[document["kind"]]))
            found += [f"{file}: {e.json_path}: {e.message}" for e in schema.iter_errors(document)]
            checked += 1
    print("\n".join(found) or f"{checked} manifests and the schema agree with {folder}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
