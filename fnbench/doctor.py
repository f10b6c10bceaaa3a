"""What is wrong with a set of predictions, how sure that is, and the option that would repair it.

A convention mistake looks like a bad model: with y flipped, a good prediction reads 30 to 50 degrees. The doctor tries
explanations on a sample of images and names the one that makes the predictions fit, with the score before and after.
It changes nothing.

Explanations, each tried on what the ones before it left
    stored codes that were not decoded, [0, 1] or 0-255
    a background that counts: one exact target on many pixels
    constant predictions, or one prediction for several images
    the 48 signed axis permutations (inward normals and BGR among them), each with the picture as it is, mirrored,
        upside down, turned or transposed
    another frame than the camera's: one rotation per image
    a shift of up to 8 pixels, or padding

An explanation is given only when it is much better than the predictions as they are, in most images, *and* better than
a constant would be: a network with random weights has no convention to be named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.encodings import SURE_FIT, decoded, fitting_encoding
from fnbench.frames import PRESETS, frame_preset, signed_permutations
from fnbench.metrics import NO_DIRECTION, angular_error

PIXELS = 2000
"""Pixels of an image that the explanations are tried on."""
IMAGES = 24
SHORTLIST = 4
SHIFT = 8
GAIN = 0.8
"""An axis explanation must bring the error below this share of the error as it is."""
LEAST_GAIN = 2.0
"""... and by this many degrees."""
MIRROR_GAIN = 0.9
"""Faces are nearly symmetric: a mirrored picture must be better than the best axes by this share to be named."""
ROTATION_GAIN = 0.6
SHIFT_GAIN = 0.94
"""A smooth shape fits a little better two pixels off by chance: 0.955 for FaceMesh on a real scan; three are 0.91."""
CONSTANT_GAIN = 0.8
"""An explanation must be better than the best constant by this share."""
BACKGROUND = 0.2
"""Share of pixels with one and the same target from which on a background is taken to count."""
AGREEMENT = 0.75
"""Share of images that must be better for an explanation."""

Vectors = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Case:
    """One image: what was predicted, and what is true.

    predicted: (H, W, 3) in what is taken to be the canonical frame.  target: (H, W, 3) unit normals.
    mask: (H, W) pixels that count.  rotation: (3, 3) world to camera.
    """

    id: str
    predicted: Vectors
    target: Vectors
    mask: NDArray[np.bool_]
    rotation: NDArray[np.float64]

    @cached_property
    def chosen(self) -> NDArray[np.intp]:
        """Flat indices of evenly spread pixels that count."""
        inside = np.flatnonzero(self.mask)
        return inside[np.linspace(0, len(inside) - 1, min(PIXELS, len(inside))).astype(np.intp)]

    @cached_property
    def truth(self) -> Vectors:
        """(K, 3) targets at the chosen pixels."""
        return self.target.reshape(-1, 3)[self.chosen].astype(np.float64)

    def vectors(self, picture: str = "as it is") -> Vectors:
        """(K, 3) predictions at the chosen pixels, of the picture turned back; zero where they are not finite."""
        turned = np.ascontiguousarray(PICTURES[picture](self.predicted))
        values = turned.reshape(-1, 3)[self.chosen].astype(np.float64)
        return np.where(np.isfinite(values).all(axis=-1, keepdims=True), values, 0)


PICTURES: dict[str, Any] = {
    "as it is": lambda p: p,
    "mirrored": lambda p: p[:, ::-1],
    "upside down": lambda p: p[::-1],
    "turned by 180°": lambda p: p[::-1, ::-1],
    "transposed": lambda p: p.transpose(1, 0, 2),
    "turned by 90°": lambda p: p[:, ::-1].transpose(1, 0, 2),
    "turned by 270°": lambda p: p[::-1].transpose(1, 0, 2),
    "transposed and turned by 180°": lambda p: p[::-1, ::-1].transpose(1, 0, 2),
}


_SQUARE_ONLY = tuple(PICTURES)[4:]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One mistake.

    code: failure mode.  what: in words.  confidence: high, medium or low.
    before, after: mean error in degrees over the tried pixels, as it is and after the repair (None when there is none).
    agreeing: share of images that the explanation fits better.  option: what to add to the command, or what to do.
    axes: canonical x, y, z in terms of the given channels, when the axes are wrong.
    """

    code: str
    what: str
    confidence: str
    before: float
    after: float | None
    agreeing: float
    option: str
    axes: str = "x,y,z"

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"

    @property
    def text(self) -> str:
        """Everything but the code, in one sentence and the repair."""
        after = "" if self.after is None else f", {self.after:.1f} after the repair"
        return (
            f"{self.what} (confidence {self.confidence}: {self.agreeing:.0%} of the images agree; "
            f"mean error {self.before:.1f} degrees as it is{after}). {self.option}"
        )


