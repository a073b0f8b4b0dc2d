"""What all tests share: one local Ray for those that start algorithms."""

import os
import shutil
import tempfile

import pytest

# Before torch is imported, and for all that is started here: threads of networks this small mostly
# wait for each other, and beside other busy processes that takes ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Tests that share this process's Ray come last: the others may want to start their own."""
    items.sort(key=lambda item: "ray_session" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def ray_session():
    """One Ray for the whole session, with four logical CPUs and a directory of its own."""
    import ray

    from rllib_mec.registry import register

    # Not tmp_path: the path of a Unix socket, which Ray puts in there, must be short.
    directory = tempfile.mkdtemp(prefix="mec-")
    ray.init(
        address="local",
        include_dashboard=False,
        num_cpus=4,
        log_to_driver=False,
        logging_level="error",
        _temp_dir=directory,
    )
    register()
    yield
    ray.shutdown()
    shutil.rmtree(directory, ignore_errors=True)
