"""Mutated mesh files by the thousand: a Scan or our own error comes out, in bounded time, and nothing else.

FNBENCH_FUZZ multiplies the number of mutations, FNBENCH_FUZZ_SEED moves to other ones:

    FNBENCH_FUZZ=50 FNBENCH_FUZZ_SEED=1 pytest tests/test_fuzz_scans.py
"""

from __future__ import annotations

import os
import re
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from fnbench.errors import FnbenchError
from fnbench.scans.read import read_scan
from fnbench.types import Scan

TIMES = float(os.environ.get("FNBENCH_FUZZ", "1"))
SEED = int(os.environ.get("FNBENCH_FUZZ_SEED", "0"))
SECONDS = 5.0
"""No mutated file may take longer, on however busy a machine: the originals take milliseconds."""

TOKENS = (
    b"nan", b"-inf", b"1e999", b"-1", b"0", b"99999999999999999999", b"4294967295", b"2147483648", b"-2147483649",
    b"//", b"/", b"\0", b"\xff\xfe", b"\n", b"\r\n", b"\\\n", b" ", b"", b"f 1 2 3\n", b"v 1 2\n", b"#",
    b"usemtl \xff\n",
    b"mtllib fuzz.obj\n", b"property list uchar int x\n", b"element face 1000000\n", b"element vertex 3\n", b"{", b"}",
    b"[", b"]", b'"', b"1e308", b"-0", b"null", b"true", b"5126", b"5121", b'"children":[0],', b"\x89PNG\r\n\x1a\n",
)  # fmt: skip


def surface(side: int = 7) -> trimesh.Trimesh:
    y, x = np.mgrid[0:side, 0:side] / (side - 1) - 0.5
    vertices = np.stack([x * 150, -y * 200, 60 * np.cos(2 * x) * np.cos(2 * y)], -1).reshape(-1, 3)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    quads = np.stack([corner, corner + side, corner + side + 1, corner + 1], -1)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    image = Image.fromarray(np.full((8, 8, 3), 128, np.uint8))
    visual = trimesh.visual.TextureVisuals(uv=np.stack([x + 0.5, 0.5 - y], -1).reshape(-1, 2), image=image)
    return trimesh.Trimesh(vertices, faces, visual=visual, process=False)


def obj(mesh: trimesh.Trimesh) -> bytes:
    lines = ["mtllib fuzz.mtl", "usemtl face"]
    lines += ["v {:.4f} {:.4f} {:.4f}".format(*v) for v in mesh.vertices.tolist()]
    lines += ["vt {:.4f} {:.4f}".format(*t) for t in mesh.visual.uv.tolist()]
    lines += ["f " + " ".join(f"{i}/{i}" for i in face) for face in (mesh.faces + 1).tolist()]
    lines += ["f -1/-1/0 -2/-2/0 -9/-9/0 -8/-8/0"]
    return "\n".join(lines).encode()


def vtk(mesh: trimesh.Trimesh) -> bytes:
    points = "\n".join("{:.3f} {:.3f} {:.3f}".format(*v) for v in mesh.vertices.tolist())
    polygons = "\n".join("3 {} {} {}".format(*f) for f in mesh.faces.tolist())
    count = len(mesh.faces)
    return (
        f"# vtk DataFile Version 3.0\nface\nASCII\nDATASET POLYDATA\nPOINTS {len(mesh.vertices)} float\n{points}\n"
        f"POLYGONS {count} {4 * count}\n{polygons}\n"
    ).encode()


def vrml(mesh: trimesh.Trimesh) -> bytes:
    points = ", ".join("{:.3f} {:.3f} {:.3f}".format(*v) for v in mesh.vertices.tolist())
    uv = ", ".join("{:.3f} {:.3f}".format(*t) for t in mesh.visual.uv.tolist())
    order = "\n".join("{}, {}, {}, -1,".format(*f) for f in mesh.faces.tolist())
    return (
        '#VRML V2.0 utf8\nShape { appearance Appearance { texture ImageTexture { url "fuzz.png" } }\n'
        f"geometry IndexedFaceSet {{ coord Coordinate {{ point [ {points} ] }} coordIndex [ {order} ]\n"
        f"texCoord TextureCoordinate {{ point [ {uv} ] }} texCoordIndex [ {order} ] }} }}\n"
    ).encode()


