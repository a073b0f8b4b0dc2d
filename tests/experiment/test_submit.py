"""``rllib submit``: what is refused before anything is sent, what is sent, and how it ends."""

import contextlib
import http.server
import json
import os
import shlex
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest
from click.testing import CliRunner

import rllib_mec
from rllib_mec.cli import cli
from rllib_mec.errors import InputError
from rllib_mec.experiment import connection, storage, submit
from rllib_mec.experiment.spec import make
from rllib_mec.experiment.submit import Submission

FORM = {"run": "random", "env": "mec", "storage_path": "/shared/results"}

YAML = """
exp:
  run: random
  env: mec
  storage_path: /shared/results
"""


class FakeClient:
    """A job server of one job, whose log comes in pieces; a piece may be an exception."""

    def __init__(self, pieces=("some ", "lines\n"), status="SUCCEEDED", code=0, message=""):
        self.pieces, self.sent, self.asked = pieces, [], 0
        self.info = types.SimpleNamespace(status=status, driver_exit_code=code, message=message)
        self.folder = None

    def submit_job(self, *, entrypoint, runtime_env):
        folder = Path(runtime_env["working_dir"])
        self.folder = {str(file.relative_to(folder)) for file in folder.rglob("*.*")}
        self.sent.append((entrypoint, runtime_env))
        return "job_1"

    async def tail_job_logs(self, job):
        assert job == "job_1"
        for number, piece in enumerate(self.pieces):
            if isinstance(piece, BaseException):
                self.pieces = [*self.pieces[:number], *self.pieces[number + 1 :]]
                raise piece
            yield piece

    def get_job_info(self, job):
        if isinstance(self.info, BaseException):
            raise self.info
        running = any(isinstance(piece, BaseException) for piece in self.pieces)
        return types.SimpleNamespace(status="RUNNING") if running else self.info

    def get_job_logs(self, job):
        return "".join(self.pieces)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(submit, "SECONDS_BETWEEN_TRIES", 0.0)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "set by the client, and not to stay")
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.yaml").write_text(YAML)
    return Path("f.yaml")


def send(file, client, **submission):
    where = Submission(file, "http://head:8265", **submission)
    return submit.submit([make("exp", FORM)], where, lambda address: client)


