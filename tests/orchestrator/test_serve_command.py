"""``rllib serve``: a server of its own, loaded from another process, and what it refuses."""

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from random_policies import policy_of

from rllib_mec.envs import BatchedMECEnv
from rllib_mec.errors import InputError
from rllib_mec.experiment.environments import scenario
from rllib_mec.experiment.export.write import About, write_policy
from rllib_mec.experiment.serving.command import _any_port, read_token
from rllib_mec.orchestrator import Orchestrator
from rllib_mec.orchestrator.front import Limits
from rllib_mec.orchestrator.mec import states_of_mec

ROOT = Path(__file__).parents[2]
FIELD = {"scenario": "field", "num_ues": 3}
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    policy = policy_of("HMPPO", "mec", FIELD, entity_shared=True, case_head="autoregressive")
    directory = tmp_path_factory.mktemp("serve") / "exported"
    about = About("HMPPO", {"name": "mec", "config": FIELD}, scenario("mec", FIELD))
    write_policy(policy, about, directory)
    return directory


@pytest.fixture(scope="module")
def states():
    env = BatchedMECEnv(FIELD, 20)
    env.reset(4)
    return states_of_mec(env.simulator)


@pytest.fixture(scope="module")
def token_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(f"{TOKEN}\n")
    return file


class Server:
    """The command in a process of its own."""

    def __init__(self, *arguments):
        command = [sys.executable, "-m", "rllib_mec.cli", "serve", *map(str, arguments)]
        left_out = ("RAY_ADDRESS", "RAY_worker_niceness")
        env = {key: value for key, value in os.environ.items() if key not in left_out}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
        )
        self.line = self.process.stdout.readline()
        self.url = self.line.split(" at ")[-1].split()[0] if self.line else None

    def ask(self, path, body=None, **headers):
        """The status, body and headers of an answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": "application/json",
            **headers,
        }
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers

    def end(self):
        self.process.send_signal(signal.SIGINT)
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, output, errors


@pytest.fixture(scope="module")
def server(directory, token_file):
    started = Server(directory, "--port", 0, "--token-file", token_file, "--max-body", 100_000)
    yield started
    if started.process.poll() is None:
        started.end()


def titles_below(pid):
    """The command lines of a process's descendants, by their ids (Linux)."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    below, found = [pid], {}
    while below:
        parent = below.pop()
        for child in [own for own, its in parents.items() if its == parent]:
            below.append(child)
            with contextlib.suppress(OSError):
                found[child] = Path(f"/proc/{child}/cmdline").read_text()
    return found


@pytest.mark.ray
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are read from /proc")
def test_other_processes_do_not_go_first(server):
    """Ray's workers otherwise wait for whatever else wants the processor."""
    titles = titles_below(server.process.pid)
    answering = [pid for pid, title in titles.items() if "ServeReplica" in title]
    assert answering
    for pid in answering:
        assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.ray
def test_decisions_are_the_policys(server, directory, states):
    assert re.fullmatch(
        rf"serving {directory} at http://127.0.0.1:\d+ with the token: .*\n", server.line
    )
    orchestrator = Orchestrator(directory)
    for state in states:
        status, body, headers = server.ask("/decide", state)
        assert (status, headers["content-type"]) == (200, "application/json")
        for ours, theirs in zip(
            json.loads(body)["ues"], orchestrator.decide(state)["ues"], strict=True
        ):
            assert ours == {
                name: pytest.approx(value, abs=1e-5) if isinstance(value, float) else value
                for name, value in theirs.items()
            }


@pytest.mark.ray
def test_health_schema_metrics_and_token(server, directory, states):
    assert server.ask("/health", Authorization="")[:2] == (200, b'{"status": "ok"}')
    assert json.loads(server.ask("/schema")[1]) == Orchestrator(directory).schema()
    server.ask("/decide", states[0])
    metrics = server.ask("/metrics")[1].decode()
    assert re.search(r'rllib_requests_total\{path="/decide",status="200"\} \d+', metrics)
    status, body, headers = server.ask("/decide", states[0], Authorization="Bearer wrong")
    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    assert json.loads(body)["error"]["status"] == 401
    assert server.ask("/decide", [0] * 100_000)[0] == 413