def originals() -> dict[str, tuple[bytes, int]]:
    """File type -> an intact file, and how many mutations of it are tried."""
    textured = surface()
    plain = trimesh.Trimesh(textured.vertices, textured.faces, process=False)
    plain.visual.vertex_colors = np.full((len(plain.vertices), 4), 200, np.uint8)
    return {
        "obj": (obj(textured), 2000),
        "ply": (plain.export(file_type="ply", encoding="binary"), 700),
        "ascii.ply": (plain.export(file_type="ply", encoding="ascii"), 500),
        "glb": (textured.export(file_type="glb"), 900),
        "stl": (plain.export(file_type="stl"), 200),
        "ascii.stl": (plain.export(file_type="stl_ascii").encode(), 100),
        "off": (plain.export(file_type="off").encode(), 200),
        "wrl": (vrml(textured), 400),
        "vtk": (vtk(plain), 200),
    }


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One to five random injuries: flipped, cut, repeated, moved, or replaced bytes, numbers and lines."""
    for _ in range(rng.integers(1, 6)):
        if len(content) < 8:
            break
        at, size = int(rng.integers(len(content))), int(rng.integers(1, 40))
        token = TOKENS[rng.integers(len(TOKENS))]
        match rng.integers(9):
            case 0:
                content = content[:at] + bytes(rng.integers(0, 256, size, dtype=np.uint8)) + content[at + size :]
            case 1:
                content = content[:at]
            case 2:
                content = content[:at] + content[at + size :]
            case 3:
                content = content[:at] + token + content[at:]
            case 4:
                content = content[: at + size] + content[at:]
            case 5:
                words = list(re.finditer(rb"[-+.\deE]+", content))
                if words:
                    word = words[rng.integers(len(words))]
                    content = content[: word.start()] + token + content[word.end() :]
            case 6:
                bits = bytearray(content)
                bits[at] ^= 1 << int(rng.integers(8))
                content = bytes(bits)
            case 7:
                lines = content.split(b"\n")
                a, b = rng.integers(len(lines), size=2)
                lines[a], lines[b] = lines[b], lines[a]
                content = b"\n".join(lines)
            case _:
                number = int(rng.integers(2**32)) if rng.random() < 0.5 else int(rng.integers(300))
                content = content[:at] + number.to_bytes(4, "little") + content[at + 4 :]
    return content


def outcome(path: Path, unit: float | None) -> str:
    """``scan``, or the name of our error; anything else escapes."""
    start, message = time.perf_counter(), None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning in somebody's log is an answer that was missed
            scan = read_scan(path, unit=unit)
    except FnbenchError as error:
        message = str(error)
        result = type(error).__name__
    else:
        assert isinstance(scan, Scan)
        result = "scan"
    assert time.perf_counter() - start < SECONDS
    if message is not None:
        assert path.name in message
        assert "\n" not in message
        message.encode()
    return result


@pytest.mark.parametrize("kind", ["obj", "ply", "ascii.ply", "glb", "stl", "ascii.stl", "off", "wrl", "vtk"])
def test_a_mutated_mesh_is_read_or_refused(tmp_path, kind):
    content, count = originals()[kind]
    path = tmp_path / f"fuzz.{kind}"
    (tmp_path / "fuzz.mtl").write_text("newmtl face\nmap_Kd fuzz.png\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "fuzz.png")
    path.write_bytes(content)
    assert outcome(path, "mm") == "scan"
    rng = np.random.default_rng([SEED, sum(kind.encode())])
    seen: dict[str, int] = {}
    for number in range(int(count * TIMES)):
        injured = mutated(content, rng)
        path.write_bytes(injured)
        try:
            result = outcome(path, None if number % 2 else "mm")
        except BaseException:
            kept = tmp_path / f"found.{kind}"
            kept.write_bytes(injured)
            print(f"seed {SEED}, mutation {number}: kept as {kept}")
            raise
        seen[result] = seen.get(result, 0) + 1
    assert seen.get("scan", 0) > 0  # some mutations are harmless: the others were not refused blindly
    assert seen.get("InvalidDataError", 0) > 0


@pytest.mark.parametrize("name", ["fuzz.mtl", "fuzz.png"])
def test_mutated_side_files_do_no_harm(tmp_path, name):
    (tmp_path / "fuzz.obj").write_bytes(obj(surface()))
    (tmp_path / "fuzz.mtl").write_text("newmtl face\nmap_Kd -s 1 1 1 fuzz.png\n")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)).save(tmp_path / "fuzz.png")
    content = (tmp_path / name).read_bytes()
    rng = np.random.default_rng([SEED, sum(name.encode())])
    for _ in range(int(300 * TIMES)):
        (tmp_path / name).write_bytes(mutated(content, rng))
        with suppress(FnbenchError):
            assert isinstance(read_scan(tmp_path / "fuzz.obj"), Scan)
