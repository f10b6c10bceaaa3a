"""A run can be stopped in any way, and goes on to the same file."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fnbench.errors import InvalidDataError, OutputError, UnknownNameError
from fnbench.render.groundtruth import render_dataset
from fnbench.render.parts import locked, part_path, parts_folder
from fnbench.render.plan import Plan
from fnbench.store import Store, verify_store
from tests.toy_adapters import Spheres, write_captures

REPOSITORY = Path(__file__).resolve().parent.parent
PLAN = Plan(size=32)
IDS = [f"s{index:02d}/a" for index in range(30)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_captures(tmp_path / "root", IDS[:6])


def command(root: Path, out: Path, *options: str) -> list[str]:
    verb = [sys.executable, "-m", "fnbench", "render-gt", "tests/toy_adapters.py:Spheres"]
    return [*verb, "--root", str(root), "--out", str(out), "--size", "32", *options]


def run(root: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(root, out, *options), cwd=REPOSITORY, capture_output=True, text=True, timeout=300)


def test_a_run_writes_every_capture_in_order_and_leaves_only_the_file(root):
    out = root.parent / "f.h5"
    report = render_dataset(Spheres(root), out, PLAN)
    assert report.ok
    assert report.written == tuple(IDS[:6])
    assert Store(out).captures == [name for name in IDS[:6] for _ in range(2)]
    assert verify_store(out).ok
    assert sorted(path.name for path in root.parent.iterdir()) == ["f.h5", "root"]


def test_workers_give_the_same_file_as_one_process(root):
    one, two = root.parent / "one.h5", root.parent / "two.h5"
    render_dataset(Spheres(root), one, PLAN)
    report = render_dataset(Spheres(root), two, PLAN, workers=2)
    assert report.ok
    assert Store(two).attributes == Store(one).attributes
    assert Store(two).ids == Store(one).ids


def test_a_second_run_skips_what_is_there_and_adds_what_is_new(root):
    out = root.parent / "f.h5"
    assert render_dataset(Spheres(root), out, PLAN, limit=2).samples == 4
    report = render_dataset(Spheres(root), out, PLAN)
    assert (report.skipped, report.written) == (tuple(IDS[:2]), tuple(IDS[2:6]))
    fresh = root.parent / "fresh.h5"
    render_dataset(Spheres(root), fresh, PLAN)
    assert Store(out).attributes == Store(fresh).attributes
    before = out.stat().st_mtime_ns
    assert render_dataset(Spheres(root), out, PLAN).written == ()
    assert out.stat().st_mtime_ns == before


def test_the_file_says_how_much_of_the_dataset_it_holds(root):
    out = root.parent / "f.h5"
    render_dataset(Spheres(root), out, PLAN, limit=2)
    assert json.loads(Store(out).attributes["selection"]) == {"captures": 6, "written": 2, "failed": []}


def test_samples_selects_by_pattern_and_an_unknown_one_is_named(root):
    out = root.parent / "f.h5"
    report = render_dataset(Spheres(root), out, PLAN, samples=["s01/*", "s04/a"])
    assert report.written == ("s01/a", "s04/a")
    with pytest.raises(UnknownNameError, match=r"No capture matches 'x\*'; there are 6, for example s00/a"):
        render_dataset(Spheres(root), out, PLAN, samples=["x*"])


def test_a_dry_run_touches_nothing(root):
    out = root.parent / "f.h5"
    report = render_dataset(Spheres(root), out, PLAN, dry_run=True)
    assert report.pending == tuple(IDS[:6])
    assert report.summary() == f"{out}: dry run, 6 captures to render, 0 already done"
    assert [path.name for path in root.parent.iterdir()] == ["root"]


def test_fm52_other_settings_are_refused_and_both_are_shown(root):
    out = root.parent / "f.h5"
    render_dataset(Spheres(root), out, PLAN)
    before = out.read_bytes()
    with pytest.raises(OutputError, match=r"settings\.size: 32 there, 16 now") as caught:
        render_dataset(Spheres(root), out, Plan(size=16))
    assert caught.value.code == "FM-52"
    assert out.read_bytes() == before
    assert render_dataset(Spheres(root), out, Plan(size=16), resume=False).ok
    assert Store(out).size == (16, 16)


def test_fm52_parts_of_other_settings_are_refused_too(root):
    out = root.parent / "f.h5"
    write_captures(root, [*IDS[:2], f"{IDS[2]} fail"])
    render_dataset(Spheres(root), out, PLAN)
    out.unlink()
    with pytest.raises(OutputError, match=r"f\.h5\.parts: made with other settings \(settings\.seed: 0 there, 1 now\)"):
        render_dataset(Spheres(root), out, Plan(size=32, seed=1))


def test_something_else_under_the_output_name_is_not_overwritten(root):
    out = root.parent / "f.h5"
    out.write_text("my notes")
    with pytest.raises(OutputError, match="found a file that begins with"):
        render_dataset(Spheres(root), out, PLAN)
    assert out.read_text() == "my notes"


def test_fm44_odd_paths_and_ids_work_and_stay_in_their_folder(tmp_path):
    ids = ["../../above", "con", "ä/人脸", "x" * 200, "y:z*?"]
    root = write_captures(tmp_path / "Größe mit Leerzeichen 人", ids)
    out = root / "truth [1].h5"
    assert {part_path(parts_folder(out), name).parent for name in ids} == {parts_folder(out)}
    report = render_dataset(Spheres(root), out, PLAN, workers=2)
    assert report.ok, report.failed
    assert set(Store(out).captures) == set(ids)
    assert sorted(path.name for path in root.iterdir()) == ["captures.txt", "truth [1].h5"]


def test_the_verb_takes_a_plan_file_and_options_over_it(root):
    (root / "plan.toml").write_text("size = 16\nseed = 5\n")
    out = root.parent / "f.h5"
    done = run(root, out, "--plan", str(root / "plan.toml"), "--yaw", "-10,10")
    assert done.returncode == 0, done.stderr
    settings = Store(out).attributes["settings"]
    assert (settings["size"], settings["seed"]) == (32, 5)  # run() gives --size 32
    assert settings["views"] == [[-10.0, 0.0], [10.0, 0.0]]
    refused = run(root, out, "--yaw", "ten")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "expected numbers with commas" in refused.stderr


# Failures


def test_a_failed_capture_is_named_and_the_others_are_written(root):
    out = root.parent / "f.h5"
    write_captures(root, [*IDS[:3], f"{IDS[3]} fail", f"{IDS[4]} bug"])
    report = render_dataset(Spheres(root), out, PLAN)
    assert not report.ok
    assert report.failed["s03/a"] == "s03/a: the file is truncated; copy it again."
    assert "ZeroDivisionError: a bug" in report.failed["s04/a"]
    assert "3 written, 0 skipped, 2 failed (s03/a, s04/a)" in report.summary()
    assert "test" in Store(out).splits
    (trace,) = parts_folder(out).glob("*.failed.txt")
    assert "raise ZeroDivisionError" in trace.read_text()
    write_captures(root, IDS[:5])
    again = render_dataset(Spheres(root), out, PLAN)
    assert (len(again.skipped), again.written) == (3, ("s03/a", "s04/a"))
    assert not parts_folder(out).exists()


def test_strict_stops_at_the_first_failure(root):
    out = root.parent / "f.h5"
    write_captures(root, [f"{IDS[0]} fail", *IDS[1:3]])
    with pytest.raises(InvalidDataError, match="truncated"):
        render_dataset(Spheres(root), out, PLAN, strict=True)
    assert not out.exists()


def test_when_everything_fails_there_is_no_file(root):
    out = root.parent / "f.h5"
    write_captures(root, [f"{IDS[0]} fail"])
    report = render_dataset(Spheres(root), out, PLAN)
    assert report.summary().startswith(f"{out}: not written, there is nothing to write; captures: 0 written")
    assert not out.exists()


def test_fm24_a_capture_with_an_empty_mask_fails_alone(root):
    write_captures(root, [IDS[0], f"{IDS[1]} empty"])
    report = render_dataset(Spheres(root), root.parent / "f.h5", PLAN)
    assert list(report.failed) == ["s01/a"]
    assert "mask of the measured normals is empty" in report.failed["s01/a"]


def test_the_verb_says_who_failed_and_exits_with_1(root):
    write_captures(root, [IDS[0], f"{IDS[1]} fail"])
    done = run(root, root.parent / "f.h5")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "failed: s01/a: the file is truncated; copy it again."
    assert "captures: 1 written, 0 skipped, 1 failed (s01/a)" in lines[-1]
    assert "\r" not in done.stderr  # no terminal, plain lines
    assert "2/2 captures, 1 failed" in done.stderr


def test_a_run_in_which_everything_fails_is_bad_input(root):
    write_captures(root, [f"{IDS[0]} fail"])
    done = run(root, root.parent / "f.h5")
    assert done.returncode == 2
    assert "not written, there is nothing to write" in done.stdout
    assert not (root.parent / "f.h5").exists()


def test_a_worker_that_dies_once_costs_nothing_and_one_that_always_dies_only_its_capture(root):
    write_captures(root, [*IDS[:4], f"{IDS[4]} die-once", f"{IDS[5]} die", *IDS[6:9]])
    out = root.parent / "f.h5"
    report = render_dataset(Spheres(root), out, PLAN, workers=2)
    assert list(report.failed) == ["s05/a"]
    assert "process ended" in report.failed["s05/a"]
    assert set(Store(out).captures) == {*IDS[:9]} - {IDS[5]}
    assert verify_store(out).ok


# Interruptions


def _started(alive: Callable[[], bool], out: Path, parts: int) -> None:
    """Wait until some parts are there."""
    patience = time.monotonic() + 180
    while alive() and time.monotonic() < patience:
        if len(list(parts_folder(out).glob("s*.h5"))) >= parts:
            return
        time.sleep(0.01)
    raise AssertionError(f"the run ended before it had {parts} parts")


def _render(root: Path, out: Path, workers: int) -> None:
    render_dataset(Spheres(root), out, PLAN, workers=workers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_fm59_an_interrupted_run_keeps_its_parts_and_prints_how_to_go_on(root, number):
    write_captures(root, [f"{name} slow 0.05" for name in IDS])
    out = root.parent / "f.h5"
    process = subprocess.Popen(
        command(root, out, "--workers", "2"),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a test run in the background of a script inherits "ignore Ctrl-C", and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    _started(lambda: process.poll() is None, out, 3)
    os.killpg(process.pid, number)  # as a terminal does: to the workers too
    stdout, stderr = process.communicate(timeout=180)
    assert process.returncode == 130, stderr
    assert "interrupted; captures: " in stdout
    assert stdout.splitlines()[-1].startswith("to continue: fnbench render-gt tests/toy_adapters.py:Spheres --root")
    assert not out.exists()
    assert not list(out.parent.glob("*.lock"))
    kept = len(list(parts_folder(out).glob("s*.h5")))
    assert kept >= 3
    report = render_dataset(Spheres(root), out, PLAN)
    assert len(report.skipped) == kept
    whole = root.parent / "whole.h5"
    render_dataset(Spheres(root), whole, PLAN)
    assert Store(out).attributes == Store(whole).attributes


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the fork spares five starts of Python
def test_fm33_a_run_killed_at_random_moments_gives_the_same_file(root):
    """The small version of tests/benchmarks/kill_and_resume.py: 30 captures, 5 kills."""
    write_captures(root, [f"{name} slow 0.02" for name in IDS])
    out, whole = root.parent / "f.h5", root.parent / "whole.h5"
    write_captures(root.parent / "root2", IDS)
    render_dataset(Spheres(root.parent / "root2"), whole, PLAN)
    chance = random.Random(0)
    for kill in range(5):
        workers = 2 if kill == 2 else 1
        process = multiprocessing.get_context("fork").Process(target=_render, args=(root, out, workers))
        process.start()
        _started(process.is_alive, out, min(5 * kill + 2, 27))
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
        assert not out.exists()
    done = run(root, out)
    assert done.returncode == 0, done.stderr
    assert "took over the lock of a run that ended without releasing it" in done.stdout
    assert Store(out).attributes["content_hash"] == Store(whole).attributes["content_hash"]
    assert Store(out).ids == Store(whole).ids
    assert verify_store(out).ok
    assert not [path.name for path in out.parent.iterdir() if "f.h5" in path.name and path != out]


def test_fm59_an_interrupt_while_merging_keeps_the_parts(root, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    out = root.parent / "f.h5"
    with monkeypatch.context() as patch:
        patch.setattr("fnbench.render.groundtruth.merge_captures", interrupted)
        report = render_dataset(Spheres(root), out, PLAN)
    assert report.interrupted
    assert not out.exists()
    assert len(render_dataset(Spheres(root), out, PLAN).skipped) == 6


_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
sys.argv[0] = "fnbench"
from fnbench.cli import main
main()
"""