def diagnose(
    cases: Sequence[Case], *, frame: str = "canonical", quick: bool = False, baseline: bool = False
) -> list[Diagnosis]:
    """Name what is wrong with predictions; empty when nothing is.

    cases: some images of the set, at most IMAGES are used.  frame: the declared one, for the wording of the repair.
    quick: only codes, constants, the 48 axes and mirroring.
    baseline: a declared constant, for which one vector or one map for all images is no mistake.
    """
    cases = list(cases)[:IMAGES]
    if not cases:
        return []
    found: list[Diagnosis] = []
    coding = _coding(cases)
    if coding is not None:
        diagnosis, cases = coding
        found.append(diagnosis)
    found += _background(cases)
    if not baseline:
        flat = _flat(cases)
        if flat is not None:
            return [*found, flat]
        found += _copies(cases)
    axes, cases = _axes(cases, frame, ("as it is", "mirrored") if quick else tuple(PICTURES))
    found += axes
    if not quick:
        rotated = _rotations(cases)
        if rotated:
            return [*found, *rotated]
        found += _shift(cases)
    return found


def permuted(name: str) -> NDArray[np.float64]:
    """(3, 3) of an axes text such as "x,-y,-z"."""
    return frame_preset(name).matrix


def _errors(vectors: Vectors, truth: Vectors) -> float:
    """Mean angle over the vectors that have a direction; 180 when fewer than half have one."""
    with np.errstate(invalid="ignore"):
        known = np.linalg.norm(vectors, axis=-1) >= NO_DIRECTION
    known &= np.isfinite(vectors).all(axis=-1)
    if known.mean() < 0.5:
        return 180.0
    return float(angular_error(vectors[known], truth[known]).mean())


def mean_error(cases: Sequence[Case]) -> float:
    """Mean over cases of the mean error at their chosen pixels, in degrees."""
    return float(_now(cases).mean())


def _now(cases: Sequence[Case]) -> NDArray[np.float64]:
    return np.array([_errors(case.vectors(), case.truth) for case in cases])


def _best_constant(cases: Sequence[Case]) -> float:
    """Mean error of the mean target direction: what any explanation has to beat."""
    mean = np.mean(np.concatenate([case.truth for case in cases]), axis=0)
    return float(np.mean([_errors(np.broadcast_to(mean, case.truth.shape), case.truth) for case in cases]))


def _confidence(before: float, after: float, agreeing: float, images: int) -> str:
    if after < 0.6 * before and agreeing >= 0.9:
        return "high" if images >= 2 else "medium"
    return "medium" if after < 0.7 * before else "low"


