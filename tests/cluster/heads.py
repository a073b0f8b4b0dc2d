"""Ray clusters on this machine, as an operator starts them: ``ray start``, dashboard, job server.

Every process is started here, on ports of its own, and ended by its process id.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import ray
from ray.autoscaler._private.monitor import BASE_READONLY_CONFIG

import psutil  # isort: skip which Ray brings along

ROOT = Path(__file__).parents[2]
"""The repository: the directory that holds the package."""

_SECONDS_TO_START = 120


def free_ports(count: int) -> list[int]:
    """Returns ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns this process's environment without what an operator's would not have."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("RAY_") and key not in ("PYTHONPATH", "OMP_NUM_THREADS")
    }
    folder = str(Path(sys.executable).parent)
    kept["PATH"] = f"{folder}{os.pathsep}{kept.get('PATH', '')}"
    # Ray's default of the mode changes between releases, and between head, node and client.
    return {**kept, "RAY_AUTH_MODE": "disabled", **(extra or {})}


class Node:
    """One ``ray start --block``: a raylet and, on the head, GCS and the dashboard."""

    def __init__(self, arguments: list[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *arguments],
                env=env,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._seen: dict[int, psutil.Process] = {}

    def processes(self) -> list[psutil.Process]:
        """Returns the node's processes, workers included; those of before, too, if they live."""
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.process.pid)
            for each in (own, *own.children(recursive=True)):
                self._seen[each.pid] = each
        return [each for each in self._seen.values() if each.is_running()]

    def wait(self) -> None:
        """Returns once the node is a member of its cluster."""
        deadline = time.monotonic() + _SECONDS_TO_START
        while "Ray runtime started" not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no node:\n{self.log.read_text()}")
            time.sleep(0.2)

    def kill(self) -> None:
        """Ends the node as a power cut does: everything at once, without a word."""
        for each in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ends the node; what has not gone after a while is killed."""
        everything = self.processes()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(everything, timeout=15)
        for each in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait()


class Head:
    """A cluster of its own, with the addresses that commands want.

    Args:
        num_cpus: of the head node.
        env: of all nodes, besides what this process has.
        grows: whether an autoscaler adds nodes of 2 CPUs.
    """

    def __init__(
        self, num_cpus: int, env: Mapping[str, str] | None = None, grows: bool = False
    ) -> None:
        # Not pytest's tmp_path: the path of a Unix socket, which Ray puts in there, must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="mec-"))
        self.env = clean_environment(env)
        self.nodes: list[Node] = []
        gcs, dashboard, client = free_ports(3)
        self.address = f"127.0.0.1:{gcs}"
        self.dashboard = f"http://127.0.0.1:{dashboard}"
        options = self._autoscaler(num_cpus, gcs) if grows else []
        try:
            self._start(
                "--head",
                f"--port={gcs}",
                "--dashboard-host=127.0.0.1",
                f"--dashboard-port={dashboard}",
                f"--ray-client-server-port={client}",
                f"--num-cpus={num_cpus}",
                *options,
            )
            self._wait_for_jobs()
        except BaseException:
            self.stop()
            raise

    def add(
        self, num_cpus: int, *options: str, env: Mapping[str, str] | None = None, wait: bool = True
    ) -> Node:
        """Starts a worker node; with ``wait``, returns once it has joined."""
        node = self._start(f"--address={self.address}", f"--num-cpus={num_cpus}", *options, env=env)
        if wait:
            node.wait()
        return node

    def run(
        self,
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Runs Python with ``arguments`` in the cluster's environment, and waits for its end."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd or self.folder,
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def rllib(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Runs the command line of this repository's package, as on a user's own machine."""
        env = {"PYTHONPATH": str(ROOT), **(options.pop("env", None) or {})}
        return self.run("-m", "rllib_mec.cli", *arguments, env=env, **options)

    def stop(self) -> None:
        """Ends all nodes, the head last, and removes their files."""
        for node in reversed(self.nodes):
            node.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Node:
        agent, grpc, metrics, runtime_env = map(str, free_ports(4))
        node = Node(
            [
                *arguments,
                # Nodes that shared a folder would unpack a job's working directory anew below
                # each other's feet.
                f"--temp-dir={self.folder}/{len(self.nodes)}",
                "--node-ip-address=127.0.0.1",
                "--num-gpus=0",
                "--object-store-memory=200000000",
                "--min-worker-port=0",
                "--max-worker-port=0",
                f"--dashboard-agent-listen-port={agent}",
                f"--dashboard-agent-grpc-port={grpc}",
                f"--metrics-export-port={metrics}",
                f"--runtime-env-agent-port={runtime_env}",
                "--disable-usage-stats",
            ],
            {**self.env, **(env or {})},
            self.folder / f"node{len(self.nodes)}.log",
        )
        self.nodes.append(node)
        return node

    def _autoscaler(self, num_cpus: int, gcs: int) -> list[str]:
        """Sets up the one that Ray tests itself with, which starts nodes on this machine."""
        self.env |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        provider = {
            "type": "fake_multinode",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": f"{ray.util.get_node_ip_address()}:{gcs}",
        }
        worker = {"resources": {"CPU": 2}, "min_workers": 0, "max_workers": 3, "node_config": {}}
        head = {"resources": {"CPU": num_cpus}, "max_workers": 0, "node_config": {}}
        config = BASE_READONLY_CONFIG | {
            "max_workers": 3,
            "provider": provider,
            "available_node_types": {"ray.head.default": head, "worker": worker},
            "idle_timeout_minutes": 5.0,
        }
        file = self.folder / "autoscaler.json"
        file.write_text(json.dumps(config))
        return [f"--autoscaling-config={file}"]

    def _wait_for_jobs(self) -> None:
        """Waits until the job server answers, by whatever status."""
        self.nodes[0].wait()
        deadline = time.monotonic() + _SECONDS_TO_START
        while True:
            try:
                urllib.request.urlopen(f"{self.dashboard}/api/version", timeout=5).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


@contextlib.contextmanager
def head(
    num_cpus: int, env: Mapping[str, str] | None = None, grows: bool = False
) -> Iterator[Head]:
    """Starts a :class:`Head` for a ``with`` block."""
    started = Head(num_cpus, env, grows)
    try:
        yield started
    finally:
        started.stop()
