"""ICT-FaceKit: ``FaceXModel`` with the true vertex count, two identities, three expressions, an invented shape."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np

from fakes import Variant, empty, extra_files, truncate, web_page

VERTICES = 26719
SIDE = 163
"""The first 163 x 163 vertices are a grid over the front of an ellipsoid; the rest lie behind it, unused."""

OPTIONS = {"heads": 2}
CAPTURES = [
    "h0000_mix0", "h0000_mouthSmile", "h0000_neutral",
    "h0001_jawOpen", "h0001_mix0", "h0001_neutral",
]  # fmt: skip
EXPRESSIONS = ("mouthSmile_L", "mouthSmile_R", "jawOpen")


@lru_cache(maxsize=1)
def surface() -> tuple[np.ndarray, str]:
    """(26719, 3) centimetres, x right, y up, z out; and the face lines."""
    across, down = np.meshgrid(np.linspace(-1.2, 1.2, SIDE), np.linspace(1.2, -1.2, SIDE))
    x, y = 9.0 * np.sin(across) * np.cos(down), 12.0 * np.sin(down)
    grid = np.stack([x, y, 11.0 * np.cos(across) * np.cos(down)], -1).reshape(-1, 3)
    rest = np.tile([0.0, 0.0, -5.0], (VERTICES - len(grid), 1))
    corner = np.add.outer(np.arange(SIDE - 1) * SIDE, np.arange(SIDE - 1)).ravel() + 1
    quads = np.stack([corner, corner + SIDE, corner + SIDE + 1, corner + 1], 1)
    lines = "\n".join("f " + " ".join(f"{index}/{index}" for index in quad) for quad in quads[:14000])
    return np.vstack([grid, rest]), lines


def obj_text(vertices: np.ndarray) -> str:
    text = "\n".join("v {:.4f} {:.4f} {:.4f}".format(*vertex) for vertex in vertices.tolist())
    uv = "\n".join(f"vt {(k % SIDE) / SIDE:.4f} {(k // SIDE) / SIDE:.4f}" for k in range(SIDE * SIDE))
    return f"mtllib ICTFaceModelMaterial.mtl\n{text}\n{uv}\nusemtl M_Face\n{surface()[1]}\n"


@lru_cache(maxsize=2)
def shapes(scale: float = 1.0) -> dict[str, str]:
    """File name -> text; cached, because every variant starts from the same tree."""
    neutral, _ = surface()
    found = {"generic_neutral_mesh.obj": neutral}
    found |= {f"identity{k:03d}.obj": neutral * [1 + 0.02 * (k + 1), 1, 1] for k in range(2)}
    found |= {f"{name}.obj": neutral + np.array([0, 0, 0.1]) * (k + 1) for k, name in enumerate(EXPRESSIONS)}
    return {name: obj_text(vertices * scale) for name, vertices in found.items()}


def nearest(x: float) -> int:
    """The front vertex at an eye corner."""
    return int(np.argmin(((surface()[0][: SIDE * SIDE] - [x, 3.0, 9.0]) ** 2).sum(1)))


def write(root: Path) -> None:
    folder = root / "FaceXModel"
    folder.mkdir(parents=True)
    for name, text in shapes().items():
        (folder / name).write_text(text)
    landmarks = np.linspace(SIDE * 20, SIDE * 140, 68).astype(int)
    landmarks[[36, 45]] = nearest(-4.46), nearest(4.46)
    (folder / "vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": landmarks.tolist()}))


def _lose_a_vertex(root: Path) -> None:
    path = root / "FaceXModel" / "identity001.obj"
    library, _, rest = path.read_text().split("\n", 2)
    path.write_text(f"{library}\n{rest}")


def _metres(root: Path) -> None:
    for name, text in shapes(0.01).items():
        (root / "FaceXModel" / name).write_text(text)


VARIANTS = {
    "extra files": Variant(extra_files),
    "folder itself": Variant(lambda root: [path.rename(root / path.name) for path in (root / "FaceXModel").iterdir()]),
    "identity of another mesh": Variant(_lose_a_vertex, r"identity001\.obj: .*(26718 vertices, expected 26719|face)"),
    "truncated neutral": Variant(
        lambda root: truncate(root / "FaceXModel" / "generic_neutral_mesh.obj", 0.3), r"generic_neutral_mesh\.obj"
    ),
    "empty neutral": Variant(lambda root: empty(root / "FaceXModel" / "generic_neutral_mesh.obj"), "the file is empty"),
    "web page as landmarks": Variant(
        lambda root: web_page(root / "FaceXModel" / "vertex_indices.json"), "this is a web page"
    ),
    "no landmarks": Variant(
        lambda root: (root / "FaceXModel" / "vertex_indices.json").unlink(),
        r"vertex_indices\.json: this file is missing",
    ),
    "metres": Variant(_metres, "outer eye corners are 0.9 mm apart"),
}