def _coding(cases: Sequence[Case]) -> tuple[Diagnosis, list[Case]] | None:
    inside = np.concatenate([case.vectors() for case in cases])
    finite = inside[inside.any(axis=-1)]
    if not len(finite) or finite.min() < 0:
        return None
    lengths = np.linalg.norm(finite, axis=-1)
    if (np.abs(lengths - 1) > 0.05).mean() < 0.05:
        return None  # unit vectors that happen to be positive
    before = mean_error(cases)
    if finite.max() <= 1.001:
        name, what, option = "unit", "left in [0, 1], not decoded", "Add --encoding unit."
    elif finite.max() <= 256:
        name, clear = fitting_encoding(finite)
        others = "" if clear < SURE_FIT else "; 127.5, 128 and 127 fit almost alike"
        what, option = f"codes 0-255, not decoded{others}", f"Add --encoding {name}."
    else:
        return None
    repaired = [replace(case, predicted=decoded(case.predicted.astype(np.float64), name)) for case in cases]
    # What is left after decoding may still be in another frame, so the best axes are what the repair is worth.
    after = min(float(np.mean(errors)) for errors in _axis_errors(repaired, "as it is").values())
    return Diagnosis("FM-11", f"the values are {what}", "high", before, after, 1.0, option), repaired


def _flat(cases: Sequence[Case]) -> Diagnosis | None:
    """One vector everywhere: there is nothing left that an explanation could fit."""
    flat = float(np.mean([_unit(case.vectors()).std(axis=0).max() < 1e-3 for case in cases]))
    if flat <= 0.5:
        return None
    text = "every pixel has the same normal: a constant, not a prediction"
    option = "Check what was saved; --constant declares a baseline."
    return Diagnosis("FM-20", text, "high", mean_error(cases), None, flat, option)


def _copies(cases: Sequence[Case]) -> list[Diagnosis]:
    """One map for several images. It may have wrong axes as well, so the other explanations are tried nevertheless."""
    keys = [case.predicted.tobytes() for case in cases]
    different = len({case.target.tobytes() for case in cases}) > 1
    if len(set(keys)) == len(keys) or not different:
        return []
    share = float(np.mean([keys.count(key) > 1 for key in keys]))
    text = f"{round(share * len(keys))} of {len(keys)} images have the same prediction, although they differ"
    option = "Check the loop that saved them; --constant declares a baseline."
    return [Diagnosis("FM-20", text, "high", mean_error(cases), None, share, option)]


def _axis_errors(cases: Sequence[Case], picture: str) -> dict[str, NDArray[np.float64]]:
    """The error of each case under the axes that fit best, and under those given; of 48 only the promising ones.

    The mean cosine of all 48 follows from one 3x3 matrix per case; angles are computed for the SHORTLIST best by it.
    """
    vectors = [case.vectors(picture) for case in cases]
    moments = np.mean([_unit(one).T @ case.truth / len(one) for one, case in zip(vectors, cases, strict=True)], axis=0)
    named = {name.strip("()").replace(" ", ""): matrix for name, matrix in signed_permutations()}
    ranked = sorted(named, key=lambda name: -float((named[name].T * moments).sum()))
    return {
        name: np.array([_errors(one @ named[name].T, case.truth) for one, case in zip(vectors, cases, strict=True)])
        for name in dict.fromkeys(["x,y,z", *ranked[:SHORTLIST]])
    }


def _unit(vectors: Vectors) -> Vectors:
    """Unit vectors, zero where there is no direction."""
    finite = np.where(np.isfinite(vectors).all(axis=-1, keepdims=True), vectors, 0)
    length = np.linalg.norm(finite, axis=-1, keepdims=True)
    return np.where(length >= NO_DIRECTION, finite / np.maximum(length, NO_DIRECTION), 0)


