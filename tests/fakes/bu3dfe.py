"""BU-3DFE: one person, neutral and one expression: VRML once with commas and triangles, once without and with quads."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from fakes import Variant, empty, extra_files, truncate, web_page

CAPTURES = ["F0001/F0001_AN01WH", "F0001/F0001_NE00WH"]
SIDE = 30


@lru_cache(maxsize=1)
def surface() -> tuple[np.ndarray, np.ndarray]:
    """(900, 3) millimetres, x right, y up, z out, and (841, 4) quads."""
    x, y = np.meshgrid(np.linspace(-70, 70, SIDE), np.linspace(95, -95, SIDE))
    z = 60 * np.sqrt(1 - (x / 110) ** 2 / 2 - (y / 140) ** 2 / 2) + 20 * np.exp(-((x / 12) ** 2) - (y / 15) ** 2)
    corner = np.add.outer(np.arange(SIDE - 1) * SIDE, np.arange(SIDE - 1)).ravel()
    return np.stack([x, y, z], -1).reshape(-1, 3), np.stack([corner, corner + SIDE, corner + SIDE + 1, corner + 1], 1)


def vrml(texture: str, commas: bool, scale: float = 1.0) -> str:
    vertices, quads = surface()
    comma = "," if commas else ""
    points = f"{comma}\n".join("{:.4f} {:.4f} {:.4f}".format(*point) for point in (vertices * scale).tolist())
    uv = f"{comma}\n".join(f"{(x + 80) / 160:.4f} {(y + 100) / 200:.4f}" for x, y, _ in vertices.tolist())
    polygons = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]) if commas else quads
    order = f"{comma}\n".join(f"{comma} ".join(map(str, [*polygon, -1])) for polygon in polygons.tolist())
    return f"""#VRML V2.0 utf8
# written by hand
Shape {{
  appearance Appearance {{ texture ImageTexture {{ url "{texture}" }} }}
  geometry IndexedFaceSet {{
    coord Coordinate {{ point [ {points} ] }}
    coordIndex [ {order} ]
    texCoord TextureCoordinate {{ point [ {uv} ] }}
    texCoordIndex [ {order} ]
  }}
}}
"""


def write(root: Path) -> None:
    folder = root / "F0001"
    folder.mkdir(parents=True)
    for capture, commas in zip(CAPTURES, (True, False), strict=True):
        stem = capture.split("/")[1] + "_F3D"
        (folder / f"{stem}.wrl").write_text(vrml(f"{stem}.bmp", commas))
        Image.new("RGB", (64, 64), (190, 150, 130)).save(folder / f"{stem}.bmp")
        rows = [f"{k}\t{x:.4f}\t{y:.4f}\t{z:.4f}" for k, (x, y, z) in enumerate(surface()[0][:83].tolist())]
        (folder / f"{stem}.bnd").write_text("\n".join(rows) + "\n")
        (folder / f"{stem.replace('F3D', 'RAW')}.wrl").write_text("#VRML V2.0 utf8\n")


def one(root: Path, suffix: str = ".wrl") -> Path:
    return root / "F0001" / f"F0001_NE00WH_F3D{suffix}"


def _edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new, 1))


VARIANTS = {
    "extra files": Variant(extra_files),
    "no texture": Variant(lambda root: one(root, ".bmp").unlink()),
    "no points": Variant(lambda root: one(root, ".bnd").unlink()),
    "upper case": Variant(lambda root: one(root).rename(one(root).with_suffix(".WRL"))),
    "one folder deeper": Variant(lambda root: (root / "F0001").rename(_deeper(root) / "F0001")),
    "truncated": Variant(lambda root: truncate(one(root)), "the file is cut off|expected one of each", CAPTURES[1]),
    "empty": Variant(lambda root: empty(one(root)), "the file is empty", CAPTURES[1]),
    "web page": Variant(lambda root: web_page(one(root)), "web page", CAPTURES[1]),
    "obj inside": Variant(lambda root: one(root).write_text("v 0 0 0\n"), "does not begin with #VRML", CAPTURES[1]),
    "a word for a number": Variant(
        lambda root: _edit(one(root), "-70.0000", "minus"), "could not convert string to float", CAPTURES[1]
    ),
    "index too large": Variant(lambda root: _edit(one(root), "869", "99999"), "names point 99999", CAPTURES[1]),
    "metres": Variant(
        lambda root: one(root).write_text(vrml("x.bmp", False, 0.001)), "expected 100 to 750 mm", CAPTURES[1]
    ),
    "82 points": Variant(
        lambda root: one(root, ".bnd").write_text(one(root, ".bnd").read_text().split("\n", 1)[1]),
        "82 points, expected 83",
        CAPTURES[1],
    ),
    "damaged texture": Variant(lambda root: truncate(one(root, ".bmp"), 0.05), r"bmp", CAPTURES[1]),
}


def _deeper(root: Path) -> Path:
    folder = root / "BU_3DFE"
    folder.mkdir()
    return folder
