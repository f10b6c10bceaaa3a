"""Protocols by name: which pixels count, which numbers lead, and the bins of every breakdown.

A protocol is part of a result: numbers of different protocols, versions, masks or metrics are never put into one table.
The definitions in words stand in ``leaderboard/README.md``; raise ``version`` when one of them changes.

Masks
-----
full      every pixel with known ground truth (the mask of the file)
face      ``full`` inside the labelled facial regions; a sample without any label is scored on ``full``
hull68    ``full`` inside the convex hull of the 68 landmarks (no forehead)

Distance to the mask edge is the chessboard distance to the nearest pixel outside, in pixels: an edge pixel has 1. The
border of the image is no edge: a face cut by the crop does not end there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.compiled import compiled
from fnbench.errors import InvalidDataError, UnknownNameError
from fnbench.metrics import degree_between
from fnbench.types import REGIONS

MASKS = ("full", "face", "hull68")
EROSIONS = (1, 2, 4)
"""Pixels taken off the mask in the sensitivity table."""
FACING_BINS = (0, 15, 30, 45, 60, 75, 90, 180)
"""Degrees between target normal and the direction to the camera."""
EDGE_BINS = (0, 2, 5, 10, np.inf)
"""Pixels to the mask edge: 1-2, 3-5, 6-10, more than 10."""
YAW_BINS = (0, 15, 30, 60, np.inf)
PITCH_BINS = (0, 15, 30, np.inf)
"""Degrees, of the absolute value; the upper end belongs to the bin."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How results become comparable.

    id, version: the name and the number that a record carries.
    mask: one of MASKS.  headline: the metric a leaderboard sorts by.
    columns: the metrics of its table, in order.
    size: required image side in pixels, or None.  crop: required landmark crop factor, or None.
    """

    id: str
    version: int
    mask: str
    headline: str
    columns: tuple[str, ...]
    size: int | None = None
    crop: float | None = None

    @property
    def name(self) -> str:
        """Name and version as written into records: ``fnbench-1 v1``."""
        return f"{self.id} v{self.version}"


PROTOCOLS: dict[str, Protocol] = {
    protocol.id: protocol
    for protocol in (
        Protocol(
            "face-2020",
            1,
            "hull68",
            "mean_img",
            ("mean_img", "std_img", "acc@20_px", "acc@25_px", "acc@30_px"),
            size=256,
            crop=1.2,
        ),
        Protocol(
            "fnbench-1",
            1,
            "face",
            "mean_sub",
            (
                *("mean_sub", "mean_img", "std_img", "mean_px", "median_px", "rmse_px"),
                *("acc@5_px", "acc@7.5_px", "acc@11.25_px", "acc@20_px", "acc@22.5_px", "acc@25_px", "acc@30_px"),
                *("auc30_px", "grad_l1_px"),
            ),
        ),
    )
}
CROP_TOLERANCE = 0.05
"""How far the measured crop factor of a sample may be from the protocol's, relatively."""


