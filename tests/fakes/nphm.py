"""NPHM: two people, three scans, one of them without the similarity; the shape is invented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh

from fakes import Variant, empty, extra_files, reencode, truncate, web_page

CAPTURES = ["017/000", "017/003", "231/000"]
SCALE = 1 / 245.0
"""Stored units per millimetre of the first person, whose head is a little larger than FLAME's."""


def ball() -> trimesh.Trimesh:
    """A head-sized ball of 200 mm with a nose, in millimetres, z out."""
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=100.0)
    tip = np.exp(-((mesh.vertices[:, :2] / 12) ** 2).sum(1)) * (mesh.vertices[:, 2] > 0)
    mesh.vertices[:, 2] += 25 * tip
    return mesh


def write(root: Path) -> None:
    for capture in CAPTURES:
        folder = root / capture
        folder.mkdir(parents=True)
        mesh = ball()
        mesh.vertices *= SCALE
        mesh.export(folder / "scan.ply")
        mesh.export(folder / "registration.ply")
        mesh.export(folder / "flame.ply")
        if capture != "231/000":
            np.save(folder / "s.npy", np.array(SCALE))
            np.save(folder / "R.npy", np.eye(3))
            np.save(folder / "t.npy", np.zeros(3))


def _wide(root: Path) -> None:
    mesh = ball()
    mesh.vertices *= SCALE * 1000
    mesh.export(root / "017/003/scan.ply")


VARIANTS = {
    "extra files": Variant(extra_files),
    "no registration": Variant(lambda root: (root / "017/000/registration.ply").unlink()),
    "no template fit": Variant(lambda root: (root / "017/000/flame.ply").unlink()),
    "truncated template fit": Variant(lambda root: truncate(root / "017/003/flame.ply"), r"flame\.ply", "017/003"),
    "truncated scan": Variant(lambda root: truncate(root / "017/003/scan.ply"), r"scan\.ply", "017/003"),
    "re-encoded scan": Variant(lambda root: reencode(root / "017/003/scan.ply"), r"scan\.ply", "017/003"),
    "empty scan": Variant(lambda root: empty(root / "017/003/scan.ply"), "the file is empty", "017/003"),
    "page as scan": Variant(lambda root: web_page(root / "017/003/scan.ply"), "web page", "017/003"),
    "another unit": Variant(_wide, "expected 100 to 750 mm", "017/003"),
    "pickled scale": Variant(
        lambda root: np.save(root / "017/003/s.npy", np.array({"s": 1}, dtype=object), allow_pickle=True),
        r"s\.npy: not a plain NumPy array",
        "017/003",
    ),
    "matrix as scale": Variant(
        lambda root: np.save(root / "017/003/s.npy", np.eye(3)), r"s\.npy: shape \(3, 3\), expected one", "017/003"
    ),
}
