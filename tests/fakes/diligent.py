"""DiLiGenT layout: two objects under twelve lights, 16-bit pictures divided differently per light."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from fakes import Variant, empty, extra_files, lit, reencode, truncate
from fnbench.png import write_png

CAPTURES = ("ball", "bear")
LIGHTS = 12
SIZE = (48, 40)
FIRST = Path("pmsData/ballPNG")


def lights() -> tuple[np.ndarray, np.ndarray]:
    """(K, 3) directions and (K, 3) intensities per channel."""
    rng = np.random.default_rng(5)
    angles = np.radians(np.stack([rng.uniform(15, 45, LIGHTS), np.arange(LIGHTS) * 360 / LIGHTS], axis=-1))
    return lit.directions(angles), rng.uniform(0.5, 2.0, (LIGHTS, 3))


@lru_cache
def pictures() -> tuple[np.ndarray, ...]:
    depth, normals, mask = lit.face(*SIZE)
    directions, intensities = lights()
    albedo = lit.skin(SIZE)
    return tuple(
        np.rint(
            65535 * 0.4 * albedo * np.maximum(normals @ direction, 0)[..., None] * intensity
            * (mask & ~lit.cast_shadow(depth, mask, direction))[..., None]
        ).astype(np.uint16)
        for direction, intensity in zip(directions, intensities, strict=True)
    )  # fmt: skip


def text(table: np.ndarray) -> str:
    return "\n".join(" ".join(f"{value:.8f}" for value in row) for row in table) + "\n"


def write(root: Path) -> None:
    _, normals, mask = lit.face(*SIZE)
    directions, intensities = lights()
    for name in CAPTURES:
        folder = root / "pmsData" / f"{name}PNG"
        folder.mkdir(parents=True)
        for k, picture in enumerate(pictures()):
            write_png(folder / f"{k + 1:03d}.png", picture)
        (folder / "filenames.txt").write_text("\n".join(f"{k + 1:03d}.png" for k in range(LIGHTS)))
        (folder / "light_directions.txt").write_text(text(directions))
        (folder / "light_intensities.txt").write_text(text(intensities))
        Image.fromarray(np.uint8(255) * mask).save(folder / "mask.png")
        savemat(folder / "Normal_gt.mat", {"Normal_gt": normals})


def _lines(name: str, keep: int):
    def change(root: Path) -> None:
        path = root / FIRST / name
        path.write_text("\n".join(path.read_text().splitlines()[:keep]))

    return change


def _eight_bit(root: Path) -> None:
    for path in (root / FIRST).glob("0*.png"):
        write_png(path, (pictures()[int(path.stem) - 1] // 257).astype(np.uint8))


VARIANTS = {
    "extra files": Variant(extra_files),
    "upper case": Variant(lambda root: (root / FIRST / "mask.png").rename(root / FIRST / "MASK.PNG")),
    "8-bit pictures": Variant(_eight_bit),
    "no top folder": Variant(lambda root: shutil.move(root / "pmsData", root / "pmsdata")),
    "a picture missing": Variant(
        lambda root: (root / FIRST / "007.png").unlink(), r"007\.png: this file is missing", CAPTURES[0]
    ),
    "a picture cut off": Variant(
        lambda root: truncate(root / FIRST / "007.png"), r"007\.png: .*damaged PNG", CAPTURES[0]
    ),
    "a picture re-encoded": Variant(lambda root: reencode(root / FIRST / "007.png"), r"007\.png: ", CAPTURES[0]),
    "eleven directions": Variant(
        _lines("light_directions.txt", 11), r"light_directions\.txt: 11 lines, expected 12", CAPTURES[0]
    ),
    "no names": Variant(_lines("filenames.txt", 0), r"filenames\.txt: ", CAPTURES[0]),
    "mask of another size": Variant(
        lambda root: Image.fromarray(np.full((20, 20), 255, np.uint8)).save(root / FIRST / "mask.png"),
        r"Normal_gt\.mat: normals of shape \(48, 40, 3\), expected \(20, 20, 3\)", CAPTURES[0],
    ),
    "normals under another name": Variant(
        lambda root: savemat(root / FIRST / "Normal_gt.mat", {"N": np.ones((*SIZE, 3))}),
        r"Normal_gt\.mat: the variable Normal_gt is missing, found N", CAPTURES[0],
    ),
    "normals of zeros": Variant(
        lambda root: savemat(root / FIRST / "Normal_gt.mat", {"Normal_gt": np.zeros((*SIZE, 3))}),
        r"Normal_gt\.mat: no unit normal inside the mask", CAPTURES[0],
    ),
    "normals empty": Variant(lambda root: empty(root / FIRST / "Normal_gt.mat"), r"Normal_gt\.mat: ", CAPTURES[0]),
}  # fmt: skip
