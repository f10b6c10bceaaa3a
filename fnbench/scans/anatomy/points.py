"""The 68 landmarks of the parametric head, in the usual iBUG order, and the facial region of every point."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fnbench.scans.anatomy.eyes import Eye, eye_of
from fnbench.scans.anatomy.mouth import LINE, Mouth, mouth_of
from fnbench.scans.anatomy.skull import with_jaw
from fnbench.scans.identity import Shape
from fnbench.scans.implicit import Array
from fnbench.types import REGIONS

_JAW = np.array(
    [
        [72.0, 0.0, -47.0], [72.5, -21.0, -45.0], [70.0, -41.0, -40.0], [66.0, -60.0, -33.0], [57.0, -80.0, -23.0],
        [44.0, -96.0, -10.0], [30.0, -106.0, 3.0], [15.5, -111.5, 15.0], [0.0, -113.5, 18.5],
    ]
)  # fmt: skip
"""Outline from the ear to the chin, image right."""
_BROW = np.array([[12.0, 21.5, 23.0], [24.0, 25.0, 20.5], [37.0, 25.5, 14.5], [49.0, 22.5, 6.0], [58.0, 15.5, -4.5]])
_RIDGE = np.array([[0.0, 2.0, 23.0], [0.0, -9.5, 30.5], [0.0, -20.5, 38.0], [0.0, -33.0, 46.5]])
_BASE = np.array([[0.0, -49.0, 31.5], [6.0, -48.0, 30.5], [12.5, -47.0, 26.0]])


def canonical_landmarks(shape: Shape) -> Array:
    """(68, 3) approximate canonical positions, to be projected onto the surface."""
    act = shape.expression
    found = np.full((68, 3), np.nan)
    jaw = with_jaw(_JAW, shape)
    share = np.clip((-_JAW[:, 1:2] - 20.0) / 60.0, 0.0, 1.0)
    jaw = _JAW + share * (jaw - _JAW)
    found[8:17] = jaw[::-1]
    found[8::-1] = jaw[::-1] * [-1, 1, 1]
    lift = 5.5 * max(act.brows, 0.0) + 4.0 * min(act.brows, 0.0)
    brow = _BROW + np.array([0.0, lift, 0.0])
    found[22:27], found[21:16:-1] = brow, brow * [-1, 1, 1]
    found[27:31] = _RIDGE
    found[33:36], found[33:30:-1] = _BASE, _BASE * [-1, 1, 1]
    eye = _eye(eye_of(shape))
    found[42:48] = eye
    found[[39, 38, 37, 36, 41, 40]] = eye * [-1, 1, 1]
    found[48:] = _mouth(mouth_of(shape))
    return found


def outward(points: Array) -> Array:
    """(68, 3) unit directions in which landmarks are looked for: forwards, and away from the middle for the outline."""
    directions = np.tile([0.0, 0.0, 1.0], (68, 1))
    directions[:17] = points[:17] - np.array([0.0, -45.0, -45.0])
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True), np.float64)


def _eye(e: Eye) -> Array:
    # inner corner, upper inner, upper outer, outer corner, lower outer, lower inner
    t = np.array([-0.93, -0.32, 0.40, 0.93, 0.40, -0.32])
    arch = 1.0 - t**2
    line = e.tilt * t - 1.9
    lid = np.array([0, 1, 1, 0, -1, -1])
    height = np.where(lid > 0, e.upper - 0.9 * t, np.where(lid < 0, -e.lower - 0.8 * t, 0.0))
    y = line + height * arch
    z = np.sqrt(np.maximum(13.6**2 - (e.half * t) ** 2 - y**2, 9.0))
    return np.stack([e.x + e.half * t, y, z], axis=1)


def _mouth(m: Mouth) -> Array:
    # (s, which border): 0 the mouth line, 1 outer upper, 2 outer lower, 3 inner upper, 4 inner lower
    rows = [
        (-1.0, 0), (-0.66, 1), (-0.28, 1), (0.0, 1), (0.28, 1), (0.66, 1), (1.0, 0), (0.66, 2), (0.36, 2), (0.0, 2),
        (-0.36, 2), (-0.66, 2), (-0.86, 0), (-0.38, 3), (0.0, 3), (0.38, 3), (0.86, 0), (0.38, 4), (0.0, 4), (-0.38, 4),
    ]  # fmt: skip
    return np.array([_lip_point(m, s, border) for s, border in rows])


def _lip_point(m: Mouth, s: float, border: int) -> list[float]:
    line, arch = LINE + m.corner * s**2, m.back * s**2
    above, below = 1.0 - 0.5 * s**2 - 0.2 * s**4, 1.0 - 0.74 * s**2
    share = 1.0 - 0.5 * (s**2 + s**4)
    bow = max(1.0 - (s * m.half / 8.0) ** 2, 0.0) ** 3
    front = 28.0 + m.front - arch
    if border == 1:
        return [s * m.half, line + 1.9 * m.upper * above - 0.7 * bow, front + 0.9 * m.upper * above]
    if border == 2:
        y = line - 1.9 * m.lower * below - m.drop * share
        return [s * m.half, y, front - m.recede * share + 0.7 * m.lower * below]
    if border == 3:
        return [s * m.half, line + 0.3, front + 1.0]
    if border == 4:
        return [s * m.half, line - 0.3 - m.drop * share, front + 1.0 - m.recede * share]
    return [s * m.half, line, front + 1.5]


def regions(points: Array, shape: Shape) -> NDArray[np.uint8]:
    """(N,) label (see fnbench.types.REGIONS) of canonical points (N, 3) on the surface; 0 off the face."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    m, e = mouth_of(shape), eye_of(shape)
    low = 0.8 * m.drop  # how far the chin has come down
    labels = np.full(len(points), REGIONS.index("cheeks"), np.uint8)
    labels[(y > 13.5 + 0.03 * x) | ((x > 53.0) & (y > 2.0 + 0.12 * (x - 53.0)))] = REGIONS.index("forehead")
    labels[(x < 27.0 + 0.15 * (y + 90.0)) & (y < -84.0 - low)] = REGIONS.index("chin")
    candidate = (y < -12.0) & (x > 14.0 + 0.9 * np.maximum(y + 108.0 + low, 0.0).clip(max=20.0))
    near = np.flatnonzero(candidate | (y < -107.0 - low))
    edge = _outline_distance(np.column_stack([x, y, z])[near], canonical_landmarks(shape)[16:7:-1])
    labels[near[edge < 15.0]] = REGIONS.index("jaw border")
    labels[near[(edge >= 15.0) & (y[near] < -106.0 - low)]] = 0  # under the chin
    centre = LINE - 0.5 * m.drop
    oval = ((x / (m.half + 8.0)) ** 2 + ((y - centre) / (18.0 + 0.5 * m.drop)) ** 2 < 1) & (y < -50.0)
    labels[oval & (z > 0.0)] = REGIONS.index("mouth")
    labels[(((x - e.x) / 22.0) ** 2 + ((y - 1.0) / 18.0) ** 2 < 1) & (z > -14.0)] = REGIONS.index("eye sockets")
    half_nose = np.interp(y, [-50.0, -40.0, -28.0, 0.0, 14.0], [17.0, 20.0, 16.0, 10.5, 9.5])
    labels[(x < half_nose) & (y > -51.0) & (y < 14.0) & (z > 0.0)] = REGIONS.index("nose")
    under = (y < -84.0 - low) & (z < -25.0 - 0.5 * (y + 84.0 + low))  # below the jaw: the neck
    ear = (z < -42.0) & (x > 74.0) & (y > -62.0) & (y < 22.0)
    labels[(z < -55.0) | (y > 72.0) | under | ear | ((y < -60.0) & (z < -42.0))] = 0
    return labels


def _outline_distance(points: Array, line: Array) -> Array:
    """(N,) distance of points (N, 3), x >= 0, to the polyline (M, 3)."""
    best = np.full(len(points), np.inf)
    for start, end in pairwise(line):
        axis = end - start
        t = np.clip((points - start) @ axis / float(axis @ axis), 0.0, 1.0)
        best = np.minimum(best, ((points - start - t[:, None] * axis) ** 2).sum(axis=1))
    return np.asarray(np.sqrt(best), np.float64)
