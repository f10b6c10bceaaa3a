"""Stirling: three scans in the spellings that occur, one with seven marked points; the shape is invented."""

from __future__ import annotations

from pathlib import Path

from fakes import Variant, empty, extra_files, truncate
from fakes.nphm import ball

CAPTURES = ["F1001/1", "F1001/1_NH", "M1040/2"]
LND = "1 -45 30 60\n2 -18 30 70\n3 18 30 70\n4 45.8 30 60\n5 0 -20 80\n6 -25 -45 70\n7 25 -45 70\n"


def write(root: Path) -> None:
    (root / "neutral").mkdir(parents=True)
    (root / "more").mkdir()
    for name in ("neutral/F1001_1.obj", "more/f1001_1_nh.obj", "neutral/M1040_2.OBJ"):
        text = ball().export(file_type="obj")
        (root / name).write_text(f"mtllib {Path(name).stem}.mtl\n{text}\n")
    (root / "neutral/F1001_1.mtl").write_text("newmtl a\nmap_Kd missing.jpg\n")
    (root / "F1001_1.lnd").write_text(LND)


def _metres(root: Path) -> None:
    mesh = ball()
    mesh.vertices /= 1000
    (root / "neutral/M1040_2.OBJ").write_text(mesh.export(file_type="obj"))


VARIANTS = {
    "extra files": Variant(extra_files),
    "symlink loop": Variant(lambda root: (root / "loop").symlink_to(root)),
    "no points": Variant(lambda root: (root / "F1001_1.lnd").unlink()),
    "six points": Variant(
        lambda root: (root / "F1001_1.lnd").write_text(LND.split("\n", 1)[1]), "6 lines, .* expected 7", "F1001/1"
    ),
    "points in metres": Variant(
        lambda root: (root / "F1001_1.lnd").write_text(LND.replace("-45 30", "-0.045 30").replace("45.8", "0.0458")),
        "outer eye corners are 0.09",
        "F1001/1",
    ),
    "words as points": Variant(
        lambda root: (root / "F1001_1.lnd").write_text(LND.replace("60", "x")), "expected lines of index", "F1001/1"
    ),
    "metres": Variant(_metres, r"M1040_2\.OBJ: .*expected 100 to 750 mm", "M1040/2"),
    "truncated": Variant(lambda root: truncate(root / "neutral/M1040_2.OBJ", 0.2), r"M1040_2\.OBJ", "M1040/2"),
    "empty": Variant(lambda root: empty(root / "neutral/M1040_2.OBJ"), "the file is empty", "M1040/2"),
    "two copies": Variant(
        lambda root: (root / "more/F1001_1.obj").write_text(ball().export(file_type="obj")), "F1001/1 also lies in"
    ),
}