def _axes(cases: list[Case], frame: str, pictures: Sequence[str]) -> tuple[list[Diagnosis], list[Case]]:
    square = all(case.mask.shape[0] == case.mask.shape[1] for case in cases)
    tried = [
        name for name in pictures if square or ("transposed" not in name and "90" not in name and "270" not in name)
    ]
    errors = {(picture, axes): e for picture in tried for axes, e in _axis_errors(cases, picture).items()}
    given = errors["as it is", "x,y,z"]

    def mean(key: tuple[str, str]) -> float:
        return float(errors[key].mean())

    best = min(errors, key=lambda key: mean(key) / (1.0 if key[0] == "as it is" else MIRROR_GAIN))
    before, after = float(given.mean()), mean(best)
    agreeing = float((errors[best] < given).mean())
    if (
        best == ("as it is", "x,y,z")
        or after > GAIN * before
        or before - after < LEAST_GAIN
        or after > CONSTANT_GAIN * _best_constant(cases)
        or agreeing < AGREEMENT
    ):
        return [], cases
    picture, axes = best
    repaired = [
        replace(case, predicted=np.nan_to_num(PICTURES[picture](case.predicted)) @ permuted(axes).T) for case in cases
    ]
    rivals = [key for key in errors if key != best and mean(key) < 1.1 * after]
    words = _axes_words(picture, axes)
    if rivals:
        words += f"; nearly as good: {', '.join(_axes_words(*key) for key in rivals[:2])}"
    found = Diagnosis(
        _axes_code(picture, axes),
        words,
        "low" if rivals else _confidence(before, after, agreeing, len(cases)),
        before,
        after,
        agreeing,
        _axes_option(picture, axes, frame),
        axes,
    )
    return [found], repaired


_NAMED_FRAMES = ("canonical", "opencv", "sfsnet", "dsine", "pytorch3d")
_KNOWN_AXES = {
    "z,y,x": "red and blue are exchanged (BGR order)",
    "-x,-y,-z": "the normals point inward",
    "-x,y,z": "x is flipped",
    "x,-y,z": "y is flipped",
    "x,y,-z": "z is flipped",
    "x,-y,-z": "y and z are flipped (OpenCV axes)",
    "-x,y,-z": "x and z are flipped",
    "-x,-y,z": "x and y are flipped",
    "y,-x,z": "the axes are down, right, out (SfSNet, Photoface)",
}


def _axes_words(picture: str, axes: str) -> str:
    named = (
        ""
        if axes == "x,y,z"
        else _KNOWN_AXES.get(axes, f"the axes are exchanged: canonical is ({axes}) of what is given")
    )
    if picture == "as it is":
        return named or "nothing"
    if picture == "mirrored":
        if axes == "-x,y,z":
            return "the picture is mirrored and x negated with it (both)"
        return "the picture is mirrored and x was not negated" if not named else f"the picture is mirrored and {named}"
    return f"the picture is {picture}" + (f" and {named}" if named else "")


def _axes_code(picture: str, axes: str) -> str:
    if picture == "mirrored":
        return "FM-17"
    if picture != "as it is":
        return "FM-06"
    return "FM-14" if axes == "z,y,x" else "FM-15"


def _axes_option(picture: str, axes: str, frame: str) -> str:
    if picture not in ("as it is", "mirrored"):
        return "Save the maps the way the images are; no option turns them."
    options = ["--mirror"] if picture == "mirrored" else []
    if axes == "z,y,x" and frame == "canonical":
        options.append("--order bgr")
    elif axes != "x,y,z":
        options.append(f"--frame {spelled(permuted(axes) @ frame_preset(frame).matrix)}")
    return f"Add {' '.join(options)}."


def spelled(matrix: NDArray[np.float64]) -> str:
    """The name of a signed permutation: a preset when one fits, else "y,-x,z".

    >>> spelled(np.diag([1.0, -1.0, -1.0]))
    'opencv'
    """
    for preset in PRESETS.values():
        if np.array_equal(preset.matrix, matrix) and preset.name in (
            "canonical",
            "opencv",
            "sfsnet",
            "dsine",
            "pytorch3d",
        ):
            return preset.name
    rows = []
    for row in matrix:
        axis = int(np.abs(row).argmax())
        rows.append(("-" if row[axis] < 0 else "") + "xyz"[axis])
    return ",".join(rows)


