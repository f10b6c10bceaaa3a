"""SynthHuman: the analytic face as three samples in two folders; channels B, G, R hold x, y, z."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from fakes import Variant, empty, extra_files, lit, reencode, truncate

NEEDS = "OpenEXR"
CAPTURES = ("0000000", "0000017", "SynthHuman_0001/0000000")
SIZE = (72, 60)
NOTHING = 65504.0


def folder_of(root: Path, capture: str) -> tuple[Path, str]:
    path = root / capture
    return path.parent, path.name


@lru_cache
def surface() -> tuple[np.ndarray, np.ndarray]:
    _, normals, mask = lit.face(*SIZE)
    return normals.astype(np.float32), mask


def exr(path: Path, channels: dict[str, np.ndarray]) -> None:
    import OpenEXR

    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, channels).write(str(path))


def write_normals(path: Path, order: str = "BGR") -> None:
    normals, _ = surface()
    exr(path, {name: np.ascontiguousarray(normals[..., k]) for k, name in enumerate(order)})


def write(root: Path) -> None:
    _, mask = surface()
    for seed, capture in enumerate(CAPTURES):
        folder, number = folder_of(root, capture)
        folder.mkdir(exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"rgb_{number}.png")
        Image.fromarray(np.uint8(255) * mask).save(folder / f"alpha_{number}.png")
        exr(folder / f"depth_{number}.exr", {"V": np.where(mask, 80.0, NOTHING).astype(np.float32)})
        write_normals(folder / f"normal_{number}.exr")
        (folder / f"cam_{number}.txt").write_text("120.0 0.0 30.0\n0.0 120.0 36.0\n0.0 0.0 1.0\n")


def _all_normals(change):
    def apply(root: Path) -> None:
        for path in root.rglob("normal_*.exr"):
            change(path)

    return apply


def _unclear(path: Path) -> None:
    flat = np.full(SIZE, np.sqrt(1 / 3), np.float32)
    exr(path, dict.fromkeys("RGB", flat))


VARIANTS = {
    "extra files": Variant(extra_files),
    "upper case": Variant(lambda root: (root / "rgb_0000000.png").rename(root / "RGB_0000000.PNG")),
    "red is x": Variant(_all_normals(lambda path: write_normals(path, "RGB"))),
    "named x y z": Variant(_all_normals(lambda path: write_normals(path, "XYZ"))),
    "one diagonal wall": Variant(_all_normals(_unclear), "channel order of normal_.* stays unclear"),
    "no normals": Variant(
        lambda root: (root / "normal_0000000.exr").unlink(), r"normal_0000000\.exr: this file is missing", CAPTURES[0]
    ),
    "normals cut off": Variant(
        lambda root: truncate(root / "normal_0000000.exr"), r"normal_0000000\.exr: ", CAPTURES[0]
    ),
    "normals re-encoded": Variant(
        lambda root: reencode(root / "normal_0000000.exr"), r"normal_0000000\.exr: ", CAPTURES[0]
    ),
    "normals are text": Variant(
        lambda root: (root / "normal_0000000.exr").write_text("0 0 1"),
        r"no EXR file, it begins with b'0 0 '", CAPTURES[0],
    ),
    "two channels": Variant(
        lambda root: exr(root / "normal_0000000.exr", {name: np.zeros(SIZE, np.float32) for name in "RG"}),
        r"normal_0000000\.exr: channels G, R, expected B, G, R", CAPTURES[0],
    ),
    "depth of another size": Variant(
        lambda root: exr(root / "depth_0000017.exr", {"V": np.ones((5, 6), np.float32)}),
        r"depth_0000017\.exr: depth of \(5, 6\), expected \(72, 60\)", CAPTURES[1],
    ),
    "camera with four numbers": Variant(
        lambda root: (root / "cam_0000017.txt").write_text("120 30 36 1"), r"cam_0000017\.txt: 4 numbers", CAPTURES[1]
    ),
    "alpha empty": Variant(lambda root: empty(root / "alpha_0000017.png"), r"alpha_0000017\.png: ", CAPTURES[1]),
}  # fmt: skip