@pytest.mark.ray
def test_load_from_another_process(server, directory, token_file):
    """Right decisions for all valid states, 4xx for all else, web sockets and no HTTP among it."""
    load = subprocess.run(
        [
            *(sys.executable, "tests/benchmarks/serving.py", directory, "--url", server.url),
            *("--token-file", token_file, "--seconds", "3", "--rate", "40", "--malformed", "0.5"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert load.returncode == 0, load.stderr
    report = json.loads(load.stdout)
    assert report["wrong"] == 0
    kinds = {status.split()[0] for status in report["statuses"]}
    assert kinds == {"well-formed", "malformed"}
    assert not [status for status in report["statuses"] if status.split()[1].startswith("5")]
    assert set(report["latency_ms"]) == {"p50", "p90", "p95", "p99", "p99.9", "p100"}


@pytest.mark.ray
def test_ctrl_c_ends_it(server):
    """The last of these tests: the server is gone afterwards."""
    status, output, errors = server.end()
    assert status == 0
    assert output == ""
    assert "Traceback" not in errors
    host, port = server.url.removeprefix("http://").split(":")
    with pytest.raises(OSError), socket.create_connection((host, int(port)), 5):  # noqa: PT011
        pass


def test_what_waits_is_decided_together(directory, states, monkeypatch):
    from ray import serve

    from rllib_mec.experiment.serving.deployment import Served

    # All that Serve asks a replica for here is how many requests it takes at a time.
    replica = SimpleNamespace(_deployment_config=SimpleNamespace(max_ongoing_requests=1000))
    monkeypatch.setattr(serve, "get_replica_context", lambda: replica)
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    served = Served(files, Limits(), None)
    checked = [Orchestrator(directory).check(state) for state in states]

    async def all_at_once():
        return await asyncio.gather(*(served._decide(state) for state in checked))

    decided = asyncio.run(all_at_once())
    assert len(decided) == len(states)
    batches = served._front.metrics.batches
    assert batches.sum == len(states)
    assert sum(batches.counts) < len(states) / 2


def test_any_port_is_none_that_systems_give_away():
    """Ray's processes ask the system for ports between the choice of this one and its use."""
    for port in {_any_port("127.0.0.1") for _ in range(20)}:
        assert 20_000 <= port < 32_000
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    with pytest.raises(InputError, match=r"--host 192\.0\.2\.1 --port"):
        _any_port("192.0.2.1")


def test_bad_arguments_are_one_line(rllib, directory, tmp_path, monkeypatch):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "two").write_text("one two")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cases = [
            ((tmp_path / "none",), "expected a directory of rllib export"),
            ((directory, "--port", port), f"--port {port}: Address already in use"),
            ((directory, "--port", 70000), "--port"),
            ((directory, "--host", "0.0.0.0"), "--host 0.0.0.0: expected a token with it"),
            ((directory, "--token-file", tmp_path / "none"), "none: No such file"),
            ((directory, "--token-file", tmp_path / "empty"), "empty: expected a line"),
            ((directory, "--token-file", tmp_path / "two"), "two: expected a line"),
            ((directory, "--rate", 0), "--rate"),
            ((directory, "--rate", "nan"), "--rate nan: expected a number > 0"),
            ((directory, "--rate", "inf"), "--rate inf: expected a number > 0"),
            ((directory, "--address", "auto", "--port", 0), "--port 0: expected a number with"),
            ((directory, "--address", "127.0.0.1:1"), "no Ray at 127.0.0.1:1"),
        ]
        for arguments, expected in cases:
            status, output, errors = rllib("serve", *arguments)
            assert (status, output) == (2, ""), arguments
            assert expected in errors
            assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("given", ["secret\n", "secret\r\n", " secret"])
def test_a_token_of_the_environment_is_read_as_one_of_a_file(monkeypatch, tmp_path, given):
    monkeypatch.setenv("RLLIB_SERVE_TOKEN", given)
    (tmp_path / "token").write_text(given)
    assert read_token(None) == read_token(tmp_path / "token") == "secret"


@pytest.mark.parametrize("given", ["", "  ", "two words", "na\u00efve"])
def test_what_is_no_token_is_refused_from_the_environment_too(monkeypatch, given):
    monkeypatch.setenv("RLLIB_SERVE_TOKEN", given)
    with pytest.raises(InputError, match="RLLIB_SERVE_TOKEN: expected a line of letters"):
        read_token(None)


def test_missing_libraries_are_one_line(rllib, directory, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "fastapi" else found(name, *a)
    )
    status, _, errors = rllib("serve", directory)
    assert status == 2
    assert errors == "error: rllib serve needs fastapi: pip install 'rllib_mec[serve]'\n"
