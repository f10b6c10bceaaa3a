"""Whether the doctor names what is wrong, and says nothing about what is right, on real files through the command.

    python -m tests.benchmarks.check_doctor synthetic.h5              silence and permutations on a rendered test split
    python -m tests.benchmarks.check_doctor synthetic.h5 crossmodal   one part: silence, crossmodal, noise or mean-face
    python -m tests.benchmarks.check_doctor --data DIR                permutations on the james photographs, by FaceMesh

synthetic.h5 holds the test split of the built-in dataset: ``synthetic-test.h5`` of leaderboard/README.md (two minutes
on one core), or all of it (about a quarter of an hour):

    fnbench render-gt synthetic --out synthetic.h5 --yaw -30,0,30

Permutations: every one of the 48 is applied to the predictions of the whole split and saved; the doctor must end with
exit code 2, and the option that it prints must score like the unpermuted maps. The identity must find nothing. The
predictors are the shipped crossmodal network, a real model with its own errors; the truth with smooth noise of ten
degrees; and the mean face, one map for all images, declared with --constant.
Silence: a hundred correct sets of 24 maps, noise from 0 to 25 degrees, from one pixel wide to as wide as the face.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from click.testing import CliRunner
from numpy.typing import NDArray
from skimage.transform import resize

from fnbench.cli import main
from fnbench.estimator import predictions
from fnbench.evaluate import some_of
from fnbench.frames import frame_preset, signed_permutations
from fnbench.models.load import load_estimator
from fnbench.store import Store, write_samples

SETS = 100
Maps = Mapping[str, NDArray[np.float32]]


def saved(folder: Path, maps: Maps) -> Path:
    """All maps in one HDF5 file, one dataset per id."""
    path = folder / "maps.h5"
    with h5py.File(path, "w") as file:
        for name, values in maps.items():
            file[name] = values.astype(np.float16)  # half the bytes, 0.006 degrees
    return path


def doctor(maps: Maps, data: Path, *options: str) -> tuple[int, str]:
    """Exit code and output of ``fnbench doctor`` on these maps."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["doctor", "--predictions", str(saved(Path(folder), maps)), "--data", str(data)]
        answer = CliRunner().invoke(main, [*arguments, *options])
    return answer.exit_code, answer.output.strip()


def undone(output: str) -> NDArray[np.float64] | None:
    """The matrix that the printed option applies; None when it is no pure change of axes."""
    frame, bgr = re.search(r"--frame (\S+?)\.?$", output, re.M), "--order bgr" in output
    if "--mirror" in output or not (frame or bgr):
        return None
    matrix = frame_preset(frame[1]).matrix if frame else np.eye(3)
    return matrix[:, ::-1] if bgr else matrix


def permutations(name: str, maps: Maps, data: Path, *options: str) -> int:
    """How many of the 48 are named rightly; every other one is printed."""
    right, sure = 0, Counter[str]()
    for words, matrix in signed_permutations():
        turned = {key: (one @ matrix.T).astype(np.float32) for key, one in maps.items()}
        code, output = doctor(turned, data, *options)
        identity = np.array_equal(matrix, np.eye(3))
        repair = undone(output)
        good = (
            code == 0 if identity else code == 2 and repair is not None and np.array_equal(repair @ matrix, np.eye(3))
        )
        right += good
        sure.update(re.findall(r"confidence (\w+)", output))
        if not good:
            print(f"  {name}, {words}: {output}")
    print(f"{name}: {right} of 48 permutations named with the right repair; confidence {dict(sure)}", flush=True)
    return right


