"""Scans as Wavefront OBJ, with their texture beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidSettingError
from fnbench.files import replacing, write_text
from fnbench.types import Scan


def write_scan(path: Path, scan: Scan) -> list[Path]:
    """Write a mesh as ``.obj``; with a texture also ``.mtl`` and ``.png`` of the same name. Returns the files.

    Vertices keep their order, so indices into them stay valid. Raises OutputError, and InvalidSettingError for another
    file type.
    """
    check_mesh_path(path)
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in scan.vertices.tolist()]
    if scan.colors is not None:
        shades = (scan.colors / 255.0).tolist()
        lines = [f"{line} {r:.4f} {g:.4f} {b:.4f}" for line, (r, g, b) in zip(lines, shades, strict=True)]
    files = [path]
    if scan.uv is None or scan.uv_faces is None:
        lines += [f"f {a} {b} {c}" for a, b, c in (scan.faces + 1).tolist()]
    else:
        if scan.texture is not None:
            files += _write_material(path, scan.texture)
            lines = [f"mtllib {path.stem}.mtl", "usemtl skin", *lines]
        lines += [f"vt {u:.7g} {v:.7g}" for u, v in scan.uv.tolist()]
        both = np.stack([scan.faces + 1, scan.uv_faces + 1], axis=-1).reshape(-1, 6)
        lines += [f"f {a}/{ta} {b}/{tb} {c}/{tc}" for a, ta, b, tb, c, tc in both.tolist()]
    write_text(path, "\n".join(lines) + "\n")  # last: what is named in it is there
    return files


def check_mesh_path(path: Path) -> None:
    """InvalidSettingError unless the name ends in ``.obj``."""
    if path.suffix.lower() != ".obj":
        raise InvalidSettingError(f"{path}: meshes are written as .obj; give a name that ends so.")


def _write_material(path: Path, texture: NDArray[np.uint8]) -> list[Path]:
    from PIL import Image

    image, material = path.with_suffix(".png"), path.with_suffix(".mtl")
    with replacing(image) as temporary:
        Image.fromarray(texture).save(temporary, "PNG")
    write_text(material, f"newmtl skin\nKd 1 1 1\nmap_Kd {image.name}\n")
    return [image, material]
