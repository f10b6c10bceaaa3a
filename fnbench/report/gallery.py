"""The samples that a page shows: which ones, their maps at a bounded size, and where on the face two models differ.

Maps larger than the page holds are thinned: of every block the pixel at its centre is kept, unchanged, so that a
reading is always a value of the file. The side is the largest for which all maps stay within the budget.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidRecordError, InvalidStoreError
from fnbench.metrics import angular_error
from fnbench.protocol import protocol_mask
from fnbench.record import EvalResult
from fnbench.report import words
from fnbench.report.content import FaceMap, Gallery, Group, Model, Shown
from fnbench.report.grid import ERROR_SCALE
from fnbench.report.planes import error_plane, normal_planes, packed
from fnbench.report.tables import samples_of
from fnbench.store import Store

if TYPE_CHECKING:
    import pandas

WORST, BEST, RANDOM = 24, 6, 24
BUDGET = 13_500_000
"""Characters that all maps and pictures of a page may take."""
SIDES = (256, 240, 224, 208, 192, 176, 160, 128, 96, 64)
"""Longest side of a map in the page; the first that keeps to the budget."""
AGREEMENT = 0.05
"""Degrees by which a sample's mean error, predicted anew, may differ from the record: processors round differently."""
_QUALITY = 82
_FACE_SIDE = 224
_FACE_RESIDUAL = 0.09  # of the landmark box: a profile does not lie on a frontal face
_NEEDED = 5  # samples that must see a place on the face

Predict = Callable[[Sequence[int]], Iterator[NDArray[np.floating] | None]]
"""Positions in the store -> predicted maps (H, W, 3) in their order, None where one is missing."""


@dataclass(frozen=True, slots=True, eq=False)
class Specimen:
    """One sample with everything that is shown of it.

    image: (H, W, 3) uint8.  target: (H, W, 3).  known, mask: (H, W) bool, pixels with a target, and those that count.
    region: (H, W) uint8.  landmarks: (68, 2).
    predicted: per model (H, W, 3), or None when missing.  errors: per model (H, W) degrees.
    """

    id: str
    image: NDArray[np.uint8]
    target: NDArray[np.float32]
    known: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    region: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    predicted: Sequence[NDArray[np.floating] | None]
    errors: Sequence[NDArray[np.float64]]


def chosen(record: EvalResult, *, seed: int = 0) -> dict[str, list[str]]:
    """Ids of the worst, best and random samples of a record; a sample may be in several groups.

    Worst and best by the mean error of the image, ties by id; random is a draw from all samples, by seed.
    """
    rows = samples_of(record)
    order = sorted(zip(rows["mean"], rows["id"], strict=True))
    ids = [str(name) for _, name in order]
    drawn = np.random.default_rng(seed).permutation(len(ids))[:RANDOM]
    everyone = sorted(ids)
    return {
        "worst": ids[::-1][:WORST],
        "best": ids[:BEST],
        "random": [everyone[place] for place in drawn],
    }


def check_store(records: Sequence[EvalResult], store: Store) -> None:
    """Refuse a data file that is not the one the records were made on."""
    found = str(store.attributes["content_hash"])
    for record in records:
        absent = sorted(set(map(str, samples_of(record)["id"])) - set(store.ids))
        if absent:
            raise InvalidStoreError(
                f"{store.path}: {len(absent)} of {len(samples_of(record))} samples of the record of {record.model} are "
                f"not in the file: {', '.join(absent[:5])}{' ...' if len(absent) > 5 else ''}. Give the file of the "
                "evaluation."
            )
        if found != record.data_hash:
            raise InvalidRecordError(
                f"Record of {record.model} was made on data {record.data_hash[:12]}, but {store.path} holds data "
                f"{found[:12]} ({store.attributes['dataset']}, {len(store)} samples). Give the file of the evaluation.",
                code="FM-49",
            )