def _rotations(cases: Sequence[Case]) -> list[Diagnosis]:
    """One rotation per image: predictions in the frame of the world or of the head."""
    given = _now(cases)
    fits = [_kabsch(case) for case in cases]
    rotations, errors = [rotation for rotation, _ in fits], np.array([error for _, error in fits])
    before, after = float(given.mean()), float(errors.mean())
    turned = np.array([_turn(rotation) for rotation in rotations]) > 10  # a frontal view may need none
    agreeing = float((errors < ROTATION_GAIN * given)[turned].mean()) if turned.any() else 0.0
    if (
        after > ROTATION_GAIN * before
        or turned.mean() < 0.25
        or agreeing < AGREEMENT
        or after > CONSTANT_GAIN * _best_constant(cases)
    ):
        return []
    differ = max(_turn(a @ b.T) for a in rotations for b in rotations)
    in_world = float(np.mean([_errors(case.vectors() @ case.rotation.T, case.truth) for case in cases]))
    confidence = _confidence(before, after, agreeing, len(cases))
    if in_world < 1.1 * after + 0.5:
        text = "the normals are in the frame of the world (the scan), not of the camera"
        option = "Add --space world, or multiply by the rotation of world_to_camera."
        after = in_world
    elif differ > 5:
        text = f"each image needs a rotation of its own (they differ by up to {differ:.0f} degrees): a head-local frame"
        option = "Rotate by the head pose into the camera frame before saving; no option can know it."
    else:
        text = f"all images are turned by the same {_turn(rotations[0]):.0f} degrees"
        option = "Check the camera frame of the method; no option turns by an arbitrary rotation."
        confidence = "low"
    return [Diagnosis("FM-16", text, confidence, before, after, agreeing, option)]


def _kabsch(case: Case) -> tuple[NDArray[np.float64], float]:
    """The rotation that brings the predictions nearest to the targets, and the error it leaves."""
    vectors = case.vectors()
    usable = np.isfinite(vectors).all(axis=-1) & (np.linalg.norm(np.nan_to_num(vectors), axis=-1) >= NO_DIRECTION)
    if not usable.any():
        return np.eye(3), 180.0
    p = vectors[usable] / np.linalg.norm(vectors[usable], axis=-1, keepdims=True)
    t = case.truth[usable]
    u, _, v = np.linalg.svd(t.T @ p)
    rotation = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v))]) @ v
    return rotation, _errors(vectors @ rotation.T, case.truth)


def _turn(rotation: NDArray[np.float64]) -> float:
    """Angle of a rotation in degrees."""
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def _shift(cases: Sequence[Case]) -> list[Diagnosis]:
    """A shift of a few pixels, or a frame of padding around a smaller map."""
    given = _now(cases)
    before = float(given.mean())
    padding = _padding(cases)
    if padding is not None:
        return [padding]
    dx, dy = _best_shift(cases)
    errors = _now([replace(case, predicted=_moved(case.predicted, dx, dy)) for case in cases])
    after, agreeing = float(errors.mean()), float((errors < given).mean())
    if (
        max(abs(dx), abs(dy)) < 2
        or after > SHIFT_GAIN * before
        or agreeing < AGREEMENT
        or after > CONSTANT_GAIN * _best_constant(cases)
    ):
        return []
    across = f"{abs(dx)} px to the {'right' if dx > 0 else 'left'}" if dx else ""
    down = f"{abs(dy)} px {'down' if dy > 0 else 'up'}" if dy else ""
    text = f"the maps are shifted {' and '.join(part for part in (across, down) if part)}"
    option = "Correct the crop or the padding before saving; no option shifts predictions."
    return [Diagnosis("FM-19", text, _confidence(before, after, agreeing, len(cases)), before, after, agreeing, option)]


