"""Every ratio that the README states, in one run: python -m tests.benchmarks [--quick]

One core (the process pins itself and every library's threads), but for the two workers at the end; medians of CPU time,
all programs interleaved. Ends with the table of the README. ``--quick`` leaves out 500k and 1M triangles and workers.
Peers that are not installed (Open3D, embreex, pyrender) are left out and named.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from fnbench.heap import keep_freed_memory
from fnbench.render.backends import renderer
from tests.benchmarks import bench_pipeline, bench_visibility
from tests.meshes import bumpy_head

PEERS = {"embree": "embreex, robust", "open3d": "Open3D", "pyrender": "pyrender on llvmpipe"}


def visibility(sizes: tuple[int, ...]) -> list[str]:
    """Rows: times as fast as each peer per number of triangles."""
    renderer("raster").visibility(bumpy_head(2_000), bench_visibility.view(0))  # compile before the clock starts
    found = {}
    for size in sizes:
        print(f"{size} triangles, 512 x 512, perspective, one core", flush=True)
        found[size] = bench_visibility.compare(size)
    rows = []
    for size, times in found.items():
        ratios = [f"{times[peer] / times['raster']:.1f}x" if peer in times else "-" for peer in PEERS]
        rows.append(f"| visible triangles, {size // 1000}k | {times['raster']:.1f} ms | {' | '.join(ratios)} |")
    return rows


def pipeline(parts: tuple[str, ...]) -> dict[str, float]:
    """The ratios of the pipeline's parts by name."""
    found: dict[str, float] = {}
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            found |= getattr(bench_pipeline, part)(Path(folder))
    return found


def main(quick: bool) -> None:
    os.environ["LP_NUM_THREADS"] = "1"
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    keep_freed_memory()  # as every worker does
    rows = visibility((20_000, 100_000) if quick else bench_visibility.TRIANGLES)
    found = pipeline(("maps", "capture"))
    os.sched_setaffinity(0, cores)
    if not quick:
        found |= pipeline(("workers",))
    print("\n| 512 x 512, one core | fnbench | " + " | ".join(PEERS.values()) + " |")
    print("| --- | --- | --- | --- | --- |")
    print("\n".join(rows))
    print("\n| against | as fast |\n| --- | --- |")
    print(f"| a map: triangles, exact normals, depth, encoding, HDF5 | {found['maps/s']:.0f} maps/s |")
    print(f"| the same from pyrender's colours and h5py's gzip ({found['error']:.0f} times the error) ", end="")
    print(f"| {found['per map']:.1f}x |")
    print(f"| a capture: textured OBJ of 500k faces, five views, trimesh | {found['per capture']:.1f}x |")
    print(f"| reading that OBJ, trimesh | {found['reading']:.1f}x |")
    if not quick:
        print(f"| two workers, one (two runs that share nothing: {found['two runs']:.2f}x) ", end="")
        print(f"| {found['two workers']:.2f}x |")


if __name__ == "__main__":
    main("--quick" in sys.argv)
