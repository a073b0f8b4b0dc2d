#!/usr/bin/env bash
# Executes docker/Dockerfile with buildah in a chroot, where no registry of images is in reach: on a
# stand-in for Ray's image, made of Debian 12 with the same Python, the same Ray from PyPI, and the
# same user with the same rights. Then looks at what was built.
#
#   apt-get install buildah debootstrap
#   WORK=DIR docker/check-build.sh [OPTIONS OF buildah build]        # as root; minutes, and 3 GB
#
# The options go to all builds: -v FILE:FILE:ro for pip's settings and certificates, say, or
# --build-arg TORCH_INDEX_URL= where torch comes from an index of one's own. WORK (default: a new
# directory) keeps the stand-in and the image, rllib-mec:check, for docker/check-cluster.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

work=${WORK:-$(mktemp -d)}
mkdir -p "$work"
export BUILDAH_ISOLATION=chroot
buildah=(buildah --root "$work/storage" --runroot "$work/run" --storage-driver overlay)
# HEALTHCHECK is Docker's, not OCI's.
build=("${buildah[@]}" build --format docker --layers "$@")
default() { sed -n "s/^ARG $1=//p" docker/Dockerfile; }
say() { printf '\n== %s\n' "$*"; }

standin=localhost/ray-stand-in:$(default RAY_VERSION)
image=localhost/rllib-mec:check

say "the stand-in for Ray's image: $standin"
if [ ! -e "$work/rootfs/etc/debian_version" ]; then
    packages=ca-certificates,iproute2,procps,python3,python3-venv,sudo,wget
    debootstrap --variant=minbase --include="$packages" bookworm "$work/rootfs" > "$work/debootstrap.log"
fi
"${build[@]}" --build-arg "RAY_VERSION=$(default RAY_VERSION)" -t "$standin" -f - "$work" <<'DOCKERFILE'
FROM scratch
COPY rootfs /
ENV PATH=/home/ray/anaconda3/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN useradd -ms /bin/bash -d /home/ray ray --uid 1000 --gid 100 \
    && usermod -aG sudo ray \
    && echo 'ray ALL=NOPASSWD: ALL' >> /etc/sudoers
USER 1000
ENV HOME=/home/ray
WORKDIR /home/ray
ARG RAY_VERSION
RUN python3 -m venv /home/ray/anaconda3 \
    && pip install --no-cache-dir --quiet "ray[default,rllib]==$RAY_VERSION"
DOCKERFILE

say "docker/Dockerfile: $image"
"${build[@]}" --build-arg "BASE_IMAGE=$standin" -t "$image" -f docker/Dockerfile .

say "what was built"
container=$("${buildah[@]}" from "$image")
trap '"${buildah[@]}" rm "$container" > "$work/last"' EXIT
run() { "${buildah[@]}" run "$container" -- "$@"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

run sh -c 'test -z "$(ls -A /tmp)" && test ! -e /home/ray/.cache && test ! -e /wheels' ||
    fail "something is left behind"
run rllib --version
run rllib list examples | grep hmppo-published-6ue.yaml
run python -c 'import torch; print("torch", torch.__version__); assert torch.version.cuda is None'
run python -c 'import pygame, optuna, matplotlib; print("extras are there")'
run sh -c 'id; touch /results/x && rm /results/x; test ! -w /opt/rllib_mec'
run sh -c '! id -nG | grep -qw sudo' || fail "its user is in the group sudo"
"${buildah[@]}" run --user 0 "$container" -- sh -c '! grep ^ray /etc/sudoers' ||
    fail "its user may become root"
run sh -c '! command -v gcc && ! command -v g++ && ! command -v make' || fail "there are build tools"
run sh -c 'ls -R /opt/rllib_mec | grep -c yaml'
"${buildah[@]}" inspect --type image --format '{{.Docker.Config.Healthcheck}}' "$image"
"${buildah[@]}" images --format '{{.Name}}:{{.Tag}} {{.Size}}' | grep -v none
say "well: WORK=$work"
