"""What all tests share: one local Ray for those that start algorithms, and the command line."""

import logging
import os
import shutil
import tempfile

import pytest

# Before torch is imported, and for all that is started here: threads of networks this small mostly
# wait for each other, and beside other busy processes that takes ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray's workers otherwise let all other processes go first, the tests of the other process among
# them, and are what most tests wait for.
os.environ.setdefault("RAY_worker_niceness", "0")


def pytest_itemcollected(item):
    """Says which tests share a process: those that share a Ray, and those of a file."""
    group = "ray" if _shares_ray(item) else item.nodeid.partition("::")[0]
    item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """What takes longest comes first: those that share a Ray in one process, those that start one
    of their own in the other.
    """
    items.sort(key=lambda item: (not _shares_ray(item), item.get_closest_marker("ray") is None))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Ends the shared Ray after the last that shares it: others are to find none."""
    if _shares_ray(item) and not _shares_ray(nextitem):
        import ray

        ray.shutdown()


def _shares_ray(item):
    return "ray_session" in getattr(item, "fixturenames", ())


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


@pytest.fixture
def rllib(capsys):
    """Returns a function that runs the command in this process: its status, output and errors.

    The command sets environment variables and log levels, as it owns its process.
    """
    from rllib_mec import cli

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    before = dict(os.environ)
    levels = {name: logging.getLogger(name).level for name in ("ray", "ray.rllib", "ray.tune")}
    yield run
    os.environ.clear()
    os.environ.update(before)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