@pytest.mark.parametrize("limit", [9_000, 90_000])
def test_fm38_a_disk_that_fills_up_ends_the_run_and_resuming_completes_it(root, limit):
    """A file size limit stands for the full disk: too little for a part, or only too little for the whole."""
    out = root.parent / "f.h5"
    write_captures(root, IDS)
    arguments = command(root, out)[3:]
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(limit), *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr.splitlines()[-1]
    assert "free some space" in done.stderr.splitlines()[-1]
    assert not out.exists()
    assert not list(root.parent.glob(".*"))
    assert not list(root.parent.glob("f.h5.parts/.*"))
    assert render_dataset(Spheres(root), out, PLAN).ok
    assert verify_store(out).ok


def test_peak_memory_does_not_grow_with_the_number_of_captures(root):
    """A hundred captures pass through one process; all their samples together would take 20 MB."""
    write_captures(root, [f"s{index:03d}/a" for index in range(100)])
    few, many = (_peak(root, root.parent / f"{limit}.h5", limit) for limit in (10, 100))
    assert many - few < 6_000, f"{few} kB for 10 captures, {many} kB for 100"


_PEAK = """
import resource, sys
from pathlib import Path
from fnbench.render.groundtruth import render_dataset
from fnbench.render.plan import Plan
from tests.toy_adapters import Spheres
report = render_dataset(Spheres(Path(sys.argv[1])), Path(sys.argv[2]), Plan(size=128), limit=int(sys.argv[3]))
assert report.ok
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _peak(root: Path, out: Path, limit: int) -> int:
    arguments = [sys.executable, "-c", _PEAK, str(root), str(out), str(limit)]
    return int(subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout)


def test_on_a_terminal_progress_is_one_line_that_changes(root):
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command(root, root.parent / "f.h5"), cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        process.wait(300)
        shown = os.read(ours, 65536).decode()
    for descriptor in (ours, theirs):
        os.close(descriptor)
    assert shown.count("\r\x1b[K") == 7
    assert "6/6 captures" in shown
    assert " left" in shown


def test_fm33_a_damaged_part_is_made_again(root):
    out = root.parent / "f.h5"
    write_captures(root, [*IDS[:3], f"{IDS[3]} fail"])
    render_dataset(Spheres(root), out, PLAN)
    out.unlink()
    part = part_path(parts_folder(out), IDS[1])
    part.write_bytes(part.read_bytes()[:-100])
    write_captures(root, IDS[:4])
    report = render_dataset(Spheres(root), out, PLAN)
    assert report.written == (IDS[1], IDS[3])
    assert verify_store(out).ok


# Locks


def test_fm60_a_second_run_on_the_same_output_is_refused(root):
    out = root.parent / "f.h5"
    with (
        locked(out),
        pytest.raises(OutputError, match=r"another run writes this output \(process \d+, host .*started 2"),
    ):
        render_dataset(Spheres(root), out, PLAN)
    assert not out.with_name("f.h5.lock").exists()


def test_fm60_a_lock_left_by_a_dead_run_is_taken_over_and_said(root):
    out = root.parent / "f.h5"
    with locked(out):
        content = out.with_name("f.h5.lock").read_text()
    out.with_name("f.h5.lock").write_text(content)
    report = render_dataset(Spheres(root), out, PLAN)
    assert "took over the lock of a run that ended without releasing it (process" in report.notes[0]


def test_fm60_a_lock_of_another_machine_is_left_alone(root):
    out = root.parent / "f.h5"
    lock = out.with_name("f.h5.lock")
    lock.write_text(json.dumps({"host": "elsewhere", "process": 1, "started": "2024-01-01T00:00:00+00:00"}))
    with pytest.raises(OutputError, match="on another machine") as caught:
        render_dataset(Spheres(root), out, PLAN)
    assert caught.value.code == "FM-60"
    assert lock.exists()
