"""A PhotofaceDB of two subjects and three sessions: a half-ellipsoid face with a nose under four lights.

The syntax around the numbers of LightSource.m is our invention; nobody outside has described it.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from fakes import Variant, empty, extra_files, lit, reencode, truncate, web_page

CAPTURES = ("1001_2008-02-23_12-21-31", "1001_2008-06-30_09-05-00", "2130_2008-03-01_10-00-00")
FIRST = Path("PhotofaceDB/1001/2008-02-23_12-21-31")
SIZE = (180, 150)  # rows, columns

WRITTEN = ("degrees, zenith first", "degrees, zenith second", "radians, zenith first", "radians, zenith second")
CASES = ("+0", "+90", "+180", "+270", "-0", "-90", "-180", "-270")


def light_file(written: str = WRITTEN[0], case: str = "-90", shape: str = "4x2") -> str:
    """LightSource.m whose azimuths, mapped by ``case``, are those of ``lit.LIGHTS``."""
    mirror, turn = (-1.0 if case[0] == "-" else 1.0), float(case[1:])
    zenith, azimuth = np.degrees(lit.LIGHTS).T
    table = np.stack([zenith, mirror * (azimuth - turn) % 360], axis=-1)
    if written.startswith("radians"):
        table = np.radians(table)
    if written.endswith("second"):
        table = table[:, ::-1]
    if shape == "4x3":
        zenith, azimuth = np.radians(np.stack([zenith, mirror * (azimuth - turn)]))
        table = 2 * np.stack([np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)], 1)
    if shape == "2x4":
        table = table.T
    rows = ";\n    ".join(" ".join(f"{value:.6f}" for value in row) for row in table)
    return f"% light sources 1 to 4\nLightSource = [{rows}];\n"


def write_session(
    folder: Path,
    *,
    seed: int = 0,
    case: str = "-90",
    written: str = WRITTEN[0],
    separator: str = ", ",
    stored: bool = False,
    details: str = "male,no,none,1,ok,,blankstare,mouth ajar,",
    mirrored_points: bool = False,
    **light: float,
) -> None:
    """One session; ``light`` goes to ``lit.photographs`` (specular, noise, gamma, cast)."""
    folder.mkdir(parents=True)
    depth, normals, mask = lit.face(*SIZE)
    taken = lit.photographs(depth, normals, mask, lit.directions(), lit.skin(SIZE, seed), seed=seed, **light)
    for k, image in enumerate(taken):
        Image.fromarray(image).save(folder / f"im{k}.bmp")
    (folder / "LightSource.m").write_text(light_file(written, case))
    points = lit.points(*SIZE) + 0.5
    if mirrored_points:
        points = points[[4, 3, 2, 1, 0, 7, 6, 5, 9, 8, 10]]
    (folder / "metadata.txt").write_text("\n".join(f"{x:.1f}{separator}{y:.1f}" for x, y in points) + "\n")
    (folder / "metadataII.txt").write_text(details)
    if stored:
        down, right, out = -normals[..., 1], normals[..., 0], normals[..., 2]
        savemat(folder / "sn.mat", {"px": down, "py": right, "pz": out})
        savemat(folder / "albedo.mat", {"a": 200.0 * mask})


def write(root: Path) -> None:
    """Two subjects, one with two sessions; none has sn.mat."""
    write_session(root / FIRST)
    write_session(
        root / "PhotofaceDB/1001/2008-06-30_09-05-00",
        seed=1, written=WRITTEN[3], separator="\t", details="male,yes,beard,2,blur,hand,positive,,", noise=1.0,
    )  # fmt: skip
    write_session(root / "PhotofaceDB/2130/2008-03-01_10-00-00", seed=2, mirrored_points=True, specular=0.1)
    (root / "PhotofaceDB/generateSNAndZ.m").write_text("function generateSNAndZ()\n")
    (root / "PhotofaceQueryTool").mkdir()
    (root / "PhotofaceQueryTool/Readme").write_text("MATLAB and PostgreSQL")


def write_names(root: Path, count: int) -> None:
    """The folders of ``count`` sessions without a file in them: listing needs no more."""
    database = root / "PhotofaceDB"
    database.mkdir()
    for subject in range(-(-count // 100)):
        folder = f"{database}/{1000 + subject}"
        os.mkdir(folder)
        for k in range(min(100, count - 100 * subject)):
            os.mkdir(f"{folder}/2008-02-{k % 28 + 1:02d}_12-00-{k:02d}")


def _resize(path: Path) -> None:
    with Image.open(path) as image:
        image.resize((100, 120)).save(path)


def _lower_and_upper(root: Path) -> None:
    for name in ("im0.bmp", "im3.bmp", "LightSource.m", "metadata.txt"):
        (root / FIRST / name).rename(root / FIRST / name.swapcase())


def _sn_mat(**variables: np.ndarray):
    return lambda root: savemat(root / FIRST / "sn.mat", variables)


def _light(change):
    return lambda root: (root / FIRST / "LightSource.m").write_text(change(light_file()))


def _points(keep: int):
    def change(root: Path) -> None:
        path = root / FIRST / "metadata.txt"
        path.write_text("\n".join(path.read_text().splitlines()[:keep]))

    return change


def _rows(keep: int):
    def change(text: str) -> str:
        return text.split("[")[0] + "[" + ";".join(text.split("[")[1].rstrip("];\n").split(";")[:keep]) + "];"

    return change


ONES = np.full(SIZE, 1.0)
VARIANTS = {
    "extra files": Variant(extra_files),
    "mixed case": Variant(_lower_and_upper),
    "no metadataII": Variant(lambda root: (root / FIRST / "metadataII.txt").unlink()),
    "occlusion word": Variant(lambda root: (root / FIRST / "metadataII.txt").write_text("female,no,none,1,ok,hair,,,")),
    "three images": Variant(
        lambda root: (root / FIRST / "im2.bmp").unlink(), r"im2\.bmp: this file is missing", CAPTURES[0]
    ),
    "images of two sizes": Variant(
        lambda root: _resize(root / FIRST / "im1.bmp"), "photographs differ in size .*im1.bmp 100x120", CAPTURES[0]
    ),
    "truncated image": Variant(
        lambda root: truncate(root / FIRST / "im3.bmp"), r"im3\.bmp: damaged image", CAPTURES[0]
    ),
    "image re-encoded as text": Variant(
        lambda root: reencode(root / FIRST / "im3.bmp"), r"im3\.bmp: ", CAPTURES[0]
    ),
    "image of size zero": Variant(lambda root: empty(root / FIRST / "im0.bmp"), r"im0\.bmp: ", CAPTURES[0]),
    "three light rows": Variant(_light(_rows(3)), r"LightSource\.m: 6 numbers in 3 rows, expected 8", CAPTURES[0]),
    "lights as expressions": Variant(
        _light(lambda text: text.replace("45.0", "45*pi/180")), r"LightSource\.m: an expression", CAPTURES[0]
    ),
    "lights cut off": Variant(_light(lambda text: text[: text.index(";")]), r"LightSource\.m: a bracket", CAPTURES[0]),
    "lights in one place": Variant(
        lambda root: (root / FIRST / "LightSource.m").write_text("x = [30 40; 31 41; 32 42; 33 43];"),
        r"LightSource\.m: no column is a zenith beside an azimuth", CAPTURES[0],
    ),
    "no light file": Variant(
        lambda root: (root / FIRST / "LightSource.m").unlink(), r"LightSource\.m: this file is missing", CAPTURES[0]
    ),
    "light file is a web page": Variant(
        lambda root: web_page(root / FIRST / "LightSource.m"), "this is a web page", CAPTURES[0]
    ),
    "ten points": Variant(_points(10), r"metadata\.txt: 20 numbers, expected 22", CAPTURES[0]),
    "no points": Variant(
        lambda root: (root / FIRST / "metadata.txt").unlink(), r"metadata\.txt: this file is missing", CAPTURES[0]
    ),
    "points in another order": Variant(
        lambda root: (root / FIRST / "metadata.txt").write_text(
            " ".join(f"{x} {y}" for x, y in np.random.default_rng(1).uniform(0, 150, (11, 2)))
        ),
        r"metadata\.txt: the points miss a face", CAPTURES[0],
    ),
    "sn.mat of another size": Variant(
        _sn_mat(px=ONES[1:], py=ONES[1:], pz=ONES[1:]),
        r"sn\.mat: normals of 179x150 pixels .*expected 180x150", CAPTURES[0],
    ),
    "sn.mat without pz": Variant(_sn_mat(px=ONES, py=ONES), r"sn\.mat: variables pz are missing", CAPTURES[0]),
    "sn.mat is no normal map": Variant(
        _sn_mat(px=ONES, py=ONES, pz=ONES), r"sn\.mat: 0\.0 % of its vectors are unit normals", CAPTURES[0]
    ),
    "sn.mat is text": Variant(
        lambda root: (root / FIRST / "sn.mat").write_text("px py pz"),
        r"sn\.mat: not a readable MATLAB file", CAPTURES[0],
    ),
    "every azimuth differs": Variant(
        lambda root: [
            (folder / "LightSource.m").write_text(light_file(case=case))
            for folder, case in zip(sorted((root / "PhotofaceDB").glob("*/*/")), ("+0", "+90", "-180"), strict=True)
        ],
        "light azimuth stays ambiguous over 3 sessions",
    ),
}  # fmt: skip
