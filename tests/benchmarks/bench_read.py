"""How long it takes to read a textured OBJ, beside trimesh and tinyobjloader.

    python -m tests.benchmarks.bench_read            500,000 faces, 2048 x 2048 texture
    python -m tests.benchmarks.bench_read 100000     another number of faces

All readers get the same file from a warm disk cache, interleaved in one process on one core; figures are medians of
CPU time. Ours is the whole of read_scan: texture decoded, every number checked, positions welded, faces without area,
unit and winding looked at. trimesh runs with process=False, its fastest way, and decodes the texture when it is first
touched, as every renderer does. tinyobjloader reads the geometry alone, and accepts what is damaged.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tinyobjloader
import trimesh
from PIL import Image

from fnbench.scans.obj import parse_obj
from fnbench.scans.read import read_scan

ROUNDS = 5


def write(folder: Path, faces: int) -> Path:
    """A face-sized bump with texture coordinates, six decimals, one material, and a texture with skin-like grain."""
    side = round(np.sqrt(faces / 2)) + 1
    y, x = np.mgrid[0:side, 0:side] / (side - 1) - 0.5
    z = 60 * np.cos(2 * x) * np.cos(2 * y) + 0.2 * np.sin(180 * x) * np.cos(150 * y)
    vertices = np.stack([x * 150, -y * 200, z], -1).reshape(-1, 3)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel() + 1
    triangles = np.concatenate(
        [
            np.stack([corner, corner + side, corner + side + 1], -1),
            np.stack([corner, corner + side + 1, corner + 1], -1),
        ]
    )
    path = folder / "scan.obj"
    with path.open("w") as file:
        file.write("mtllib scan.mtl\nusemtl skin\n")
        np.savetxt(file, vertices, "v %.6f %.6f %.6f")
        np.savetxt(file, np.stack([x + 0.5, 0.5 - y], -1).reshape(-1, 2), "vt %.6f %.6f")
        np.savetxt(file, np.repeat(triangles, 2, axis=1), "f %d/%d %d/%d %d/%d")
    (folder / "scan.mtl").write_text("newmtl skin\nmap_Kd scan.jpg\n")
    grain = np.random.default_rng(0).integers(0, 40, (2048, 2048, 1))
    Image.fromarray((np.array([200, 160, 140]) - grain).astype(np.uint8)).save(folder / "scan.jpg", quality=90)
    return path


def through_trimesh(path: Path) -> None:
    mesh = trimesh.load(path, process=False)
    np.asarray(mesh.visual.material.image.convert("RGB"))


def through_tinyobjloader(path: Path) -> None:
    if not tinyobjloader.ObjReader().ParseFromFile(str(path), tinyobjloader.ObjReaderConfig()):
        raise RuntimeError("tinyobjloader refused the file")


def seconds(readers: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median CPU time of each reader, rounds interleaved, first round not counted."""
    times: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(ROUNDS + 1):
        for name, reader in readers.items():
            begun = time.process_time()
            reader()
            times[name].append(time.process_time() - begun)
    return {name: statistics.median(found[1:]) for name, found in times.items()}


def main(faces: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), faces)
        found = seconds(
            {
                "fnbench read_scan": lambda: read_scan(path),
                "fnbench read_scan, no texture": lambda: read_scan(path, texture=False),
                "fnbench parse_obj alone": lambda: parse_obj(path.read_bytes(), "scan"),
                "trimesh": lambda: through_trimesh(path),
                "trimesh, no texture": lambda: trimesh.load(path, process=False, skip_materials=True),
                "tinyobjloader, geometry alone": lambda: through_tinyobjloader(path),
            }
        )
        print(f"{faces} faces, {path.stat().st_size / 1e6:.1f} MB of text, medians of {ROUNDS}, CPU seconds")
    for name, value in found.items():
        print(f"  {name:32s} {value:7.3f}")
    print(f"read_scan against trimesh, textured:  {found['trimesh'] / found['fnbench read_scan']:.1f} times as fast")
    bare = found["trimesh, no texture"] / found["fnbench read_scan, no texture"]
    print(f"read_scan against trimesh, geometry:  {bare:.1f} times as fast")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000)
