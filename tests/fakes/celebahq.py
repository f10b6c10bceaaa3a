"""CelebAMask-HQ at a sixteenth of its size: one number beyond 2000, one part missing, one pair of glasses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from fakes import Variant, extra_files, truncate

CAPTURES = ("00000", "00017", "02001")
SIZE = 64
TOP = Path("CelebAMask-HQ")
MASKS = TOP / "CelebAMask-HQ-mask-anno"


def disc(x: float, y: float, radius: float) -> np.ndarray:
    """(32, 32) bool, centre and radius in shares of the side."""
    rows, columns = np.mgrid[:32, :32] / 31
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


PARTS = {
    "skin": disc(0.5, 0.5, 0.35), "nose": disc(0.5, 0.5, 0.1), "l_eye": disc(0.38, 0.42, 0.06),
    "r_eye": disc(0.62, 0.42, 0.06), "u_lip": disc(0.5, 0.65, 0.06), "hair": disc(0.5, 0.1, 0.3),
}  # fmt: skip


def write(root: Path) -> None:
    (root / TOP / "CelebA-HQ-img").mkdir(parents=True)
    for name in CAPTURES:
        pixels = np.random.default_rng(int(name)).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(root / TOP / "CelebA-HQ-img" / f"{int(name)}.jpg")
        folder = root / MASKS / str(int(name) // 2000)
        folder.mkdir(parents=True, exist_ok=True)
        for part, mask in PARTS.items():
            if (name, part) != ("00017", "u_lip"):
                Image.fromarray(np.uint8(255) * mask).save(folder / f"{name}_{part}.png")
    Image.fromarray(np.uint8(255) * disc(0.5, 0.42, 0.15)).save(root / MASKS / "0" / "00017_eye_g.png")
    (root / TOP / "CelebA-HQ-to-CelebA-mapping.txt").write_text("idx orig_idx orig_file\n0 119613 119614.jpg\n")


VARIANTS = {
    "extra files": Variant(extra_files),
    "mixed case": Variant(
        lambda root: (root / TOP / "CelebA-HQ-img/17.jpg").rename(root / TOP / "CelebA-HQ-img/17.JPG")
    ),
    "no annotations": Variant(lambda root: shutil.rmtree(root / MASKS)),
    "no skin": Variant(
        lambda root: (root / MASKS / "1/02001_skin.png").unlink(), r"02001_skin\.png: this file is missing", CAPTURES[2]
    ),
    "folder missing": Variant(
        lambda root: shutil.rmtree(root / MASKS / "1"), r"02001_skin\.png: this file is missing", CAPTURES[2]
    ),
    "mask of another size": Variant(
        lambda root: Image.fromarray(np.zeros((30, 30), np.uint8)).save(root / MASKS / "0/00000_nose.png"),
        r"00000_nose\.png: mask of 30x30 pixels for a picture of 64x64", CAPTURES[0],
    ),
    "mask in colour": Variant(
        lambda root: Image.fromarray(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)).save(
            root / MASKS / "0/00000_nose.png"
        ),
        r"00000_nose\.png: a colour picture where a mask is expected", CAPTURES[0],
    ),
    "picture cut off": Variant(
        lambda root: truncate(root / TOP / "CelebA-HQ-img/0.jpg"), r"0\.jpg: damaged image", CAPTURES[0]
    ),
}  # fmt: skip
