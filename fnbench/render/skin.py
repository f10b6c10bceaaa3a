"""Procedural skin, lips, brows, eyes, beard and hair, painted in object space from 68 landmarks.

Colours are linear RGB reflectances. The face frame is fitted to the landmarks: origin midway between the outer eye
corners, x along them, y up, z out, scaled so that they are 90 mm apart; all distances below are in its millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from fnbench.render.noise import Noise
from fnbench.render.sensor import decode

Array = NDArray[np.floating]

_TONES = decode(
    np.array(
        [
            [250, 222, 205], [240, 205, 184], [229, 188, 160], [210, 163, 130], [188, 136, 100], [158, 107, 75],
            [124, 80, 55], [92, 58, 42], [66, 43, 34],
        ]
    )
)  # fmt: skip
"""Skin from light to dark."""
_HAIR = decode(
    np.array([[24, 20, 19], [48, 33, 25], [84, 56, 36], [132, 95, 58], [186, 150, 98], [140, 66, 34], [150, 148, 145]])
)
"""Black, dark brown, brown, light brown, blond, red, grey."""
_IRIS = decode(np.array([[58, 36, 22], [84, 56, 32], [104, 88, 52], [92, 104, 86], [92, 118, 142], [118, 134, 142]]))
"""Dark brown, brown, hazel, green, blue, grey."""
_STYLES = ("bald", "short", "cap", "receding")


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """What a face is painted with; drawn once per person.

    tone: position in the palette, 0 light to 1 dark.  skin, lip, hair, brow, iris: linear RGB.
    blush, blotch, freckles, beard, makeup: strengths from 0 to 1.  brow_width: millimetres.
    gloss: strength of the specular reflection.  style: of the hair.  noise: pattern of the skin.
    hairline: height over the brows.  sideburn: how far before the ears the hair begins.
    """

    tone: float
    skin: NDArray[np.float32]
    lip: NDArray[np.float32]
    hair: NDArray[np.float32]
    brow: NDArray[np.float32]
    iris: NDArray[np.float32]
    blush: float
    blotch: float
    freckles: float
    beard: float
    makeup: float
    brow_width: float
    gloss: float
    style: str
    hairline: float
    sideburn: float
    noise: Noise


def sample_person(rng: np.random.Generator) -> Person:
    """A random complexion."""
    tone = float(rng.uniform())
    skin = _between(_TONES, tone) * np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    red = np.array([1.02, 0.62 + 0.12 * tone, 0.62 + 0.16 * tone], np.float32)
    makeup = float(rng.uniform(0.3, 1.0)) if rng.uniform() < 0.25 else 0.0
    paint = decode(np.array([float(rng.uniform(120, 190)), float(rng.uniform(20, 80)), float(rng.uniform(40, 90))]))
    lip = skin * red * np.exp(rng.normal(0, 0.07, 3)).astype(np.float32)
    fair = float(rng.uniform()) > 0.35 + 1.1 * tone
    hair = _HAIR[int(rng.integers(2, 7)) if fair else int(rng.integers(0, 3))] * np.float32(np.exp(rng.normal(0, 0.15)))
    light_eyes = fair and rng.uniform() < 0.7
    return Person(
        tone=tone,
        skin=skin.astype(np.float32),
        lip=(lip * (1 - 0.7 * makeup) + paint * 0.7 * makeup).astype(np.float32),
        hair=hair.astype(np.float32),
        brow=(hair * np.float32(rng.uniform(0.55, 0.95))).astype(np.float32),
        iris=_IRIS[int(rng.integers(2, 6)) if light_eyes else int(rng.integers(0, 2))],
        blush=float(rng.uniform(0.1, 1.0)),
        blotch=float(rng.uniform(0.2, 1.0)),
        freckles=float(rng.uniform(0.2, 1.0)) if rng.uniform() < 0.2 * (1.4 - tone) else 0.0,
        beard=float(rng.uniform(0.15, 1.0)) if makeup == 0.0 and rng.uniform() < 0.4 else 0.0,
        makeup=makeup,
        brow_width=float(rng.uniform(2.2, 4.2)),
        gloss=float(rng.uniform(0.25, 1.0)),
        style=_STYLES[int(rng.choice(4, p=[0.2, 0.25, 0.4, 0.15]))],
        hairline=float(rng.uniform(22.0, 40.0)),
        sideburn=float(rng.uniform(4.0, 26.0)),
        noise=Noise(rng),
    )


@dataclass(frozen=True, slots=True, eq=False)
class FaceFrame:
    """Where a face lies in its scan: ``frame = scale * axes @ (world - origin)``."""

    origin: NDArray[np.float64]
    axes: NDArray[np.float64]
    scale: float

    def __call__(self, points: Array) -> NDArray[np.float64]:
        """World points (..., 3) in the face frame."""
        return np.asarray(self.scale * ((points - self.origin) @ self.axes.T), np.float64)


def face_frame(landmarks: Array) -> FaceFrame | None:
    """The face frame of (68, 3) landmarks; None when the eye corners, the bridge or the chin are unknown."""
    needed = landmarks[[36, 45, 27, 8]]
    if not np.isfinite(needed).all():
        return None
    across = needed[1] - needed[0]
    x = across / np.linalg.norm(across)
    up = needed[2] - needed[3]
    y = up - (up @ x) * x
    y /= np.linalg.norm(y)
    return FaceFrame(
        (needed[0] + needed[1]) / 2, np.stack([x, y, np.cross(x, y)]), 90.0 / float(np.linalg.norm(across))
    )


def paint(person: Person, points: Array, landmarks: Array | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Reflectance (N, 3) and gloss (N, 2) of surface points: of skin, and of wet eyes.

    points: (N, 3) in the face frame, or in scan coordinates when there are no landmarks.
    landmarks: (68, 3) in the face frame, or None: plain skin without features.
    """
    noise = person.noise
    colour = _skin(person, points)
    gloss: NDArray[np.floating] = np.zeros((len(points), 2), np.float32)
    gloss[:, 0] = 0.55 * person.gloss
    if landmarks is None or not np.isfinite(landmarks[17:]).all():
        return colour, gloss
    front = _step(points[:, 2] - landmarks[:, 2].min(), 0, 25)
    colour = _blush(person, points, landmarks, colour)
    colour = _beard(person, points, landmarks, colour)
    colour = _mix(colour, person.hair, _hair(person, points, landmarks))
    for brow in (landmarks[17:22], landmarks[22:27]):
        colour = _mix(colour, person.brow, _brow(person, points, brow) * front)
    outer, inner = _contours(landmarks[48:])
    lips = _smooth_inside(points, outer, 1.2) * front
    crease = 1.0 + 0.05 * noise.layers(points * np.array([1.0, 0.3, 0.3]), 1.1, 2)
    colour = _mix(colour, person.lip * np.ones((len(points), 1), np.float32) * crease[:, None], 0.85 * lips)
    gloss[:, 0] += lips * (0.4 * person.gloss + 0.9 * person.makeup)
    opened = float(landmarks[61:64, 1].mean() - landmarks[65:68, 1].mean())  # negative where rolled lips overlap
    if opened > 3.0:
        inside = _smooth_inside(points, inner, 0.5) * _behind_lips(points, landmarks[60:68]) * front
        colour = _mix(colour, _mouth_inside(points, landmarks), inside)
    for eye in (landmarks[36:42], landmarks[42:48]):
        colour, gloss = _eye(person, points, eye, colour, gloss, front)
    return np.clip(colour, 0.004, 0.92).astype(np.float32), gloss.astype(np.float32)


