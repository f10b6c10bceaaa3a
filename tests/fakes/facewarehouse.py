"""FaceWarehouse: two testers with three poses in differently nested folders; the shape is invented.

Texture coordinates and marked points are those of a Kinect-like camera 0.9 m before the face, a little to its side.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from fakes import Variant, empty, extra_files, reencode, truncate
from fnbench.camera import Camera, look_at

OPTIONS = {"shapes": True}
EXPRESSIONS = 2
CAPTURES = sorted(
    f"Tester_{tester}/{kind}_{number}" for tester in (1, 12) for kind in ("pose", "shape") for number in range(3)
)
SIDE = 24


@lru_cache(maxsize=1)
def template() -> tuple[np.ndarray, list[str]]:
    """(576, 3) decimetres, x right, y up, z out; quads with the illegal /0."""
    across, down = np.meshgrid(np.linspace(-1.2, 1.2, SIDE), np.linspace(1.2, -1.2, SIDE))
    nose = 0.25 * np.exp(-(across**2 + down**2) * 12)
    grid = np.stack(
        [0.8 * np.sin(across) * np.cos(down), 1.1 * np.sin(down), 0.9 * np.cos(across) * np.cos(down) + nose], -1
    )
    vertices = grid.reshape(-1, 3)
    quads = []
    for row in range(SIDE - 1):
        for column in range(SIDE - 1):
            a = row * SIDE + column + 1
            quads.append("f " + " ".join(f"{k}/{k}/0" for k in (a, a + SIDE, a + SIDE + 1, a + 1)))
    return vertices, quads


def _landmark_vertices() -> list[int]:
    """Vertices of the grid nearest to 68 places of a face, in the usual order, given as (x, y) in decimetres."""
    jaw = [(-0.72 * np.cos(t), -0.25 - 0.7 * np.sin(t)) for t in np.linspace(0, np.pi, 17)]
    brows = [(x, 0.62) for x in (-0.5, -0.42, -0.33, -0.25, -0.17, 0.17, 0.25, 0.33, 0.42, 0.5)]
    nose = [(0, 0.4), (0, 0.27), (0, 0.13), (0, 0), *((x, -0.12) for x in (-0.15, -0.08, 0, 0.08, 0.15))]
    eyes = [(side + x, 0.4 + y) for side in (-0.31, 0.31) for x, y in ((-0.14, 0), (-0.05, 0.06), (0.05, 0.06), (0.14, 0), (0.05, -0.06), (-0.05, -0.06))]  # fmt: skip  # noqa: E501
    mouth = [(0.25 * np.cos(t), -0.45 + 0.1 * np.sin(t)) for t in np.pi * (1 - np.arange(12) / 6)]
    inner = [(0.17 * np.cos(t), -0.45 + 0.04 * np.sin(t)) for t in np.pi * (1 - np.arange(8) / 4)]
    flat = template()[0][:, :2]
    places = np.array([*jaw, *brows, *nose, *eyes, *mouth, *inner])
    return [int(((flat - place) ** 2).sum(axis=1).argmin()) for place in places]


LANDMARK_VERTICES = _landmark_vertices()


def shape(tester: int, number: int) -> np.ndarray:
    return template()[0] * [1 + 0.01 * tester, 1, 1 + 0.02 * number]


@lru_cache(maxsize=1)
def camera() -> Camera:
    """In the frame of the meshes, in millimetres."""
    K = np.array([[580.606, 0, 314.758], [0, 580.885, 252.187], [0, 0, 1]])
    return Camera(K, look_at(np.zeros(3), 900.0, yaw=12.0, pitch=5.0), 640, 480)


def write_obj(path: Path, vertices: np.ndarray) -> None:
    _, quads = template()
    pixels = camera().project(100 * vertices)[0] - 0.5  # counted from the first pixel's centre
    uv = [f"vt {x / 639:.6f} {1 - y / 479:.6f}" for x, y in pixels]
    positions = ["v {:.6f} {:.6f} {:.6f}".format(*vertex) for vertex in vertices.tolist()]
    path.write_text("\n".join([*positions, *uv, *quads]) + "\n")


def write_land(path: Path, rows: int = 74, count: int = 74) -> None:
    chosen = np.random.default_rng(0).choice(len(template()[0]), rows, replace=False)
    points = camera().project(100 * template()[0][chosen])[0] / [640, -480] + [0, 1]
    path.write_text("\n".join([str(count), *("{:.6f} {:.6f}".format(*point) for point in points)]) + "\n")


def write_shapes(path: Path, shapes: list[np.ndarray]) -> None:
    header = np.array([len(shapes) - 1, len(shapes[0]), (SIDE - 1) ** 2], "<i4").tobytes()
    path.write_bytes(header + np.stack(shapes).astype("<f4").tobytes())


def write(root: Path) -> None:
    for tester, nested in ((1, "FaceWarehouse_Data_0"), (12, "copies/FaceWarehouse_Data_1")):
        folder = root / nested / f"Tester_{tester}"
        poses, blendshape = folder / "TrainingPose", folder / "Blendshape"
        poses.mkdir(parents=True)
        blendshape.mkdir()
        for number in range(EXPRESSIONS + 1):
            write_obj(poses / f"pose_{number}.obj", shape(tester, number))
            write_obj(blendshape / f"shape_{number}.obj", shape(tester, number))
            write_land(poses / f"pose_{number}.land")
            Image.new("RGB", (640, 480), (180, 140, 120)).save(poses / f"pose_{number}.png")
        write_shapes(blendshape / "shape.bs", [shape(tester, number) for number in range(EXPRESSIONS + 1)])


def first(root: Path, name: str) -> Path:
    return root / "FaceWarehouse_Data_0" / "Tester_1" / name


def _append(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes() + bytes(count))


def _copy_twice(root: Path) -> None:
    twin = root / "again" / "Tester_1" / "TrainingPose"
    twin.mkdir(parents=True)
    write_obj(twin / "pose_0.obj", shape(1, 0))


def _lower_case(root: Path) -> None:
    folder = first(root, "TrainingPose")
    folder.rename(folder.with_name("trainingpose"))
    path = folder.with_name("trainingpose") / "pose_1.obj"
    path.rename(path.with_name("POSE_1.OBJ"))


VARIANTS = {
    "extra files": Variant(extra_files),
    "other case": Variant(_lower_case),
    "trailing bytes": Variant(lambda root: _append(first(root, "Blendshape/shape.bs"), 8)),
    "no photograph": Variant(lambda root: first(root, "TrainingPose/pose_1.png").unlink()),
    "symlink loop": Variant(lambda root: (root / "loop").symlink_to(root)),
    "empty pose": Variant(
        lambda root: empty(first(root, "TrainingPose/pose_2.obj")), r"pose_2\.obj: the file is empty", "Tester_1/pose_2"
    ),
    "truncated pose": Variant(
        lambda root: truncate(first(root, "TrainingPose/pose_2.obj"), 0.2), r"pose_2\.obj", "Tester_1/pose_2"
    ),
    "metres": Variant(
        lambda root: write_obj(first(root, "TrainingPose/pose_2.obj"), shape(1, 2) / 10),
        r"pose_2\.obj: its longest side is .* expected 100 to 750 mm.*unit=m",
        "Tester_1/pose_2",
    ),
    "two copies": Variant(_copy_twice, r"Tester_1/pose_0 also lies in"),
}
"""Variants of shape.bs hit three captures at once; tests/test_facewarehouse.py has them."""


def reencoded_shapes(root: Path) -> None:
    """A shape.bs that went through a text editor."""
    reencode(first(root, "Blendshape/shape.bs"))