def specimens(
    ids: Sequence[str], records: Sequence[EvalResult], store: Store, predict: Sequence[Predict]
) -> Iterator[Specimen]:
    """The samples with these ids, read and predicted one after the other."""
    places = {name: index for index, name in enumerate(store.ids)}
    indices = [places[name] for name in ids]
    means = [dict(zip(map(str, samples_of(r)["id"]), samples_of(r)["mean"], strict=True)) for r in records]
    missing = [dict(zip(map(str, samples_of(r)["id"]), samples_of(r)["missing"], strict=True)) for r in records]
    streams = [one(indices) for one in predict]
    for name, index, *maps in zip(ids, indices, *streams, strict=True):
        sample = store[index]
        mask = protocol_mask(records[0].mask, sample.target.mask, sample.region, sample.landmarks)
        if mask is None:
            raise InvalidStoreError(
                f"{store.path}: sample {name} lacks the landmarks that mask {records[0].mask} needs."
            )
        errors = []
        for record, predicted, mean, absent in zip(records, maps, means, missing, strict=True):
            if predicted is None and not absent[name]:
                raise InvalidRecordError(
                    f"There is no readable prediction of {record.model} for {name}, but its record has one. Give the "
                    "predictions of the evaluation."
                )
            answer = None if absent[name] else predicted
            error = _errors(answer, sample.target.normals)
            found = float(error[mask].mean())
            if abs(found - mean[name]) > AGREEMENT:
                raise InvalidRecordError(
                    f"Predictions of {record.model} for {name} are not those of the record: mean error {found:.2f} "
                    f"degrees, the record says {mean[name]:.2f}. Give the weights or the predictions of the evaluation."
                )
            errors.append(error)
        yield Specimen(
            name,
            sample.image,
            sample.target.normals,
            sample.target.mask,
            mask,
            sample.region,
            sample.landmarks,
            [None if absent[name] else one for one, absent in zip(maps, missing, strict=True)],
            errors,
        )


def gallery(
    groups: Mapping[str, Sequence[str]],
    shown: Sequence[Specimen],
    records: Sequence[EvalResult],
    focus: Model,
    budget: int = BUDGET,
) -> Gallery:
    """The gallery of a page.

    groups: ids per group, see ``chosen``.  shown: all of them.  focus: the model that chose worst and best.
    """
    facts = [samples_of(record).assign(id=lambda t: t["id"].astype(str)).set_index("id") for record in records]
    for side in SIDES:
        # A few samples say whether the rest is worth packing at this size.
        some = [_shown(one, side, groups, facts) for one in shown[::6]]
        if sum(_size(one) for one in some) * len(shown) > 1.1 * budget * len(some):
            continue
        samples = [_shown(one, side, groups, facts) for one in shown]
        if sum(_size(one) for one in samples) <= budget:
            break
    else:
        samples = [_shown(one, SIDES[-1], groups, facts) for one in shown]
    height, width = shown[0].mask.shape
    titles = {"worst": "Worst", "best": "Best", "random": "Random"}
    note = (
        f"Worst and best by the mean error of {focus.name}; random is a draw from all samples. Errors share one fixed "
        "scale. Point at a map to read it, or open a sample to compare, relight and walk through."
    )
    kept = samples[0]
    if (kept.width, kept.height) != (width, height):
        note += f" Maps of {width}\u00d7{height} are thinned to {kept.width}\u00d7{kept.height} pixels, each unchanged."
    return Gallery(
        focus.index,
        note,
        [Group(key, f"{titles[key]} {len(ids)}") for key, ids in groups.items()],
        samples,
        ERROR_SCALE,
    )


def kept_pixels(length: int, kept: int) -> NDArray[np.int64]:
    """Positions that remain when ``length`` pixels are thinned to ``kept``: the centre of each block.

    >>> kept_pixels(8, 4).tolist()
    [1, 3, 5, 7]
    """
    return (2 * np.arange(kept) + 1) * length // (2 * kept)