def _skin(person: Person, points: Array) -> NDArray[np.float32]:
    noise = person.noise
    broad = noise.layers(points, 38.0, 3)
    fine = noise.layers(points + 91.0, 3.2, 3)
    melanin = 0.035 * person.blotch * broad + 0.030 * fine
    blood = 0.05 * person.blotch * noise.layers(points + 300.0, 26.0, 2)
    shift = melanin[:, None] * np.array([0.7, 1.0, 1.2]) + blood[:, None] * np.array([0.1, 1.0, 0.8])
    colour = person.skin * np.exp(-shift)
    if person.freckles:
        amount = person.freckles * noise.spots(points, 5.5) * _step(noise(points + 40.0, 30.0), -1.5, 1.0)
        colour = colour * (1 - 0.4 * amount[:, None] * np.array([0.6, 0.9, 1.0]))
    return np.asarray(colour, np.float32)


def _blush(person: Person, points: Array, landmarks: Array, colour: NDArray[np.float32]) -> NDArray[np.float32]:
    tip = landmarks[30]
    cheeks = [landmarks[[36, 48]].mean(axis=0) - [4, -4, 0], landmarks[[45, 54]].mean(axis=0) + [4, 4, 0]]
    red = 0.8 * _blob(points, tip, 15) + 0.8 * _blob(points, cheeks[0], 24) + 0.8 * _blob(points, cheeks[1], 24)
    red = red + 0.6 * _step(np.abs(points[:, 0]), 72, 84)
    eyes = [landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)]
    dark = sum(_blob(points, eye + np.array([0, -4, 0]), 17) for eye in eyes)
    shift = 0.16 * person.blush * red[:, None] * np.array([-0.15, 1.0, 0.9])
    shift = shift + (0.10 + 0.10 * person.tone) * np.asarray(dark)[:, None] * np.array([0.7, 1.0, 0.9])
    return np.asarray(colour * np.exp(-shift), np.float32)


