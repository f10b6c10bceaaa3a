"""AffectNet, both releases in one folder: the training list without a header, the validation list with one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fakes import Variant, empty, extra_files, truncate, web_page

CAPTURES = ("1/aa11", "1/bb22", "12/cc33", "train_set/0", "train_set/7")
OLD = Path("Manually_Annotated/Manually_Annotated_Images")
LISTS = Path("Manually_Annotated_file_lists")
NEW = Path("train_set")
HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


def points() -> np.ndarray:
    around = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    return np.stack([48 + 30 * np.cos(around), 50 + 35 * np.sin(around)], axis=-1)


def row(picture: str, expression: int) -> str:
    marked = ";".join(f"{value:.2f}" for value in points().ravel())
    return f"{picture},10,10,80,80,{marked},{expression},-0.25,0.5"


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (96, 96, 3), np.uint8)).save(path)


def write(root: Path) -> None:
    for seed, name in enumerate(("1/aa11.jpg", "1/bb22.jpg", "12/cc33.JPG")):
        picture(root / OLD / name, seed)
    (root / LISTS).mkdir()
    (root / LISTS / "training.csv").write_text("\n".join([row("1/aa11.jpg", 1), row("1/bb22.jpg", 8)]) + "\n")
    (root / LISTS / "validation.csv").write_text("\n".join([HEADER, row("12/cc33.jpg", 0)]) + "\n")
    (root / NEW / "annotations").mkdir(parents=True)
    for number in (0, 7):
        picture(root / NEW / f"images/{number}.jpg", number)
        for part, value in {"exp": "3", "val": "0.1", "aro": "-0.2"}.items():
            np.save(root / NEW / f"annotations/{number}_{part}.npy", np.array(value))
        np.save(root / NEW / f"annotations/{number}_lnd.npy", points().ravel())


def _replace(old: str, new: str):
    def change(root: Path) -> None:
        path = root / LISTS / "training.csv"
        path.write_text(path.read_text().replace(old, new))

    return change


def _no_lists(root: Path) -> None:
    for path in (root / LISTS).iterdir():
        path.unlink()


def _pickle(root: Path) -> None:
    np.save(root / NEW / "annotations/7_exp.npy", np.array({"exp": 3}, dtype=object), allow_pickle=True)


VARIANTS = {
    "extra files": Variant(extra_files),
    "lists inside": Variant(lambda root: (root / LISTS).rename(root / "Manually_Annotated" / LISTS)),
    "no lists": Variant(_no_lists, r"training\.csv: this file is missing"),
    "list is a web page": Variant(lambda root: web_page(root / LISTS / "training.csv"), "this is a web page"),
    "a column missing": Variant(_replace(",-0.25,0.5", ",-0.25"), r"training\.csv: line 1 has 8 columns, expected 9"),
    "picture in no list": Variant(_replace("1/aa11", "1/xx99"), r"aa11\.jpg: the picture is in neither", CAPTURES[0]),
    "67 points": Variant(
        lambda root: np.save(root / NEW / "annotations/0_lnd.npy", points()[:67]), "134 landmark numbers", CAPTURES[3]
    ),
    "no points": Variant(
        lambda root: (root / NEW / "annotations/0_lnd.npy").unlink(), r"0_lnd\.npy: this file is missing", CAPTURES[3]
    ),
    "pickled annotation": Variant(_pickle, r"7_exp\.npy: not a plain array", CAPTURES[4]),
    "expression 12": Variant(
        lambda root: np.save(root / NEW / "annotations/7_exp.npy", np.array("12")), "expression 12, expected 0 to 10",
        CAPTURES[4],
    ),
    "picture cut off": Variant(lambda root: truncate(root / OLD / "1/aa11.jpg"), r"aa11\.jpg: damaged", CAPTURES[0]),
    "picture empty": Variant(lambda root: empty(root / OLD / "1/aa11.jpg"), r"aa11\.jpg: ", CAPTURES[0]),
}  # fmt: skip
