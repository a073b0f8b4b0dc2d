"""docker/healthcheck.py against agents that are well, unwell or not there."""

import contextlib
import http.server
import subprocess
import sys
import threading

import pytest
from docker_files import DOCKER


@contextlib.contextmanager
def agent(status):
    """A server that answers as the agent of a node of Ray does; yields its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/api/healthz" else 404)
            self.end_headers()
            self.wfile.write(b"raylet: success")

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def run(port, **environment):
    return subprocess.run(
        [sys.executable, str(DOCKER / "healthcheck.py"), str(port)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_node_that_is_well():
    with agent(200) as port:
        result = run(port)
    assert (result.returncode, result.stdout) == (0, "raylet: success\n")


@pytest.mark.parametrize("status", [503, 404, 500])
def test_a_node_that_is_not(status):
    with agent(status) as port:
        result = run(port)
    assert result.returncode == 1
    assert str(status) in result.stdout


def test_no_node():
    with agent(200) as port:
        pass
    result = run(port)
    assert result.returncode == 1
    assert "refused" in result.stdout


def test_a_proxy_is_not_asked():
    with agent(200) as port:
        result = run(port, http_proxy="http://127.0.0.1:9")
    assert result.returncode == 0


def test_the_port_is_the_one_of_ray():
    from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT

    text = (DOCKER / "healthcheck.py").read_text(encoding="utf-8")
    assert f'DEFAULT_PORT = "{DEFAULT_DASHBOARD_AGENT_LISTEN_PORT}"' in text
