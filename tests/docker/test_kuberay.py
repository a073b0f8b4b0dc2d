"""The manifests: valid for a strict API server, safe, and consistent with image and package."""

import copy
import re

import pytest
from container_commands import check, image_has_folder, in_repository
from docker_files import arguments, manifest, manifests
from kubernetes_rules import IMAGE, cluster_spec, pod_templates, problems

import rllib_mec

MANIFESTS = manifests()
RAY = [(file, document) for file, document in MANIFESTS if document["kind"].startswith("Ray")]
each_manifest = pytest.mark.parametrize(
    ("file", "document"), MANIFESTS, ids=[f"{file}-{d['kind']}" for file, d in MANIFESTS]
)
each_cluster = pytest.mark.parametrize(("file", "document"), RAY, ids=[file for file, _ in RAY])


@each_manifest
def test_it_is_as_it_should_be(file, document):
    assert problems(document) == []


def test_there_is_what_the_readme_promises():
    assert [(file, document["kind"]) for file, document in MANIFESTS] == [
        ("raycluster.yaml", "RayCluster"),
        ("raycluster.yaml", "NetworkPolicy"),
        ("rayjob.yaml", "RayJob"),
        ("rayjob.yaml", "NetworkPolicy"),
        ("results.yaml", "PersistentVolumeClaim"),
    ]


def changed(document, path, value):
    """A copy of a document in which a path like a.0.b has another value; None takes it away."""
    result = copy.deepcopy(document)
    *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    inner = result
    for key in way:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return result


GROUP = "workerGroupSpecs/0/template/spec"
CLUSTER_CHANGES = [
    ("authOption", {"mode": "token"}, "'authOption' was unexpected"),
    ("authOptions", None, "no token"),
    ("authOptions/mode", "disabled", "no token"),
    ("authOptions/mode", "tokn", "'tokn' is not one of"),
    ("rayVersion", 2.6, "2.6 is not of type 'string'"),
    ("workerGroupSpecs/0/replicas", "2", "'2' is not of type 'integer'"),
    ("workerGroupSpecs/0/replicas", 99, "replicas outside of"),
    ("workerGroupSpecs/0/maxReplicas", None, "'maxReplicas' is a required property"),
    ("workerGroupSpecs/0/rayStartParams", {"num-cpus": 1}, "1 is not of type 'string'"),
    (f"{GROUP}/securityContext/runAsNonRoot", False, "may run as root"),
    (f"{GROUP}/securityContext/runAsUser", 0, "may run as root"),
    (f"{GROUP}/securityContext/runAsNonroot", True, "'runAsNonroot' was unexpected"),
    (f"{GROUP}/securityContext/seccompProfile", None, "no seccomp profile"),
    (f"{GROUP}/automountServiceAccountToken", None, "has a token of Kubernetes"),
    (f"{GROUP}/hostNetwork", True, "hostNetwork"),
    (f"{GROUP}/volumes/1", {"name": "tmp", "hostPath": {"path": "/"}}, "is of the host"),
    (f"{GROUP}/volumes/1/name", "other", "which are no volumes"),
    (f"{GROUP}/containers/0/image", "rllib-mec:latest", "is not rllib-mec:VERSION-PLATFORM"),
    (f"{GROUP}/containers/0/image", "rllib-mec:0.1.0-gpu", "is not rllib-mec:VERSION-PLATFORM"),
    (f"{GROUP}/containers/0/image", "rllib-mec:0.1.0-cu130", "with limits"),
    (f"{GROUP}/containers/0/env", [], "does not ask for the token"),
    (
        f"{GROUP}/containers/0/env",
        [{"name": "RAY_AUTH_TOKEN", "value": "x"}],
        "its token is in the manifest",
    ),
    (f"{GROUP}/containers/0/env/0", {"name": "A", "valu": "1"}, "'valu' was unexpected"),
    (f"{GROUP}/containers/0/securityContext/capabilities", {}, "has capabilities"),
    (f"{GROUP}/containers/0/securityContext/privileged", True, "may gain privileges"),
    (
        f"{GROUP}/containers/0/securityContext/allowPrivilegeEscalation",
        None,
        "may gain privileges",
    ),
    (
        f"{GROUP}/containers/0/securityContext/readOnlyRootFilesystem",
        None,
        "its root can be written",
    ),
    (f"{GROUP}/containers/0/resources/requests", {"cpu": "1"}, "but may have"),
    (f"{GROUP}/containers/0/resources", {}, "no limits"),
    (f"{GROUP}/containers/0/volumeMounts/0/mountPath", "/other", "does not see /results"),
    ("headGroupSpec/template/spec/containers/0/env/1", None, "no time to save checkpoints"),
    ("headGroupSpec/template/spec/containers/0/ports/0/containerPort", "x", "is not of type"),
]