def _beard(person: Person, points: Array, landmarks: Array, colour: NDArray[np.float32]) -> NDArray[np.float32]:
    if not person.beard:
        return colour
    x, y, z = points.T
    mouth = landmarks[48:].mean(axis=0)
    base = float(landmarks[33, 1])
    jaw = _step(base - 14 - 0.22 * np.abs(x) + 0.02 * np.abs(x) ** 1.5 - y, -4, 10)
    moustache = _step(base - 1.0 - y, 0, 5) * _step(34 - np.abs(x - mouth[0]), 0, 10)
    # cheeks stay free in front, the whiskers go up before the ears
    side = _step(np.abs(x) - 50, 0, 22) * _step(-y - 2, 0, 40)
    area = np.maximum(np.maximum(jaw, moustache), side) * _step(z - landmarks[0, 2] + 12, -12, 6)
    area = area * _step(landmarks[8, 1] + 2 + 0.9 * (landmarks[8, 2] - z) * 0 - y, 40, -14)
    stubble = 0.75 + 0.35 * person.noise(points + 210.0, 0.9) + 0.2 * person.noise.layers(points + 77.0, 14.0, 2)
    return _mix(colour, person.hair * 1.1, np.clip(0.75 * person.beard * area * stubble, 0, 0.85))


def _hair(person: Person, points: Array, landmarks: Array) -> NDArray[np.float32]:
    if person.style == "bald":
        return np.zeros(len(points), np.float32)
    x, y, z = points.T
    brow = float(landmarks[17:27, 1].max())
    line = brow + person.hairline + (0 if person.style != "receding" else 16) - 0.0045 * x**2
    recede = 0.0 if person.style != "receding" else 14.0
    top = y - line + 2.0 * person.noise(points + 60.0, 9.0) - recede * _blob2(np.abs(x) - 42, 22)
    temple = landmarks[[0, 16], 2].mean() + person.sideburn
    behind = np.minimum(temple - 0.25 * (y - 10) - z, y + 22.0) + 1.5 * person.noise(points + 15.0, 8.0)
    nape = np.minimum(temple - 45.0 - z, y + 95.0)
    near_ear = 1.0 - np.sqrt(((y + 18.0) / 38.0) ** 2 + ((z - temple + 26.0) / 26.0) ** 2)
    ear = _step(near_ear, -0.05, 0.2) * _step(np.abs(x), 72.0, 79.0)
    edge = np.maximum(np.maximum(top, behind), nape) - 40.0 * ear
    strands = 0.92 + 0.10 * person.noise(points + 5.0, np.array([1.2, 7.0, 7.0]))
    amount = {"short": 0.6, "cap": 0.96, "receding": 0.75}[person.style]
    return np.asarray(np.clip(amount * _step(edge, -5, 8) * strands, 0, 1), np.float32)


