"""300-W: two indoor pictures and one outdoor; points 1-based, two blanks after ``n_points:``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fakes import Variant, empty, extra_files, reencode, truncate

CAPTURES = ("indoor_001", "indoor_002", "outdoor_001")
FIRST = Path("01_Indoor/indoor_001.pts")


def points(seed: int) -> np.ndarray:
    """(68, 2) pixel x, y, first pixel's centre at 0.5."""
    around = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    return np.stack([60 + seed + 40 * np.cos(around), 50 + 45 * np.sin(around)], axis=-1)


def pts(values: np.ndarray) -> str:
    lines = "\n".join(f"{x + 0.5:.6f} {y + 0.5:.6f}" for x, y in values)
    return f"version: 1\nn_points:  {len(values)}\n{{\n{lines}\n}}\n"


def write(root: Path) -> None:
    for seed, name in enumerate(CAPTURES):
        folder = root / ("01_Indoor" if name.startswith("in") else "02_Outdoor")
        folder.mkdir(exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (100, 120, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / f"{name}.pts").write_text(pts(points(seed)))


def _upper_case(root: Path) -> None:
    (root / "01_Indoor").rename(root / "01_INDOOR")
    (root / "01_INDOOR/indoor_001.pts").rename(root / "01_INDOOR/indoor_001.PTS")
    (root / "02_Outdoor/outdoor_001.png").rename(root / "02_Outdoor/outdoor_001.PNG")


def _nested(root: Path) -> None:
    (root / "300W").mkdir()
    for name in ("01_Indoor", "02_Outdoor"):
        (root / name).rename(root / "300W" / name)


VARIANTS = {
    "extra files": Variant(extra_files),
    "upper case": Variant(_upper_case),
    "one folder deeper": Variant(_nested),
    "no points": Variant(lambda root: (root / FIRST).unlink(), r"indoor_001\.pts: this file is missing", CAPTURES[0]),
    "67 points": Variant(
        lambda root: (root / FIRST).write_text(pts(points(0)[:67])), r"67 points declared and 134 numbers", CAPTURES[0]
    ),
    "points cut off": Variant(lambda root: truncate(root / FIRST), r"no points between braces", CAPTURES[0]),
    "points are a picture": Variant(
        lambda root: (root / FIRST).write_bytes((root / FIRST).with_suffix(".png").read_bytes()),
        r"indoor_001\.pts: a binary file where text is expected", CAPTURES[0],
    ),
    "picture cut off": Variant(
        lambda root: truncate(root / FIRST.with_suffix(".png")), r"indoor_001\.png: damaged image", CAPTURES[0]
    ),
    "picture re-encoded": Variant(
        lambda root: reencode(root / FIRST.with_suffix(".png")), r"indoor_001\.png: ", CAPTURES[0]
    ),
    "picture empty": Variant(lambda root: empty(root / FIRST.with_suffix(".png")), r"indoor_001\.png: ", CAPTURES[0]),
}  # fmt: skip