def protocol_named(name: str) -> Protocol:
    """The protocol of this name; UnknownNameError with a suggestion otherwise."""
    if name not in PROTOCOLS:
        close = get_close_matches(name, PROTOCOLS, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UnknownNameError(f"There is no protocol {name!r}.{hint} Known: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]


def protocol_mask(
    kind: str, known: NDArray[np.bool_], region: NDArray[np.uint8], landmarks: NDArray[np.floating]
) -> NDArray[np.bool_] | None:
    """The pixels of one sample that count under a mask.

    known: (H, W) bool, the mask of the file.  region: (H, W) labels.  landmarks: (68, 2) pixel x, y.
    Returns (H, W) bool; None when hull68 is asked for and the landmarks are not all known.
    """
    if kind == "full":
        return known
    if kind == "face":
        labelled = known & (region > 0)
        return labelled if labelled.any() else known
    if kind == "hull68":
        hull = landmark_hull(landmarks, *known.shape)
        return None if hull is None else known & hull
    raise ValueError(f"mask {kind!r}, expected one of {', '.join(MASKS)}")


def landmark_hull(landmarks: NDArray[np.floating], height: int, width: int) -> NDArray[np.bool_] | None:
    """Pixels whose centre lies inside the convex hull of the landmarks, or on its edge.

    landmarks: (68, 2) pixel x, y.
    Returns (H, W) bool, or None when a landmark is unknown or all lie on a line.
    """
    points = np.asarray(landmarks, np.float64)
    if not np.isfinite(points).all():
        return None
    corners = _convex_hull(points)
    if len(corners) < 3:
        return None
    inside = np.zeros((height, width), np.bool_)
    _fill_convex(corners, inside)
    return inside


def crop_factor(landmarks: NDArray[np.floating], size: int) -> float | None:
    """Side of the image relative to the longer side of the landmark box; None when a landmark is unknown.

    >>> crop_factor(np.array([[28.0, 28.0], [228.0, 128.0]]), 240)
    1.2
    """
    if not np.isfinite(landmarks).all():
        return None
    return float(size / np.ptp(np.asarray(landmarks, np.float64), axis=0).max())


def check_sample(protocol: Protocol, name: str, landmarks: NDArray[np.floating], height: int, width: int) -> str:
    """What keeps a sample from being scored under a protocol; empty when nothing does."""
    if protocol.size is not None and (height, width) != (protocol.size, protocol.size):
        return f"{name}: image of {width}x{height}, {protocol.id} needs {protocol.size}x{protocol.size}"
    if protocol.mask == "hull68" and not np.isfinite(landmarks).all():
        return f"{name}: no 68 landmarks, {protocol.id} needs them for its mask"
    if protocol.crop is not None:
        found = crop_factor(landmarks, width)
        if found is None or abs(found / protocol.crop - 1) > CROP_TOLERANCE:
            what = "unknown" if found is None else f"{found:.2f}"
            return f"{name}: crop factor {what}, {protocol.id} needs {protocol.crop} x the landmark box"
    return ""


def edge_distance(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(H, W) chessboard distance to the nearest pixel outside the mask; 0 outside, 1 at the edge.

    Pixels beyond the image are not outside: a mask that fills the image has no edge, and its distances are large.
    """
    return np.asarray(_chessboard(np.ascontiguousarray(mask, np.bool_)), np.int32)


@dataclass(frozen=True, slots=True)
class PixelBins:
    """One way to divide the pixels of a sample: bin names, and whether the bins are a partition."""

    name: str
    bins: tuple[str, ...]


def _names(edges: tuple[float, ...], unit: str = "") -> tuple[str, ...]:
    return tuple(f">{low:g}{unit}" if high == np.inf else f"{low:g}-{high:g}{unit}" for low, high in pairwise(edges))


REGION = PixelBins("region", REGIONS)
FACING = PixelBins("facing angle", _names(FACING_BINS, "°"))
EDGE = PixelBins("distance to mask edge", _names(EDGE_BINS, " px"))
PARTITIONS = (REGION, FACING, EDGE)
"""Divisions of the pixels that count; the parts of each recombine to the whole."""
SENSITIVITY = (*(f"mask {mask}" for mask in MASKS), *(f"eroded {pixels} px" for pixels in EROSIONS))
"""The same predictions under other masks; names of the rows of the sensitivity table."""
PIXEL_GROUPS = tuple(f"{part.name}: {name}" for part in PARTITIONS for name in part.bins) + SENSITIVITY
"""Every group of pixels that a sample's row has sums of, in order."""


def partition_labels(
    target: NDArray[np.float32],
    mask: NDArray[np.bool_],
    distance: NDArray[np.int32],
    region: NDArray[np.uint8],
    camera: Camera,
) -> tuple[NDArray[np.uint8], ...]:
    """For each of PARTITIONS, the bin of every pixel inside the mask.

    target: (H, W, 3) unit normals.  mask, region: (H, W).  distance: (H, W), ``edge_distance`` of the mask.
    Returns one (K,) uint8 per partition, in row order of the mask.
    """
    count = int(np.count_nonzero(mask))
    labels, facing, edge = (np.empty(count, np.uint8) for _ in PARTITIONS)
    inside = np.ascontiguousarray(mask, np.bool_)
    rays = np.asarray(camera.K, np.float64), bool(camera.orthographic)
    _facing(np.ascontiguousarray(target, np.float32), inside, *rays, _FACING_BOUNDS, facing)
    _picked(inside, np.ascontiguousarray(region), np.ascontiguousarray(distance), _EDGE_BOUNDS, labels, edge)
    if labels.size and labels.max() >= len(REGIONS):
        raise InvalidDataError(f"region label {int(labels.max())}, expected 0 to {len(REGIONS) - 1}.")
    return labels, facing, edge


def membership(masks: Mapping[str, NDArray[np.bool_] | None], distance: NDArray[np.int32]) -> NDArray[np.uint8]:
    """(H, W) uint8: bit k is set where a pixel belongs to row k of SENSITIVITY.

    masks: by kind; None where a sample has no such mask.  distance: ``edge_distance`` of the protocol's mask.
    """
    members = np.zeros(distance.shape, np.uint8)
    rows = [*(masks[kind] for kind in MASKS), *(distance > pixels for pixels in EROSIONS)]
    for bit, row in enumerate(rows):
        if row is not None:
            members |= row.view(np.uint8) << np.uint8(bit)
    return members


def sample_bins(attributes: Mapping[str, Any]) -> dict[str, str]:
    """The bins of a whole sample: yaw, pitch, expression, light; "unknown" where the dataset says nothing.

    >>> sample_bins({"yaw": -20.0, "expression": "smile"})
    {'yaw': '15-30°', 'pitch': 'unknown', 'expression': 'smile', 'light': 'unknown'}
    """
    found = {
        "yaw": _angle_bin(attributes.get("yaw"), YAW_BINS),
        "pitch": _angle_bin(attributes.get("pitch"), PITCH_BINS),
    }
    for name in ("expression", "light"):
        value = attributes.get(name)
        found[name] = "unknown" if value is None or value == "" else str(value)
    return found


SAMPLE_BREAKDOWNS = ("yaw", "pitch", "expression", "light")


def _angle_bin(value: Any, edges: tuple[float, ...]) -> str:
    if not isinstance(value, int | float) or not np.isfinite(value):
        return "unknown"
    return _names(edges, "°")[int(np.digitize(abs(value), edges[1:-1], right=True))]


def _convex_hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners in order (Andrew's monotone chain); turning so that the inside has positive cross products."""
    ordered = sorted({(float(x), float(y)) for x, y in points})

    def chain(sequence: list[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for x, y in sequence:
            while len(kept) > 1 and _turn(kept[-2], kept[-1], (x, y)) <= 0:
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


_FACING_BOUNDS = np.array(FACING_BINS[1:-1], np.float64)
_EDGE_BOUNDS = np.array(EDGE_BINS[1:-1], np.int32)
_BLOCK = 1024  # pixels worked on together, as in fnbench.metrics


@compiled
def _facing(target: Any, mask: Any, K: Any, orthographic: Any, bounds: Any, facing: Any) -> Any:  # (H, W, 3), (H, W)
    # The bin of the angle to Camera.view_directions, operation by operation, in blocks that vectorise.
    n = np.empty((3, _BLOCK))
    t = np.empty((3, _BLOCK))
    x, y, z = n[0], n[1], n[2]
    u, v, w = t[0], t[1], t[2]
    height, width = mask.shape
    degrees = np.empty(_BLOCK)
    row, column = 0, 0
    done = 0
    while row < height:
        k = 0
        while row < height and k < _BLOCK:
            x[k] = target[row, column, 0]
            y[k] = target[row, column, 1]
            z[k] = target[row, column, 2]
            u[k] = column
            v[k] = row
            k += mask[row, column]
            column += 1
            if column == width:
                row, column = row + 1, 0
        for j in range(k):
            down = (v[j] + 0.5 - K[1, 2]) / K[1, 1]
            across = (u[j] + 0.5 - K[0, 2] - K[0, 1] * down) / K[0, 0]
            length = np.sqrt(across * across + down * down + 1.0)
            u[j] = 0.0 if orthographic else -across / length
            v[j] = 0.0 if orthographic else down / length
            w[j] = 1.0 if orthographic else 1.0 / length
        for j in range(k):
            degrees[j] = degree_between(x[j], y[j], z[j], u[j], v[j], w[j])
        for j in range(k):
            bin_ = 0
            for bound in bounds:
                bin_ += 1 if degrees[j] >= bound else 0
            facing[done + j] = bin_
        done += k


@compiled
def _picked(mask: Any, region: Any, distance: Any, bounds: Any, labels: Any, edge: Any) -> Any:  # (H, W) ..., (K,) ...
    height, width = mask.shape
    k = 0
    for r in range(height):
        for c in range(width):
            if mask[r, c]:
                labels[k] = region[r, c]
                bin_ = 0
                for bound in bounds:
                    bin_ += 1 if distance[r, c] > bound else 0
                edge[k] = bin_
                k += 1


@compiled
def _fill_convex(corners: Any, inside: Any) -> Any:  # (C, 2) x, y; (H, W) bool
    # In every row the pixels inside are one run: each edge cuts it from the right or from the left.
    height, width = inside.shape
    for r in range(height):
        y = r + 0.5
        first, last = 0, width - 1
        for i in range(len(corners)):
            x0, y0 = corners[i]
            x1, y1 = corners[(i + 1) % len(corners)]
            level = (x1 - x0) * (y - y0)
            rise = y1 - y0
            while first <= last and rise >= 0 and level - rise * (last + 0.5 - x0) < 0:
                last -= 1
            while first <= last and rise <= 0 and level - rise * (first + 0.5 - x0) < 0:
                first += 1
        for c in range(first, last + 1):
            inside[r, c] = True


@compiled
def _chessboard(mask: Any) -> Any:  # (H, W) bool -> (H, W) int32
    # Two sweeps with the eight neighbours are exact for the chessboard distance.
    height, width = mask.shape
    far = np.int32(height + width)
    distance = np.zeros((height, width), np.int32)
    for r in range(height):
        for c in range(width):
            if mask[r, c]:
                nearest = far
                if r > 0:
                    nearest = min(nearest, distance[r - 1, c])
                    if c > 0:
                        nearest = min(nearest, distance[r - 1, c - 1])
                    if c + 1 < width:
                        nearest = min(nearest, distance[r - 1, c + 1])
                if c > 0:
                    nearest = min(nearest, distance[r, c - 1])
                distance[r, c] = min(far, nearest + 1)
    for r in range(height - 1, -1, -1):
        for c in range(width - 1, -1, -1):
            if mask[r, c]:
                nearest = distance[r, c] - 1
                if r + 1 < height:
                    nearest = min(nearest, distance[r + 1, c])
                    if c > 0:
                        nearest = min(nearest, distance[r + 1, c - 1])
                    if c + 1 < width:
                        nearest = min(nearest, distance[r + 1, c + 1])
                if c + 1 < width:
                    nearest = min(nearest, distance[r, c + 1])
                distance[r, c] = nearest + 1
    return distance