def test_the_file_and_the_package_are_sent(file, capsys, monkeypatch):
    client = FakeClient()
    assert send(file, client, flags=["--seed", "3", "--name", "a b"]) == 0
    ((entrypoint, env),) = client.sent
    assert shlex.split(entrypoint) == [
        *["python", "-m", "rllib_mec.cli", "train", "file", "f.yaml"],
        *["--seed", "3", "--name", "a b"],
    ]
    assert client.folder == {"f.yaml"}
    assert env["py_modules"] == [str(Path(rllib_mec.__file__).parent)]
    assert env["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "300"}
    out = capsys.readouterr().out
    assert out.startswith("job job_1\n")
    assert "ray job logs --follow job_1 --address http://head:8265\n" in out
    assert "ray job stop job_1 --address http://head:8265\n" in out
    assert out.endswith("some lines\n")
    monkeypatch.setenv("RAY_JOB_STOP_WAIT_TIME_S", "20")
    assert send(file, client, package=False) == 0
    assert "py_modules" not in client.sent[1][1]
    assert client.sent[1][1]["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "20"}


def test_a_working_directory_is_sent_with_the_file_in_it(file, tmp_path):
    (tmp_path / "mine" / "runs").mkdir(parents=True)
    (tmp_path / "mine" / "runs" / "g.yaml").write_text(YAML)
    (tmp_path / "mine" / "own.py").write_text("")
    client = FakeClient()
    assert send(Path("mine/runs/g.yaml"), client, working_dir=Path("mine")) == 0
    assert client.folder == {"runs/g.yaml", "own.py"}
    assert client.sent[0][0].endswith(" train file runs/g.yaml")
    with pytest.raises(InputError, match=r"f.yaml: expected a file in --working-dir mine"):
        send(file, client, working_dir=Path("mine"))
    with pytest.raises(InputError, match="--working-dir none: expected a directory"):
        send(file, client, working_dir=Path("none"))


def test_modules_that_are_not_sent_are_missed_here(file, tmp_path, monkeypatch):
    """They are in the current directory, where ``rllib train`` would find them."""
    (tmp_path / "my_env.py").write_text("from rllib_mec.envs import make_env as Mine\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    experiments = [make("exp", {**FORM, "env": "my_env:Mine"})]
    client = FakeClient()
    where = Submission(file, "http://head:8265")
    with pytest.raises(InputError, match="cannot import 'my_env'"):
        submit.submit(experiments, where, lambda address: client)
    assert client.sent == []
    where = Submission(file, "http://head:8265", working_dir=tmp_path)
    assert submit.submit(experiments, where, lambda address: client) == 0
    assert client.folder >= {"f.yaml", "my_env.py"}


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        ({"status": "SUCCEEDED", "code": 0}, 0, ""),
        ({"status": "FAILED", "code": 2}, 2, ""),
        ({"status": "FAILED", "code": -9}, 137, ""),
        (
            {"status": "FAILED", "code": None, "message": "a\nruntime_env setup failed: no pip"},
            1,
            "job job_1 failed: runtime_env setup failed: no pip\n",
        ),
        ({"status": "STOPPED", "code": None}, 1, "job job_1 was stopped\n"),
    ],
)
def test_the_exit_code_is_the_jobs(answer, status, says, file, capsys):
    assert send(file, FakeClient(**answer)) == status
    assert capsys.readouterr().err == says


def test_a_broken_connection_is_taken_up_where_it_was(file, capsys):
    pieces = ["one\n", "two\n", ConnectionError(), "three\n", RuntimeError(), "four\n"]
    assert send(file, FakeClient(pieces)) == 0
    assert capsys.readouterr().out.endswith("one\ntwo\nthree\nfour\n")


def test_a_connection_that_stays_lost_is_told(file, capsys):
    client = FakeClient(pieces=[ConnectionError()])
    client.info = ConnectionError()
    assert send(file, client) == 1
    assert "the connection is lost; the job may go on: ray job logs" in capsys.readouterr().err


def test_ctrl_c_leaves_the_job_alone(file, capsys):
    assert send(file, FakeClient(["one\n", KeyboardInterrupt()])) == 130
    assert capsys.readouterr().err == (
        "\nthe job goes on; to stop it: ray job stop job_1 --address http://head:8265\n"
    )


def test_a_reader_that_has_gone_is_like_ctrl_c(file, monkeypatch, capsys):
    reading, writing = os.pipe()

    class Client(FakeClient):
        async def tail_job_logs(self, job):
            os.close(reading)  # as head does, when it has enough
            yield "one\n"

    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert send(file, Client()) == 130
        print("which nobody reads")
    assert "the job goes on" in capsys.readouterr().err


def test_not_waiting_is_no_reading(file, capsys):
    assert send(file, FakeClient(["one\n"], status="FAILED", code=1), wait=False) == 0
    assert "one" not in capsys.readouterr().out


def test_what_the_server_does_not_take_is_one_line(file):
    pytest.importorskip("requests")
    client = FakeClient()
    client.submit_job = lambda **_: (_ for _ in ()).throw(
        RuntimeError("Request failed with status code 400: Traceback…\n  ValueError: no such field")
    )
    with pytest.raises(InputError) as caught:
        send(file, client)
    assert str(caught.value) == "http://head:8265 does not take the job: ValueError: no such field"


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("results", True),
        ("./results", True),
        ("~/results", True),
        ("/shared/results", False),
        ("s3://bucket/results", False),
    ],
)
def test_results_below_the_jobs_directory_are_refused(path, refused, file):
    experiment = make("exp", {**FORM, "storage_path": path})
    with pytest.raises(InputError) if refused else contextlib.nullcontext() as caught:
        storage.check_before_job(experiment)
    if refused:
        assert str(caught.value) == (
            f"storage_path = {path!r}: a job's working directory is thrown away with the job: "
            "expected an absolute path that all nodes reach, or a URI; give --storage-path"
        )


def test_a_job_refuses_results_in_what_ray_unpacked(tmp_path, monkeypatch):
    folder = tmp_path / "session" / "runtime_resources" / "working_dir_files" / "pkg"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    here = make("exp", {**FORM, "storage_path": "results"})
    storage.check_in_job(here)  # no job
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(InputError, match="thrown away with the job"):
        storage.check_in_job(here)
    storage.check_in_job(make("exp", FORM))
    storage.check_in_job(make("exp", {**FORM, "storage_path": "s3://b/runtime_resources"}))


