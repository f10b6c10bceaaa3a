"""FaceScape: two template models, one with a displacement map, and one multi-view capture; the shapes are invented."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from fakes import Variant, empty, extra_files, truncate, web_page
from fakes.facewarehouse import template
from fakes.nphm import ball

CAPTURES = ["1/1_neutral", "1/2_smile", "mv/7/1_neutral"]
SCALE = 250.0
ROTATION = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
SHIFT = np.array([3.0, -2, 5])
K = [[900, 0, 150], [0, 900, 200], [0, 0, 1]]


def obj_text() -> str:
    vertices, quads = template()
    uv = [f"vt {0.5 + 0.25 * x:.6f} {0.5 + 0.25 * y:.6f}" for x, y, _ in vertices]
    lines = ["v {:.5f} {:.5f} {:.5f}".format(*vertex) for vertex in (vertices * 100).tolist()]
    return "\n".join(["mtllib 1_neutral.obj.mtl", *lines, *uv, *(quad.replace("/0", "") for quad in quads)]) + "\n"


def write_map(path: Path, millimetres: float, dtype: type = np.uint16) -> None:
    value = round(millimetres / 0.914 * 32768 + 32768)
    Image.fromarray(np.full((64, 64), value if dtype is np.uint16 else 140, dtype)).save(path)


def raw_mesh():
    """The ball in the arbitrary frame of the reconstruction: template = R (scale x) + t."""
    mesh = ball()
    mesh.vertices = (mesh.vertices - SHIFT) @ ROTATION / SCALE
    return mesh


def write(root: Path) -> None:
    models, maps = root / "1" / "models_reg", root / "1" / "dpmap"
    for folder in (models, maps, root / "7" / "1_neutral"):
        folder.mkdir(parents=True)
    for name in ("1_neutral", "2_smile"):
        (models / f"{name}.obj").write_text(obj_text())
        Image.new("RGB", (32, 32), (170, 130, 110)).save(models / f"{name}.jpg")
    write_map(maps / "1_neutral.png", 0.5)
    raw_mesh().export(root / "7" / "1_neutral.ply")
    # the camera stands 1000 mm before the face in the template frame, expressed in the raw frame
    turned = np.diag([1.0, -1, -1]) @ ROTATION
    shift = (np.diag([1.0, -1, -1]) @ SHIFT + [0, 0, 1000]) / SCALE
    params = {}
    for view, valid in (("0", True), ("1", False), ("10", True)):
        Image.new("RGB", (300, 400), (100, 100, 100)).save(root / "7" / "1_neutral" / f"{view}.jpg")
        params |= {f"{view}_K": K, f"{view}_Rt": np.hstack([turned, shift[:, None]]).tolist(), f"{view}_valid": valid}
        params |= {f"{view}_distortion": [0, 0, 0, 0, 0], f"{view}_width": 300, f"{view}_height": 400}
    (root / "7" / "1_neutral" / "params.json").write_text(json.dumps(params))
    similarity = np.hstack([ROTATION, SHIFT[:, None]]).tolist()
    (root / "Rt_scale_dict.json").write_text(json.dumps({"7": {"1": [SCALE, similarity]}}))


def smile(root: Path) -> Path:
    return root / "1" / "models_reg" / "2_smile.obj"


VARIANTS = {
    "extra files": Variant(extra_files),
    "no photographs": Variant(
        lambda root: [path.unlink() for path in (root / "7/1_neutral").iterdir()] + [(root / "7/1_neutral").rmdir()]
    ),
    "map in 8 bits": Variant(
        lambda root: write_map(root / "1/dpmap/1_neutral.png", 0, np.uint8), "a copy in 8 bits", "1/1_neutral"
    ),
    "map cut off": Variant(
        lambda root: truncate(root / "1/dpmap/1_neutral.png"), r"1_neutral\.png: not a readable image", "1/1_neutral"
    ),
    "map is a page": Variant(lambda root: web_page(root / "1/dpmap/1_neutral.png"), "web page", "1/1_neutral"),
    "truncated model": Variant(lambda root: truncate(smile(root), 0.2), r"2_smile\.obj", "1/2_smile"),
    "empty model": Variant(lambda root: empty(smile(root)), "the file is empty", "1/2_smile"),
    "no scales": Variant(lambda root: (root / "Rt_scale_dict.json").unlink(), "gives the true one", "mv/7/1_neutral"),
    "scales of others": Variant(
        lambda root: (root / "Rt_scale_dict.json").write_text('{"8": {}}'), "no scale and transform", "mv/7/1_neutral"
    ),
    "scale of metres": Variant(
        lambda root: (root / "Rt_scale_dict.json").write_text(json.dumps({"7": {"1": [0.25, np.eye(4).tolist()]}})),
        "expected 100 to 750 mm",
        "mv/7/1_neutral",
    ),
}