def silence(store: Store, seeds: range = range(SETS)) -> int:
    """How many of SETS correct sets get no diagnosis."""
    chosen = some_of(sorted(store.indices("test"), key=lambda index: store.ids[index]), 24)
    truths = {store.ids[index]: store.target(index).normals for index in chosen}
    attributes = {name: value for name, value in store.attributes.items() if name != "settings"}
    silent = 0
    with tempfile.TemporaryDirectory() as folder:
        few = Path(write_samples(Path(folder) / "few.h5", [store[index] for index in chosen], attributes))
        for seed in seeds:
            rng = np.random.default_rng(seed)
            degrees, smooth = 25 * seed / (SETS - 1), float(rng.choice([0, 2, 6, 15, 40]))
            maps = {name: noisy(filled(truth), degrees, rng, smooth) for name, truth in truths.items()}
            code, output = doctor(maps, few)
            silent += code == 0
            if code:
                print(f"  {degrees:.1f} degrees, {smooth:g} px wide: {output}", flush=True)
    print(f"silent on {silent} of {len(seeds)} correct sets, noise 0 to 25 degrees", flush=True)
    return silent


def noisy(normals: NDArray[np.float32], degrees: float, rng: np.random.Generator, smooth: float) -> NDArray[np.float32]:
    """Normals with a mean error of about ``degrees`` from noise that is ``smooth`` pixels wide."""
    side = normals.shape[0]
    if smooth:
        cells = max(2, int(side / smooth))
        noise = resize(rng.normal(size=(cells, cells, 3)), normals.shape, order=3)
    else:
        noise = rng.normal(size=normals.shape)
    vectors = normals + np.tan(np.radians(degrees)) * 0.8 * noise / noise.std()
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def filled(normals: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normals with (0, 0, 1) where there is none."""
    return np.where(normals.any(axis=-1, keepdims=True), normals, np.float32([0, 0, 1]))


def predictors(store: Store) -> Iterator[tuple[str, Callable[[], Maps], tuple[str, ...]]]:
    """Name and maps of each predictor over the test split, and what has to be declared with them."""
    chosen = store.indices("test")
    names = [store.ids[index] for index in chosen]

    def predicted(model: str) -> Maps:
        answers = predictions(load_estimator(model), (store.image(index) for index in chosen))
        return dict(zip(names, answers, strict=True))

    def wrong_by_ten() -> Maps:
        rng = np.random.default_rng(0)
        return {store.ids[i]: noisy(filled(store.target(i).normals), 10, rng, 6) for i in chosen}

    yield "crossmodal", partial(predicted, "crossmodal"), ()
    yield "noise", wrong_by_ten, ()
    yield "mean-face", partial(predicted, "mean-face"), ("--constant",)


def james(data: Path) -> int:
    """How many of the 48 are named on the two photographs of a real face, rendered and predicted through the verbs."""
    with tempfile.TemporaryDirectory() as folder:
        scans = Path(folder) / "Florence" / "subject_01" / "Model" / "frontal1" / "obj"
        scans.mkdir(parents=True)
        for name in ("james.obj", "james.jpg", "james.obj.mtl"):
            shutil.copy(data / "menpo3d_james" / name, scans / name)
        file = Path(folder) / "james.h5"
        render = ["render-gt", "florence", "--root", str(Path(folder) / "Florence"), "--out", str(file)]
        answer = CliRunner().invoke(main, [*render, "--images", "photo"])
        if answer.exit_code:
            raise SystemExit(answer.output)
        model = load_estimator(f"{Path(__file__).parents[1] / 'estimators' / 'facemesh.py'}:FaceMesh")
        with Store(file) as store:
            maps = dict(zip(store.ids, predictions(model, map(store.image, range(len(store)))), strict=True))
        return permutations("FaceMesh on james", maps, file)


def main_(file: Path | None, data: Path | None, part: str | None) -> None:
    if file is not None:
        with Store(file) as store:
            print(
                f"{store.path.name}: {len(store.indices('test'))} samples of the test split, {store.size}", flush=True
            )
            if part in (None, "silence"):
                silence(store)
            for name, maps, options in predictors(store):
                if part in (None, name):
                    permutations(name, maps(), store.path, *options)
    if data is not None:
        james(data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", help="the rendered test split")
    parser.add_argument("part", nargs="?", help="silence, crossmodal, noise or mean-face; all by default")
    parser.add_argument("--data", type=Path, help="folder with menpo3d_james and the FaceMesh weights")
    given = parser.parse_args()
    if given.data is not None:
        os.environ["FNBENCH_TEST_DATA"] = str(given.data)
    main_(given.file, given.data, given.part)
