#!/usr/bin/env bash
# Runs docker/compose.yaml with podman, in a network namespace of its own, with the image that
# docker/check-build.sh has made: a head and three workers, without the token, with a wrong one and
# with the right one; a run that is stopped, and gone on with by the command of the RayJob.
#
#   apt-get install podman runc catatonit netavark aardvark-dns && pip install podman-compose pyyaml
#   WORK=DIR docker/check-cluster.sh        # as root, with the WORK of check-build.sh; some minutes
set -euo pipefail
cd "$(dirname "$0")/.."

work=${WORK:?the WORK of docker/check-build.sh}
project=$work/project
image=localhost/rllib-mec:check
folder=/opt/rllib_mec/tuned_examples
dashboard=http://127.0.0.1:8265
say() { printf '\n== %s\n' "$*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

# No registry, no host's network, and no more open files than this machine grants.
files=$(ulimit -Hn)
((files > 65536)) && files=65536
limits="nofile: {soft: $files, hard: $files}, nproc: 30000"
cat > "$work/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=$files:$files", "nproc=30000:30000"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
tmp_dir = "$work/tmp"
[network]
network_backend = "netavark"
network_config_dir = "$work/networks"
CONF
cat > "$work/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "$work/run"
CONF
cat > "$work/override.yaml" <<YAML
services:
  head: {image: "$image", ulimits: {$limits}, logging: {driver: k8s-file}}
  worker: {image: "$image", ulimits: {$limits}, logging: {driver: k8s-file}}
YAML
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
export COMPOSE_PROJECT_NAME=mec WORKER_CPUS=1

rm -rf "$project"
mkdir -p "$project"
cp -r docker "$project/docker"
rm -rf "$project/docker/secrets" "$project/docker/.env"
(cd "$project" && mkdir -m 700 docker/secrets && openssl rand -hex 32 > docker/secrets/ray_token)

unshare --net sleep 3600 < /dev/null > "$work/last" 2>&1 &
namespace=$!
sleep 1
inside() { nsenter --target "$namespace" --net -- "$@"; }
inside ip link set lo up
podman() { inside podman "$@" 2>> "$work/podman.log"; }
compose() {
    inside podman-compose -f "$project/docker/compose.yaml" -f "$work/override.yaml" "$@" \
        >> "$work/podman.log" 2>&1
}
head() { podman exec mec_head_1 "$@"; }
job() { head ray job "$1" --address "$dashboard" "${@:2}"; }
# until_ok TRIES COMMAND…: tries a command every two seconds, and fails after the last try.
until_ok() {
    local left=$1
    until "${@:2}" > "$work/last" 2>&1; do
        ((left--)) || { cat "$work/last"; fail "${*:2}"; }
        sleep 2
    done
}
clean() {
    podman rm --force --time 5 --all > "$work/last" || true
    compose down --volumes || true
    kill "$namespace"
}
trap clean EXIT

say "a head, healthy"
compose up -d --no-build head
until_ok 30 podman healthcheck run mec_head_1
head sh -c 'id -u; grep -E "CapBnd|NoNewPrivs" /proc/self/status'
head sh -c 'touch /opt/x 2> /dev/null' && fail "its root can be written"

say "three workers, healthy"
# podman leaves the waiting for a healthy head to systemd, which need not be there: --no-deps.
compose up -d --no-build --no-deps --no-recreate --scale worker=3 worker
for number in 1 2 3; do
    until_ok 30 podman healthcheck run "mec_worker_$number"
done
three_workers() { head ray status | grep -F '0.0/3.0 CPU'; }
until_ok 30 three_workers

say "without the token, with a wrong one, with the right one"
status() { inside curl -s -o "$work/last" -w '%{http_code}' "$@" "$dashboard/api/jobs/"; }
token=$(cat "$project/docker/secrets/ray_token")
[ "$(status)" = 401 ] || fail "the dashboard answers without a token"
[ "$(status -H "Authorization: Bearer x")" = 403 ] || fail "the dashboard takes any token"
[ "$(status -H "Authorization: Bearer $token")" = 200 ] || fail "the dashboard refuses the token"
stranger() { podman run --rm --network mec_ray "$@" ray start --address=head:6379; }
stranger "$image" > "$work/last" && fail "a worker without a token joins"
stranger -e RAY_AUTH_TOKEN=x "$image" > "$work/last" && fail "a worker with a wrong token joins"
echo "401, 403, 200; both workers are refused"

say "a run that is stopped"
run=$folder/hmppo-published-6ue.yaml
job submit --submission-id first --no-wait -- \
    rllib train file "$run" --address auto --storage-path /results > "$work/last"
sampled() { job logs first | grep -E '^[0-9,]{6,}/300,000 steps'; }
until_ok 60 sampled
job stop first > "$work/last"
job logs first | tail -n 3
job logs first | grep -q "stopped; to continue" || fail "the run was not asked to end"

say "gone on with, by the RayJob's entrypoint, submitted as KubeRay does"
entrypoint=$(python3 -c '
import sys, yaml
print(next(yaml.safe_load_all(open("docker/kuberay/rayjob.yaml")))["spec"]["entrypoint"])')
head bash -ce "ray job submit --address $dashboard --submission-id second -- $entrypoint ;" \
    > "$work/last"
job logs second | grep -E "resumed|^300,000/"
job status second | grep -F succeeded

say "a job that needs longer to end than Ray waits by default"
job submit --submission-id slow --no-wait -- sh -c \
    'trap : TERM; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1; done; touch /results/ended' > "$work/last"
sleep 4
job stop slow > "$work/last"
head test -e /results/ended || fail "it was killed"

say "well"
