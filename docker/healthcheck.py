"""Exits with 0 if the node of Ray in this container is well, with 1 if it is not.

Asks the agent that runs on every node: on a head it answers for its raylet and for the GCS, on a
worker for its raylet. It needs no token. The agent's port, 52365 if ``ray start`` was not given
``--dashboard-agent-listen-port``, may be named as the only argument.
"""

import sys
import urllib.request

DEFAULT_PORT = "52365"
TIMEOUT_S = 8


def main() -> int:
    """Returns the exit status."""
    port = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_PORT
    # A proxy that the environment names is none for this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/api/healthz", timeout=TIMEOUT_S) as answer:
            print(answer.read().decode(errors="replace"))
    except OSError as error:  # nobody listens, no answer in time, or 503 with what is wrong
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