@pytest.mark.parametrize(
    ("path", "value", "said"), CLUSTER_CHANGES, ids=[f"{p}={v}" for p, v, _ in CLUSTER_CHANGES]
)
@each_cluster
def test_a_cluster_that_is_not_as_it_should_be(file, document, path, value, said):
    where = "spec/rayClusterSpec" if document["kind"] == "RayJob" else "spec"
    found = problems(changed(document, f"{where}/{path}", value))
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec/entryPoint", "rllib list", "'entryPoint' was unexpected"),
        ("spec/entrypoint", "echo $HOME", "do not come through two shells"),
        ("spec/backoffLimit", "2", "'2' is not of type 'integer'"),
        ("spec/shutdownAfterJobFinishes", None, "never taken down"),
        ("spec/activeDeadlineSeconds", None, "no deadline"),
        ("spec/submitterPodTemplate", None, "may run as root"),
        ("spec/submitterPodTemplate/spec/securityContext", None, "submitter: may run as root"),
        ("spec/submitterPodTemplate/spec/containers/0/env", [], "submitter: ray-job-submitter"),
        ("metadata/name", "x" * 48, "is too long"),
        ("kind", "RayJobs", "is not valid under any of the given schemas"),
        ("apiVersion", "ray.io/v1alpha1", "'ray.io/v1' was expected"),
        ("apiVersion", "rai.io/v1", "Couldn't find schema"),
    ],
)
def test_a_job_that_is_not_as_it_should_be(path, value, said):
    found = problems(changed(manifest("RayJob"), path, value))
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize("file", ["raycluster.yaml", "rayjob.yaml"])
@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec/podSelector", {}, "selects every pod"),
        ("spec/policyTypes", ["Egress"], "lets everybody in"),
        ("spec/ingress/0", {}, "lets everybody in"),
        ("spec/ingress/0/from", [{"podSelector": {}}], "lets others in"),
        ("spec/ingress/0/from", [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "lets others in"),
        ("spec/ingress/1/from/0/namespaceSelector", {}, "lets others in"),
        ("spec/ingress/1/from/0/podSelector", None, "lets others in"),
        ("spec/ingress/1/ports", None, "more than the dashboard"),
        ("spec/ingress/1/ports/0/port", 6379, "more than the dashboard"),
        ("spec/ingres", [], "'ingres' was unexpected"),
    ],
)
def test_a_policy_that_is_not_as_it_should_be(file, path, value, said):
    found = problems(changed(manifest("NetworkPolicy", file), path, value))
    assert any(said in problem for problem in found), found


def test_a_claim_that_is_not_as_it_should_be():
    claim = manifest("PersistentVolumeClaim")
    assert problems(changed(claim, "spec/accessMode", ["ReadWriteMany"])) != []


@pytest.mark.parametrize("file", ["raycluster.yaml", "rayjob.yaml"])
def test_the_policy_is_about_all_pods_of_its_file_and_no_others(file):
    policy = manifest("NetworkPolicy", file)
    selected = policy["spec"]["podSelector"]["matchLabels"]
    (document,) = [d for f, d in RAY if f == file]
    for where, template in pod_templates(document).items():
        assert selected.items() <= template["metadata"]["labels"].items(), where
    (other,) = [d for f, d in RAY if f != file]
    for template in pod_templates(other).values():
        assert not selected.items() <= template["metadata"]["labels"].items()


@each_cluster
def test_versions_are_those_of_the_image(file, document):
    assert cluster_spec(document)["rayVersion"] == arguments()["RAY_VERSION"]
    for template in pod_templates(document).values():
        for container in template["spec"]["containers"]:
            assert IMAGE.fullmatch(container["image"])["version"] == rllib_mec.__version__


def test_platforms_are_those_that_the_cluster_of_one_machine_builds():
    from docker_files import compose

    built = {service["image"] for service in compose()["services"].values()}
    used = {
        container["image"]
        for _, document in RAY
        for template in pod_templates(document).values()
        for container in template["spec"]["containers"]
    }
    assert used == built


@each_cluster
def test_claims_are_those_of_results(file, document):
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for template in pod_templates(document).values()
        for volume in template["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {manifest("PersistentVolumeClaim")["metadata"]["name"]}


@each_cluster
def test_ray_accepts_its_parameters(file, document):
    spec = cluster_spec(document)
    head = [f"--{key}={value}" for key, value in spec["headGroupSpec"]["rayStartParams"].items()]
    assert check(["ray", "start", "--head", *head])
    for group in spec["workerGroupSpecs"]:
        parameters = [f"--{key}={value}" for key, value in group["rayStartParams"].items()]
        assert check(["ray", "start", "--address=head:6379", *parameters])


def test_the_job_begins_a_run_or_goes_on_with_it():
    from rllib_mec.experiment.plan import prepare
    from rllib_mec.experiment.spec import read_file

    entrypoint = manifest("RayJob")["spec"]["entrypoint"]
    resumed, begun = check(entrypoint)
    assert resumed == [*begun, "--resume"]
    assert begun[:3] == ["rllib", "train", "file"]
    assert image_has_folder()
    storage = begun[begun.index("--storage-path") + 1]
    (experiment,) = read_file(in_repository(begun[3]), {"storage_path": storage})
    assert prepare(experiment).num_trials == 1
    # What Tune writes first of all in the directory of a run is what the entrypoint looks for.
    (marker,) = re.findall(r"test -e (\S+) ", entrypoint)
    assert marker == f"{experiment.directory}/tuner.pkl"
    assert storage in [
        mount["mountPath"]
        for template in pod_templates(manifest("RayJob")).values()
        for mount in template["spec"]["containers"][0]["volumeMounts"]
    ]