def _brow(person: Person, points: Array, curve: Array) -> NDArray[np.float32]:
    line = CubicSpline(np.linspace(0, 1, 5), curve[:, :2] - [0, 1.5])(np.linspace(0, 1, 24))
    distance, along = _near_polyline(points[:, :2], line, 8.0)
    inner_first = abs(curve[0, 0]) < abs(curve[-1, 0])
    t = along if inner_first else 1 - along
    width = person.brow_width * np.interp(t, [0, 0.12, 0.5, 1], [0.75, 1.0, 0.95, 0.3])
    # hairs run outwards and a little upwards: stretch the noise along them
    lean = 0.45 if curve[:, 0].mean() > 0 else -0.45
    across = np.stack([points[:, 0] * lean - points[:, 1], points[:, 0] + lean * points[:, 1], points[:, 2]], axis=1)
    hairs = person.noise(across + 130.0, np.array([0.7, 3.5, 3.5]))
    edge = _step(width - distance + 0.7 * hairs, -1.6, 1.6)
    return np.asarray(np.clip(0.9 * edge * (0.86 + 0.14 * hairs), 0, 1), np.float32)


def _eye(
    person: Person, points: Array, eye: Array, colour: NDArray[np.float32], gloss: Array, front: Array
) -> tuple[NDArray[np.float32], Array]:
    upper, lower = _arc(eye[:4, :2]), _arc(eye[[3, 4, 5, 0], :2])
    contour = np.concatenate([upper[:-1], lower[:-1]])
    height = float(contour[:, 1].max() - contour[:, 1].min())
    distance, _ = _near_polyline(points[:, :2], upper, 5.0)
    lashes = _step(0.9 + 0.9 * person.makeup - distance, -0.5, 0.8) * front
    if height > 3.5:
        inside = _smooth_inside(points, contour, 0.45) * front
        centre = (eye[0] + eye[3]) / 2 + [0.0, 0.25 * height, 0.0]
        r = np.hypot(points[:, 0] - centre[0], points[:, 1] - centre[1])
        spokes = 1.0 + 0.18 * person.noise(points + 800.0, 0.8)
        ball: Array = np.array([0.42, 0.38, 0.36]) * np.ones((len(points), 1)) * (1 - 0.25 * _step(r, 8, 15))[:, None]
        ball = _mix(
            ball,
            person.iris * spokes[:, None] * (0.45 + 0.55 * _step(5.9 - r, 0, 1.4))[:, None],
            _step(6.1 - r, -0.3, 0.5),
        )
        ball = _mix(ball, np.array([0.008, 0.008, 0.008]), _step(2.2 - r, -0.4, 0.4))
        colour = _mix(colour, ball, inside)
        gloss = np.stack([gloss[:, 0] * (1 - inside), gloss[:, 1] + inside], axis=1)
    return _mix(colour, person.brow * 0.4, 0.8 * lashes), gloss


def _mouth_inside(points: Array, landmarks: Array) -> Array:
    top = landmarks[61:64, 1].mean()
    teeth = _step(points[:, 1] - (top - 7.5), -1.0, 1.0) * _step(points[:, 2] - landmarks[62, 2] + 16, -3, 3)
    gaps = 1 - 0.35 * _step(np.abs(np.mod(points[:, 0] / 7.5 + 0.5, 1.0) - 0.5) - 0.45, 0, 0.05)
    dark = np.array([0.16, 0.035, 0.03]) * np.ones((len(points), 1))
    return _mix(dark.astype(np.float32), np.array([0.62, 0.57, 0.47]) * gaps[:, None], teeth)


