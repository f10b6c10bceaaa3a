"""The same tasks on a Dask cluster: a scheduler and two worker processes on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fnbench.errors import InvalidSettingError, MissingDependencyError, OutputError
from fnbench.evaluate import ModelRecipe, evaluate
from fnbench.render.groundtruth import render_dataset
from fnbench.render.parts import parts_folder
from fnbench.render.plan import Plan
from fnbench.scale import outcomes
from fnbench.store import Store, verify_store
from tests.toy_adapters import Spheres, write_captures

REPOSITORY = Path(__file__).resolve().parent.parent
PLAN = Plan(size=32)

needs_dask = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("distributed") is None, reason="needs Dask, the extra cluster"
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@dataclass
class Cluster:
    """A running cluster: its address, and its worker processes."""

    address: str
    workers: list[subprocess.Popen[bytes]]


def _dask(command: str, *arguments: str) -> subprocess.Popen[bytes]:
    # the client's side alone talks to loopback; no dashboard, no nanny that would start a killed worker again
    code = f"from distributed.cli.dask_{command} import main; main()"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=REPOSITORY, env=environment, **quiet)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    file = tmp_path / "scheduler.json"
    common = ("--scheduler-file", str(file), "--no-dashboard")
    scheduler = _dask("scheduler", "--host", "127.0.0.1", "--port", "0", *common)
    alone = ("--no-nanny", "--nthreads", "1", "--host", "127.0.0.1", "--local-directory", str(tmp_path))
    workers = [_dask("worker", *common, *alone) for _ in range(2)]
    try:
        yield Cluster(_address(file, scheduler), workers)
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait(30)


def _address(file: Path, scheduler: subprocess.Popen[bytes]) -> str:
    import json

    patience = time.monotonic() + 120
    while time.monotonic() < patience and scheduler.poll() is None:
        if file.is_file() and file.read_text().endswith("}"):
            address: str = json.loads(file.read_text())["address"]
            if _worker_count(address) == 2:
                return address
        time.sleep(0.1)
    raise AssertionError("the cluster did not come up")


def _worker_count(address: str) -> int:
    from distributed import Client

    with Client(address, timeout=30, set_as_default=False) as client:
        return len(client.nthreads())


@pytest.mark.slow
@needs_dask
def test_a_lost_worker_costs_nothing(tmp_path, cluster):
    """Starts three Python processes and loads Dask in each: the price of a real cluster, some ten seconds."""
    ids = [f"s{index:02d}/a" for index in range(24)]
    root = write_captures(tmp_path / "root", [f"{name} slow 0.15" for name in ids])
    out, whole = tmp_path / "f.h5", tmp_path / "whole.h5"
    seen = []

    def kill_one_in_the_middle(progress):
        seen.append(progress.done)
        if progress.done == 8:
            cluster.workers[0].kill()

    report = render_dataset(Spheres(root), out, PLAN, scheduler=cluster.address, progress=kill_one_in_the_middle)
    assert report.ok, report.failed
    assert report.written == tuple(ids)
    assert cluster.workers[0].wait(30) == -9
    assert cluster.workers[1].poll() is None
    render_dataset(Spheres(write_captures(tmp_path / "root2", ids)), whole, PLAN)
    assert Store(out).attributes == Store(whole).attributes
    assert verify_store(out).ok

    write_captures(root, [*ids, "t00/a fail", "t01/a"])  # and failures travel back
    report = render_dataset(Spheres(root), out, PLAN, scheduler=cluster.address)
    assert (len(report.skipped), report.written) == (24, ("t01/a",))
    assert report.failed == {"t00/a": "t00/a: the file is truncated; copy it again."}
    assert parts_folder(out).is_dir()

    with Store(out) as rendered:  # an evaluation runs on what is left of the cluster, to the same bits
        recipe = ModelRecipe("frontal")
        here = evaluate(recipe, rendered, split=rendered.splits[0])
        there = evaluate(
            recipe, rendered, split=rendered.splits[0], batch=2, scheduler=cluster.address, scratch=tmp_path
        )
    assert there.metrics == here.metrics
    assert there.breakdowns == here.breakdowns
    assert not list(tmp_path.glob(".fnbench-errors-*"))

    with pytest.raises(OutputError, match="not visible from tcp://127"):
        list(outcomes(len, ["a"], scheduler=cluster.address, shared=str(tmp_path / "elsewhere")))


@needs_dask
def test_no_scheduler_at_an_address_is_one_clear_line(monkeypatch):
    monkeypatch.setattr("fnbench.scale._PATIENCE", 1)
    with pytest.raises(InvalidSettingError, match=r"tcp://127\.0\.0\.1:1: no Dask scheduler answers"):
        list(outcomes(len, ["a"], scheduler="tcp://127.0.0.1:1"))
    with pytest.raises(InvalidSettingError, match="expected an address like tcp://host:8786"):
        list(outcomes(len, ["a"], scheduler="not an address"))


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'fnbench\[cluster\]'"):
        list(outcomes(len, ["a"], scheduler="tcp://127.0.0.1:1"))
