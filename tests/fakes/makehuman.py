"""MakeHuman: ``3dobjs/base.obj`` with the vertex count of hm08, a few targets of every kind, an invented shape."""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path

import numpy as np

from fakes import Variant, empty, extra_files, truncate, web_page
from fnbench.adapters.makehuman import AGES, ANCESTRIES, BODY, BUILDS, EYEBALLS, LANDMARKS, SEXES, VERTICES
from fnbench.render.views import template_landmarks

OPTIONS = {"heads": 2}
CAPTURES = ["p0000_mix0", "p0000_mix1", "p0000_neutral", "p0001_mix0", "p0001_mix1", "p0001_neutral"]
WIDE, HIGH = 60, 61
"""The body is a grid over the front of an ellipsoid; its nodes are numbered so that each landmark lies in its place."""
DETAILS = {
    "head": ("head-oval", "head-fat-decr", "head-fat-incr"),
    "forehead": ("forehead-temple-decr", "forehead-temple-incr"),
    "eyebrows": ("eyebrows-angle-down", "eyebrows-angle-up"),
    "eyes": ("l-eye-bag-in", "l-eye-bag-out", "r-eye-bag-in", "r-eye-bag-out"),
    "nose": ("nose-hump-decr", "nose-hump-incr"),
    "mouth": ("mouth-trans-in", "mouth-trans-out"),
    "cheek": ("l-cheek-bones-decr", "r-cheek-bones-decr"),
    "chin": ("chin-triangle",),
    "ears": ("l-ear-shape-round",),
    "neck": ("neck-double-incr",),
    "asym": ("asym-jaw-1-l", "asym-jaw-1-r", "asymm-trunk-1-l"),
}
ACTIONS = ("eye-left-closure", "eye-right-closure", "mouth-open")


@lru_cache(maxsize=1)
def base() -> tuple[np.ndarray, np.ndarray]:
    """(19158, 3) decimetres and (F, 4) quads."""
    across, down = np.meshgrid(np.linspace(-1.2, 1.2, WIDE), np.linspace(1.2, -1.2, HIGH))
    x, y = 0.9 * np.sin(across) * np.cos(down), 1.2 * np.sin(down)
    nodes = np.stack([x, y, 1.1 * np.cos(across) * np.cos(down)], -1).reshape(-1, 3)
    marks = template_landmarks() / 100
    marks = marks - (marks[36] + marks[45]) / 2 + [0, 0.3, 1.0]
    free, index = np.ones(len(nodes), bool), np.full(len(nodes), -1)
    for corners, mark in zip(LANDMARKS, marks, strict=True):
        for corner in corners:
            if corner not in index:
                node = np.where(free, ((nodes - mark)[:, :2] ** 2).sum(1), np.inf).argmin()
                free[node], index[node] = False, corner
    index[free] = np.setdiff1d(np.arange(*BODY), index)[: free.sum()]
    vertices = np.tile([0.0, 6.0, -0.5], (VERTICES, 1))
    vertices[index] = nodes + [0, 7.0, 0]
    eye = np.stack(np.meshgrid(np.linspace(-0.1, 0.1, 9), np.linspace(0.1, -0.1, 8)), -1).reshape(-1, 2)
    vertices[slice(*EYEBALLS), :2] = np.concatenate([eye + [side * 0.3, 7.3] for side in (1, -1)])
    vertices[slice(*EYEBALLS), 2] = 0.8
    balls = [EYEBALLS[0] + first + _grid(9, 8) for first in (0, 72)]
    return vertices, np.concatenate([index[_grid(WIDE, HIGH)], *balls])


def _grid(wide: int, high: int) -> np.ndarray:
    corner = np.add.outer(np.arange(high - 1) * wide, np.arange(wide - 1)).ravel()
    return np.stack([corner, corner + wide, corner + wide + 1, corner + 1], 1)


@lru_cache(maxsize=2)
def obj_text(scale: float = 1.0) -> str:
    vertices, quads = base()
    lines = ["# basemesh hm08", *("v {:.4f} {:.4f} {:.4f}".format(*row) for row in (vertices * scale).tolist())]
    lines += ["vt 0.5 0.5", "g body", *("f " + " ".join(f"{k}/1" for k in quad) for quad in (quads + 1).tolist())]
    return "\n".join(lines) + "\n"


def target(name: str) -> bytes:
    """A few vertices move by an amount that follows from the name."""
    moved = [int(corner) for corners in LANDMARKS[len(name) % 60 :][:8] for corner in corners]
    return "".join(f"{vertex} {0.01 * (len(name) % 5):.3f} .01 -.005\n" for vertex in moved).encode()


def write(root: Path) -> None:
    (root / "3dobjs").mkdir(parents=True)
    (root / "3dobjs" / "base.obj").write_text(obj_text())
    files = {f"macrodetails/{a}-{s}-{g}" for a in ANCESTRIES for s in SEXES for g in AGES}
    files |= {
        f"macrodetails/universal-{s}-{g}-{m}muscle-{w}weight"
        for s in SEXES for g in AGES for m in BUILDS for w in BUILDS
    }  # fmt: skip
    files |= {f"{folder}/{name}" for folder, names in DETAILS.items() for name in names}
    files |= {f"expression/units/{ancestry}/{name}" for ancestry in ANCESTRIES for name in ACTIONS}
    for file in files:
        path = root / "targets" / f"{file}.target.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(target(path.name), mtime=0))


def _unpacked(root: Path) -> None:
    for path in (root / "targets").rglob("*.target.gz"):
        path.with_suffix("").write_bytes(b"# basemesh hm08\n" + gzip.decompress(path.read_bytes()))
        path.unlink()


def _deeper(root: Path) -> None:
    (root / "data").mkdir()
    for name in ("3dobjs", "targets"):
        (root / name).rename(root / "data" / name)


def _lose_a_vertex(root: Path) -> None:
    path = root / "3dobjs" / "base.obj"
    path.write_text(path.read_text().replace("v ", "# ", 1))


HUMP = "targets/nose/nose-hump-incr.target.gz"
VARIANTS = {
    "extra files": Variant(extra_files),
    "unpacked targets": Variant(_unpacked),
    "folder above": Variant(_deeper),
    "another mesh": Variant(_lose_a_vertex, r"base\.obj: 19157 vertices .*expected 19158"),
    "truncated base": Variant(lambda root: truncate(root / "3dobjs" / "base.obj", 0.4), r"base\.obj: "),
    "empty base": Variant(lambda root: empty(root / "3dobjs" / "base.obj"), "the file is empty"),
    "metres": Variant(
        lambda root: (root / "3dobjs" / "base.obj").write_text(obj_text(0.1)), "outer eye corners are .* another unit"
    ),
    "web page as target": Variant(lambda root: web_page(root / HUMP), "this is a web page"),
    "truncated target": Variant(lambda root: truncate(root / HUMP), r"nose-hump-incr\.target\.gz: not a target"),
    "target of another mesh": Variant(
        lambda root: (root / HUMP).write_bytes(gzip.compress(b"999999 0 0 1\n")), "vertex below 19158"
    ),
    "no ancestry": Variant(
        lambda root: (root / "targets/macrodetails/asian-male-old.target.gz").unlink(), "no asian-male-old.target"
    ),
    "no noses": Variant(
        lambda root: [path.unlink() for path in (root / "targets" / "nose").glob("*.gz")], "no .target files"
    ),
}