class _Server(http.server.BaseHTTPRequestHandler):
    """Answers every request in the same way."""

    status, body = 200, b""

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def answering():
    """Starts an HTTP server; returns its address."""
    with contextlib.ExitStack() as stack:

        def start(status, body):
            handler = type("Server", (_Server,), {"status": status, "body": body})
            server = stack.enter_context(http.server.HTTPServer(("127.0.0.1", 0), handler))
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            return f"http://127.0.0.1:{server.server_port}"

        yield start


def version(number):
    return json.dumps({"version": "4", "ray_version": number}).encode()


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, version("2.9.0"), "runs Ray 2.9.0: expected 2."),
        (401, b"Unauthorized", "it wants a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PA"),
        (404, b"", "no Ray at http://127.0.0.1:"),
        (200, b"<html>", "no Ray at http://127.0.0.1:"),
        (500, b"", "no Ray at http://127.0.0.1:"),
    ],
)
def test_a_server_that_is_not_the_right_one_is_one_line(status, body, message, answering, refusal):
    assert message in refusal(answering(status, body))


ASKING = """
import json, sys
from rllib_mec.errors import InputError
from rllib_mec.experiment import submit

for line in sys.stdin:
    try:
        submit.connected(line.strip())
        print("null", flush=True)
    except InputError as error:
        print(json.dumps(str(error)), flush=True)
"""


@pytest.fixture(scope="module")
def refusal(tmp_path_factory):
    """Returns a function that gives the error at an address, in a process that knows of no token.

    In this one, a Ray that was started before has decided whether there are tokens.
    """
    pytest.importorskip("aiohttp")
    env = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    home = str(tmp_path_factory.mktemp("home"))
    asking = subprocess.Popen(
        [sys.executable, "-c", ASKING],
        env={**env, "HOME": home},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(address):
        print(address, file=asking.stdin, flush=True)
        return json.loads(asking.stdout.readline())

    yield ask
    asking.communicate(timeout=60)


def test_an_address_where_nobody_is_is_one_line(refusal):
    nobody = refusal("http://127.0.0.1:1")
    assert "no Ray at http://127.0.0.1:1: nobody answers" in nobody
    assert "--address head:6379: expected that of the cluster's das" in refusal("head:6379")


def test_tokens_are_named_as_ray_looks_for_them(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(InputError, match=f"there is no token in {tmp_path}/none"):
        connection.check_token("http://head:8265")
    (tmp_path / "none").write_text("a" * 32)
    connection.check_token("http://head:8265")
    assert str(connection.refused("http://head:8265")) == (
        f"no access to Ray at http://head:8265: the token in {tmp_path}/none is not the cluster's"
    )


def test_the_command_passes_on_what_was_typed(file, monkeypatch):
    sent = []
    monkeypatch.setattr(submit, "submit", lambda *arguments: sent.append(arguments) or 0)
    typed = ["submit", "f.yaml", "--address", "http://head:8265/", "--seed", "3", "--no-wait"]
    typed += ["--no-checkpoint-at-end", "--resume", "-v", "--name", "other", "--no-package"]
    done = CliRunner().invoke(cli, typed, obj=typed, standalone_mode=False)
    assert done.exception is None
    (((experiment,), submission),) = sent
    assert (experiment.name, experiment.form.config) == ("other", {"seed": 3})
    assert submission == Submission(
        Path("f.yaml"),
        "http://head:8265",
        ["--seed", "3", "--no-checkpoint-at-end", "--resume", "-v", "--name", "other"],
        package=False,
        wait=False,
        resume_command="rllib " + shlex.join(typed),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["f.yaml"], "Missing option '--address'"),
        (["f.yaml", "--address", "http://127.0.0.1:1", "--num-cpus", "3"], "No such option"),
        (["g.yaml", "--address", "http://127.0.0.1:1"], "cannot read g.yaml"),
        (["f.yaml", "--address", "http://127.0.0.1:1", "--storage-path", "r"], "thrown away"),
        (
            ["f.yaml", "--address", "http://127.0.0.1:1", "--restore", "a/b"],
            "--restore a/b: expected an absolute path",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(arguments, message, file, capsys):
    from rllib_mec.cli import main

    with pytest.raises(SystemExit) as caught:
        main(["submit", *arguments])
    err = capsys.readouterr().err
    assert caught.value.code == 2
    assert message in err
    assert err.count("\n") == 1