def _behind_lips(points: Array, inner: Array) -> NDArray[np.float64]:
    """1 for points (N, 3) that lie in the mouth, 0 for the lips themselves; inner: (8, 3), landmarks 60 to 67."""
    upper, lower = inner[:5], inner[[0, 7, 6, 5, 4]]
    above, below = (np.interp(points[:, 0], lip[:, 0], lip[:, 2]) for lip in (upper, lower))
    return _step((above + below) / 2 - points[:, 2], 2.0, 5.0)


def _contours(mouth: Array) -> tuple[Array, Array]:
    """Outer and inner contour of the lips, each (M, 2), from landmarks 48 to 67."""
    flat = mouth[:, :2]
    outer = np.concatenate([_arc(flat[:7])[:-1], _arc(np.concatenate([flat[6:12], flat[:1]]))[:-1]])
    inner = np.concatenate([_arc(flat[12:17])[:-1], _arc(np.concatenate([flat[16:20], flat[12:13]]))[:-1]])
    return outer, inner


def _arc(points: Array, count: int = 24) -> NDArray[np.float64]:
    """A smooth open curve through points (M, 2)."""
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1) + 1e-6)])
    return np.asarray(CubicSpline(length, points)(np.linspace(0, length[-1], count)), np.float64)


def _near_polyline(points: Array, line: Array, reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``_to_polyline`` where it is nearer than ``reach``; elsewhere the distance is infinite."""
    low, high = line.min(axis=0) - reach, line.max(axis=0) + reach
    index = np.flatnonzero(((points > low) & (points < high)).all(axis=1))
    distance, along = np.full(len(points), np.inf), np.zeros(len(points))
    distance[index], along[index] = _to_polyline(points[index], line)
    return distance, along


def _to_polyline(points: Array, line: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance (N,) of points (N, 2) to a polyline (M, 2), and the position 0 to 1 of the nearest point along it."""
    best, at = np.full(len(points), np.inf), np.zeros(len(points))
    for k in range(len(line) - 1):
        start, axis = line[k], line[k + 1] - line[k]
        t = np.clip((points - start) @ axis / max(float(axis @ axis), 1e-9), 0, 1)
        squared = ((points - start - t[:, None] * axis) ** 2).sum(axis=1)
        nearer = squared < best
        best = np.where(nearer, squared, best)
        at = np.where(nearer, (k + t) / (len(line) - 1), at)
    return np.sqrt(best), at


def _smooth_inside(points: Array, contour: Array, width: float) -> NDArray[np.float32]:
    """1 inside a closed contour (M, 2), 0 outside, with an edge of about ``width`` millimetres."""
    x, y = points[:, 0], points[:, 1]
    result = np.zeros(len(points), np.float32)
    low, high = contour.min(axis=0) - 3 * width, contour.max(axis=0) + 3 * width
    index = np.flatnonzero((x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1]))
    if index.size == 0:
        return result
    closed = np.concatenate([contour, contour[:1]])
    distance, _ = _to_polyline(points[index, :2], closed)
    inside = np.zeros(len(index), bool)
    px, py = x[index], y[index]
    for (ax, ay), (bx, by) in pairwise(closed):
        crosses = (ay > py) != (by > py)
        inside ^= crosses & (px < ax + (py - ay) * (bx - ax) / np.where(by == ay, 1e-12, by - ay))
    result[index] = _step(np.where(inside, distance, -distance), -width, width)
    return result


def _step(value: Array, low: float, high: float) -> NDArray[np.float64]:
    t = np.clip((np.asarray(value, np.float64) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _blob(points: Array, centre: Array, radius: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(-((points - centre) ** 2).sum(axis=1) / radius**2), np.float64)


def _blob2(offset: Array, radius: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(-((offset / radius) ** 2)), np.float64)


def _mix(a: Array, b: Array, share: Array) -> NDArray[np.float32]:
    weight = np.asarray(share)[:, None]
    return np.asarray(a * (1 - weight) + b * weight, np.float32)


def _between(table: Array, position: float) -> Array:
    at = position * (len(table) - 1)
    low = min(int(at), len(table) - 2)
    return np.asarray(table[low] + (at - low) * (table[low + 1] - table[low]), np.float32)