def _best_shift(cases: Sequence[Case]) -> tuple[int, int]:
    """The dx, dy whose look-up fits best by the mean cosine, over a part of the pixels."""
    dy, dx = (step.ravel() for step in np.mgrid[-SHIFT : SHIFT + 1, -SHIFT : SHIFT + 1])
    fit = np.zeros(len(dx))
    for case in cases:
        height, width = case.mask.shape
        chosen = case.chosen[:: max(1, len(case.chosen) // 500)]
        rows = np.clip(chosen // width + dy[:, None], 0, height - 1)
        columns = np.clip(chosen % width + dx[:, None], 0, width - 1)
        truth = case.target.reshape(-1, 3)[chosen]
        fit += np.einsum("skc,kc->s", _unit(case.predicted)[rows, columns], truth) / len(chosen)
    best = int(fit.argmax())
    return int(dx[best]), int(dy[best])


def _moved(predicted: Vectors, dx: int, dy: int) -> Vectors:
    """The map whose pixel is the one dx to the right and dy below it; the border is repeated."""
    rows = np.clip(np.arange(predicted.shape[0]) + dy, 0, predicted.shape[0] - 1)
    columns = np.clip(np.arange(predicted.shape[1]) + dx, 0, predicted.shape[1] - 1)
    return predicted[np.ix_(rows, columns)]


def _padding(cases: Sequence[Case]) -> Diagnosis | None:
    """Borders of one constant vector around the content, the same in every image."""
    boxes = {_content(case.predicted) for case in cases}
    if len(boxes) != 1:
        return None
    top, bottom, left, right = boxes.pop()
    height, width = cases[0].mask.shape
    if max(top, height - bottom, left, width - right) < 3 or bottom - top < height // 4 or right - left < width // 4:
        return None
    given = _now(cases)
    before = float(given.mean())
    rows = np.clip(top + (np.arange(height) * (bottom - top)) // height, 0, height - 1)
    columns = np.clip(left + (np.arange(width) * (right - left)) // width, 0, width - 1)
    repaired = [replace(case, predicted=case.predicted[np.ix_(rows, columns)]) for case in cases]
    errors = _now(repaired)
    agreeing = float((errors < given).mean())
    if errors.mean() > SHIFT_GAIN * before or agreeing < AGREEMENT:
        return None
    text = (
        f"the maps are padded: their content fills rows {top}-{bottom} and columns {left}-{right} of {height}x{width}"
    )
    option = "Crop the padding and resize in float before saving; no option removes it."
    return Diagnosis("FM-19", text, "medium", before, float(errors.mean()), agreeing, option)


def _content(predicted: Vectors) -> tuple[int, int, int, int]:
    """top, bottom, left, right of what is not the constant vector of the corner."""
    different = (np.abs(predicted - predicted[0, 0]) > 1e-6).any(axis=-1)
    if not different.any():
        return 0, predicted.shape[0], 0, predicted.shape[1]
    rows, columns = np.flatnonzero(different.any(axis=1)), np.flatnonzero(different.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _background(cases: Sequence[Case]) -> list[Diagnosis]:
    """One exact target normal on a large part of the pixels that count: a background that should not."""
    flat = [_commonest(case.truth) for case in cases]
    shares = np.array([one.mean() for one in flat])
    share = float(np.median(shares))
    if share < BACKGROUND:
        return []
    inside = [
        _errors(case.vectors()[~one], case.truth[~one]) for case, one in zip(cases, flat, strict=True) if not one.all()
    ]
    text = f"{share:.0%} of the pixels that count have one and the same target normal: the background seems to count"
    return [
        Diagnosis(
            "FM-26",
            text,
            "high" if share < 0.9 else "medium",
            mean_error(cases),
            float(np.mean(inside)) if inside else None,
            float((shares >= BACKGROUND).mean()),
            "Correct the mask of the data file, so that the face alone counts; no option masks it.",
        )
    ]


def _commonest(truth: Vectors) -> NDArray[np.bool_]:
    """(K,) True where the target is the one that occurs most often."""
    _, which, counts = np.unique(truth.round(4), axis=0, return_inverse=True, return_counts=True)
    return np.asarray(which.ravel() == counts.argmax())
