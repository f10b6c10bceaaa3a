"""How long it takes to list 100,000 captures, and how many files that opens.

    python -m tests.benchmarks.bench_listing            100,000 captures per dataset
    python -m tests.benchmarks.bench_listing 10000 photoface folder

The trees hold the real names and empty files: listing needs no more. Figures are CPU seconds of a fresh adapter, and
opened files as the interpreter's audit events see them; a described folder opens its description. Beside each stands
the time that ``os.walk`` needs to see the same names, the floor of anything that looks at a disk.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fnbench.registry import resolve

Names = Callable[[int], Iterator[str]]


def photoface(count: int) -> Iterator[str]:
    for k in range(count):
        yield f"PhotofaceDB/{1000 + k // 100}/2008-02-{k % 28 + 1:02d}_12-{k // 100 % 60:02d}-{k % 100:02d}/im0.bmp"


def synthhuman(count: int) -> Iterator[str]:
    for k in range(count):
        yield from (f"{k // 5000:04d}/{kind}_{k:07d}.{end}" for kind, end in (("rgb", "png"), ("normal", "exr")))


def affectnet(count: int) -> Iterator[str]:
    yield from (f"Manually_Annotated/Manually_Annotated_Images/{k // 500}/{k:08x}.jpg" for k in range(count))


def celebahq(count: int) -> Iterator[str]:
    yield from (f"CelebAMask-HQ/CelebA-HQ-img/{k}.jpg" for k in range(count))


def bosphorus(count: int) -> Iterator[str]:
    yield from (f"BosphorusDB/bs{k // 1000:03d}/bs{k // 1000:03d}_N_N_{k % 1000}.bnt" for k in range(count))


def folder(count: int) -> Iterator[str]:
    yield from (f"person{k // 100}/neutral{k % 100}.obj" for k in range(count))


DESCRIPTION = 'name = "own"\nscans = \'(?P<subject>person\\d+)/.*\\.obj\'\nunit = "mm"\n'
TREES: tuple[Names, ...] = (affectnet, bosphorus, celebahq, folder, photoface, synthhuman)


def write(root: Path, names: Iterator[str]) -> None:
    made: set[str] = set()
    for name in names:
        path = f"{root}/{name}"
        parent = os.path.dirname(path)
        if parent not in made:
            os.makedirs(parent, exist_ok=True)
            made.add(parent)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    opened: list[str] = []
    sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
    print(f"{'dataset':<11} {'captures':>9} {'CPU s':>7} {'os.walk s':>10} {'opened':>7}")
    for tree in (tree for tree in TREES if tree.__name__ in (sys.argv[2:] or tree.__name__)):
        with tempfile.TemporaryDirectory() as place:
            root = Path(place)
            write(root, tree(count))
            if tree is folder:
                (root / "fnbench.toml").write_text(DESCRIPTION)
            adapter = resolve(tree.__name__, kind="dataset")(root)
            opened.clear()
            start = time.process_time()
            ids = adapter.capture_ids()
            taken = time.process_time() - start
            below = sum(path.startswith(place) for path in opened)
            start = time.process_time()
            for _ in os.walk(root):
                pass
            print(f"{tree.__name__:<11} {len(ids):>9} {taken:>7.2f} {time.process_time() - start:>10.2f} {below:>7}")


if __name__ == "__main__":
    main()