def face_map(shown: Sequence[Specimen], first: int, second: int) -> FaceMap | None:
    """Where on the face which of two models is better, over samples whose landmarks lie on a common face.

    shown: an unbiased choice of samples.  first, second: places of the two models.
    Returns None when fewer than three samples have landmarks that fit.
    """
    marked = [one for one in shown if np.isfinite(one.landmarks).all()]
    if len(marked) < 3:
        return None
    boxes = [_normalised(one.landmarks) for one in marked]
    mean = np.mean(boxes, axis=0)
    chosen = []
    for one in marked:
        matrix, residual = _affine(mean * _FACE_SIDE, one.landmarks)
        if residual <= _FACE_RESIDUAL * np.ptp(one.landmarks, axis=0).max():
            chosen.append((one, matrix))
    if len(chosen) < 3:
        return None
    total, weight, grey = np.zeros((3, _FACE_SIDE, _FACE_SIDE))
    for one, matrix in chosen:
        inside = _warped(one.mask.astype(np.float64), matrix)
        difference = np.where(one.mask, one.errors[first] - one.errors[second], 0.0)
        total += _warped(difference, matrix)
        weight += inside
        grey += _warped(one.image.astype(np.float64) @ [0.299, 0.587, 0.114], matrix)
    enough = weight >= min(_NEEDED, 0.5 * len(chosen))
    values = np.divide(total, weight, out=np.full_like(total, np.nan), where=enough)
    largest = float(np.nanpercentile(np.abs(values), 99)) if enough.any() else 0.0
    scale = next((step for step in (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0) if step >= largest), 90.0)
    return FaceMap(values, grey / len(chosen), scale, len(chosen))


def _errors(predicted: NDArray[np.floating] | None, target: NDArray[np.float32]) -> NDArray[np.float64]:
    if predicted is None:
        return np.full(target.shape[:2], 180.0)
    return angular_error(predicted, target)


def _shown(one: Specimen, side: int, groups: Mapping[str, Sequence[str]], facts: Sequence[pandas.DataFrame]) -> Shown:
    height, width = one.mask.shape
    factor = min(1.0, side / max(height, width))
    small_height, small_width = max(1, round(height * factor)), max(1, round(width * factor))
    pick = np.ix_(kept_pixels(height, small_height), kept_pixels(width, small_width))
    row = facts[0].loc[one.id].to_dict()
    target = np.concatenate([normal_planes(one.target[pick], one.known[pick]), one.region[pick][None].astype(np.int32)])
    maps = []
    for predicted, errors in zip(one.predicted, one.errors, strict=True):
        drawn = np.zeros((*one.mask.shape, 3)) if predicted is None else predicted
        maps.append(
            (
                packed(normal_planes(drawn[pick], one.known[pick]), normals=True),
                packed(error_plane(errors[pick], one.mask[pick])),
            )
        )
    return Shown(
        one.id,
        str(row["subject"]),
        about(row),
        [f"{words.number('mean_px', float(table.at[one.id, 'mean']))}\u00b0" for table in facts],
        {group: ids.index(one.id) for group, ids in groups.items() if one.id in ids},
        picture(one.image, small_width, small_height),
        packed(target, normals=True),
        maps,
        small_width,
        small_height,
        width,
        height,
    )


def about(row: Mapping[str, Any]) -> list[str]:
    """Short facts about a sample: subject, then what is known of yaw, expression and light."""
    facts = [f"subject {row['subject']}"]
    if row.get("yaw", "unknown") != "unknown":
        facts.append(f"yaw {row['yaw']}")
    facts += [str(row[name]) for name in ("expression", "light") if row.get(name, "unknown") != "unknown"]
    return facts


def picture(image: NDArray[np.uint8], width: int, height: int) -> str:
    """A photograph as a data address, JPEG."""
    from PIL import Image

    small = Image.fromarray(image)
    if small.size != (width, height):
        small = small.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _size(one: Shown) -> int:
    return len(one.picture) + len(one.target) + sum(len(text) for pair in one.maps for text in pair)


def _normalised(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    side = 1.25 * float((high - low).max())
    return np.asarray((landmarks - (low + high) / 2) / side + [0.5, 0.5], np.float64)


def _affine(source: NDArray[np.float64], landmarks: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """(3, 2) matrix that takes (x, y, 1) on the common face to pixels of the sample, and its rms residual."""
    design = np.column_stack([source, np.ones(len(source))])
    matrix, *_ = np.linalg.lstsq(design, landmarks.astype(np.float64), rcond=None)
    return matrix, float(np.sqrt(((design @ matrix - landmarks) ** 2).sum(axis=1).mean()))


def _warped(values: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import map_coordinates

    x, y = np.meshgrid(np.arange(_FACE_SIDE) + 0.5, np.arange(_FACE_SIDE) + 0.5)
    pixels = np.stack([x, y, np.ones_like(x)], axis=-1) @ matrix - 0.5
    found: NDArray[np.float64] = map_coordinates(values, [pixels[..., 1], pixels[..., 0]], order=1, cval=0.0)
    return found
