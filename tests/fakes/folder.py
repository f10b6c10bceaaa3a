"""A folder of own scans in centimetres: two people, landmarks for one scan, a photograph with a camera for another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from fakes import Variant, empty, extra_files, truncate
from fakes.nphm import ball
from fnbench.scans import head

LISTING_READS = ("fnbench.toml",)
CAPTURES = ["anna/neutral", "anna/smile", "ben/neutral"]
DESCRIPTION = r"""
name = "our-lab"
scans = '(?P<subject>[^/]+)/(?P<expression>[^/]+)\.(obj|ply)'
unit = "cm"
front = [0, 0, 1]
landmarks = "{path}.lm.txt"
photographs = "{folder}/{stem}_*.png"
cameras = "{photograph}.json"

[splits]
rule = "hash"
seed = 3
"""
CAMERA = {
    "K": [[400, 0, 100], [0, 400, 120], [0, 0, 1]],
    "world_to_camera": [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 800]],
}


def points() -> np.ndarray:
    """68 landmarks of a frontal head in centimetres, one unknown."""
    found = head.landmarks(head.Shape()) / 10
    found[5] = np.nan
    return found


def write(root: Path) -> None:
    root.mkdir(exist_ok=True)
    (root / "fnbench.toml").write_text(DESCRIPTION)
    for capture, suffix in zip(CAPTURES, (".obj", ".ply", ".obj"), strict=True):
        path = (root / capture).with_suffix(suffix)
        path.parent.mkdir(exist_ok=True)
        mesh = ball()
        mesh.vertices /= 10
        mesh.export(path)
    (root / "anna/neutral.lm.txt").write_text("\n".join("{} {} {}".format(*point) for point in points()))
    Image.new("RGB", (200, 240), (160, 130, 120)).save(root / "ben/neutral_left.png")
    (root / "ben/neutral_left.json").write_text(json.dumps(CAMERA))


def edit(root: Path, old: str, new: str) -> None:
    path = root / "fnbench.toml"
    path.write_text(path.read_text().replace(old, new))


def _same_name(root: Path) -> None:
    ball().export(root / "anna/neutral.ply")


VARIANTS = {
    "extra files": Variant(extra_files),
    "symlink loop": Variant(lambda root: (root / "loop").symlink_to(root)),
    "no landmarks": Variant(lambda root: (root / "anna/neutral.lm.txt").unlink()),
    "no toml": Variant(lambda root: edit(root, "name =", "name"), "not a TOML file"),
    "unknown key": Variant(lambda root: edit(root, "front", "frnt"), "unknown frnt. Expected name, scans"),
    "no subject": Variant(lambda root: edit(root, "subject", "person"), "no group 'subject'"),
    "subject may be missing": Variant(
        lambda root: edit(root, "(?P<subject>[^/]+)/", "(?P<subject>b[^/]+)?[^/]*/"), "finds no subject in this path"
    ),
    "no expression": Variant(lambda root: edit(root, "(?P<expression>", "(?P<expression"), "not a regular expression"),
    "nothing matches": Variant(lambda root: edit(root, "obj|ply", "stl"), "Expected paths that match"),
    "metres declared": Variant(lambda root: edit(root, '"cm"', '"m"'), "expected 100 to 750 mm.*unit=cm"),
    "wrong front": Variant(lambda root: edit(root, "[0, 0, 1]", "[0, 0]"), "front is .0, 0., expected three numbers"),
    "wrong kind": Variant(lambda root: edit(root, "front =", 'gt_kind = "guess"\nfront ='), "gt_kind is 'guess'"),
    "wrong split": Variant(lambda root: edit(root, '"hash"', '"random"'), "splits.rule is 'random'"),
    "one landmark file for all": Variant(lambda root: edit(root, "{path}.lm.txt", "lm.txt"), "same for every scan"),
    "two meshes of one name": Variant(_same_name, "has the same name"),
    "67 landmarks": Variant(
        lambda root: (root / "anna/neutral.lm.txt").write_text("1 2 3\n" * 67), "67 lines", "anna/neutral"
    ),
    "truncated": Variant(lambda root: truncate(root / "anna/smile.ply"), r"smile\.ply", "anna/smile"),
    "empty": Variant(lambda root: empty(root / "anna/smile.ply"), "the file is empty", "anna/smile"),
}
