"""A run of 1,000 captures, killed with SIGKILL at 20 random moments and resumed, against one that nobody disturbed.

    python -m tests.benchmarks.kill_and_resume [captures] [kills]

Both go through the command line with two worker processes. Prints each kill, then both content hashes; exit code 1
when they differ.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fnbench.render.parts import parts_folder
from fnbench.store import Store, verify_store
from tests.toy_adapters import write_captures


def command(root: Path, out: Path) -> list[str]:
    """The same run each time."""
    verb = [sys.executable, "-m", "fnbench", "render-gt", "tests/toy_adapters.py:Spheres"]
    return [*verb, "--root", str(root), "--out", str(out), "--size", "64", "--workers", "2"]


def killed(root: Path, out: Path, captures: int, pause: float) -> bool:
    """Start the run and kill its main process when so many captures are finished; False when it ended before."""
    process = subprocess.Popen(command(root, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if parts(out) >= captures:
            time.sleep(pause)
            process.kill()
            return process.wait() == -signal.SIGKILL
        time.sleep(0.005)
    return False


def parts(out: Path) -> int:
    """Finished captures."""
    return len(list(parts_folder(out).glob("*.h5")))


def main(captures: int = 1000, kills: int = 20, seed: int = 0) -> int:
    """Run the experiment; the exit code says whether the files agree."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = write_captures(Path(folder) / "root", [f"s{number:04d}/a" for number in range(captures)])
        whole, out = Path(folder) / "whole.h5", Path(folder) / "killed.h5"
        begun = time.monotonic()
        subprocess.run(command(root, whole), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print(f"undisturbed: {captures} captures in {time.monotonic() - begun:.0f} s", flush=True)
        moments = sorted(chance.uniform(0, 1.1 * captures) for _ in range(kills))  # a tenth of them while merging
        for number, moment in enumerate(moments, 1):
            hit = killed(root, out, min(int(moment), captures), chance.uniform(0, 0.5))
            print(f"kill {number}: {parts(out)} captures finished, output there: {out.exists()}", flush=True)
            if not hit:
                raise SystemExit("the run ended before it could be killed; use more captures")
        subprocess.run(command(root, out), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        first, second = Store(whole), Store(out)
        same = first.attributes == second.attributes and first.ids == second.ids
        print(f"content hashes: {first.attributes['content_hash']} and {second.attributes['content_hash']}")
        print(f"same attributes, ids and content: {same}; verified: {verify_store(out).ok}")
        left = sorted(name for name in os.listdir(folder) if name not in ("root", whole.name, out.name))
        print(f"left behind: {left or 'nothing'}")
        return 0 if same and not left else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
