"""Where the face is in a scan that comes without landmarks: the stated rule, its residual, and refusal.

Rule
----
1. Hypotheses: a grid of head orientations about the declared axes (wider ones only when none fits), and for each the
   most prominent points of the visible surface as possible tips of the nose.
2. The face of the built-in template head is aligned to each by trimmed point-to-plane ICP, coarse to fine, with one
   scale held near 1; the cheapest fit wins. Points without a match cost like distant ones.
3. The template's face is then moved onto the scan by smoothed offsets, and its 68 landmarks go along; each ends at
   the closest point of the scan.
4. A frontal picture of the result is rendered and shown to scikit-image's face cascade.

The fit is refused when residual, coverage, scale or eye distance are not those of a head, or when the residual is
doubtful and the cascade sees no face either. What was found travels with every sample (``Located.attributes``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, uniform_filter
from scipy.spatial.transform import Rotation

from fnbench.camera import Camera, look_at
from fnbench.errors import InvalidDataError
from fnbench.render.backends import renderer
from fnbench.render.shade import surface_maps
from fnbench.scans import head
from fnbench.scans.align import Alignment, Patch, Surface, assess, closest_points, costs, deform, icp, surface
from fnbench.scans.head import template
from fnbench.scans.landmarks import eye_distance
from fnbench.scans.normals import vertex_normals
from fnbench.types import Scan

RESIDUAL = 3.2
"""Largest mean distance between template face and scan after the similarity fit, in mm; real heads give 1.2 to 2.7."""
NOSE = 6.0
"""Largest mean distance of the template's nose, in mm: it rejects what is round and has no nose (7 and more)."""
SURE = (2.7, 4.0)
"""Residual and nose distance below which a face needs no cascade: hats, beards and odd light can hide one from it."""
COVERAGE = 0.75
"""Smallest share of the template's face points that must find the scan."""
SCALE = (0.80, 1.25)
"""Heads of children and adults relative to the template."""
EYES = (65.0, 120.0)
"""Plausible distance of the outer eye corners in mm: the unit check that no box can make."""

_OPEN_MOUTHS = ("mouth-open", "surprise")
_WEIGHTS = (0.0, 3.0, 2.0, 1.0, 1.0, 1.5, 1.0, 0.5)  # by region: the middle of the face tells people from potatoes
_COARSE_REACH = (40.0, 40.0, 30.0, 30.0, 20.0, 20.0, 15.0, 15.0, 12.0, 12.0)
_FINE_REACH = (15.0,) * 8 + (10.0,) * 8 + (8.0,) * 14
_NOSE_RADIUS = 25.0
_FRONTAL = tuple((yaw, pitch) for yaw in (0, -30, 30, -60, 60) for pitch in (0, -30, 30))
_ROUND = tuple((yaw, pitch) for yaw in range(-180, 180, 30) for pitch in (0, -30, 30))
_CELL = 6.0
_TIPS = 6
_COARSE, _DRAWN, _FINE = 220, 800, 1500
_KEPT = 24
_PICTURE = 160


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """The face of a scan.

    landmarks: (68, 3) mm in scan coordinates, on the surface.
    frame: (3, 3) rows are the face's right (image right), up and out directions in the scan's world.
    alignment: similarity of the template head to the scan.
    cascade: the face cascade found a face in the frontal picture.
    """

    landmarks: NDArray[np.float64]
    frame: NDArray[np.float64]
    alignment: Alignment
    cascade: bool

    @property
    def attributes(self) -> dict[str, Any]:
        """What is stored with every sample, in JSON types."""
        return {
            "landmark_source": "template alignment",
            "landmark_residual_mm": round(self.alignment.residual, 3),
            "landmark_coverage": round(self.alignment.coverage, 3),
            "template_scale": round(self.alignment.scale, 4),
            "face_cascade": self.cascade,
        }


def locate(scan: Scan) -> Located:
    """Find the face; InvalidDataError with the numbers when there is none that can be trusted.

    scan: millimetres, wound outwards. Fastest when x is the image right, y up and z out of the face, but any
    orientation is found.
    """
    normals = vertex_normals(scan.vertices, scan.faces)
    target = surface(scan, normals)
    fit, expression = _search(target)
    nose = _nose_cost(target, fit, expression)
    _refuse_misfit(fit, nose, scan.name)
    patch, landmarks = _face(_DRAWN, expression)
    found = closest_points(deform(patch, landmarks, target, fit), scan)
    _refuse_size(found, scan.name)
    frame = fit.rotation.T
    seen = face_seen(scan, normals, found, frame)
    if not seen and (fit.residual > SURE[0] or nose > SURE[1]):
        raise InvalidDataError(
            f"{scan.name}: the template head fits with {fit.residual:.1f} mm (nose {nose:.1f}), doubtful above "
            f"{SURE[0]} ({SURE[1]}), and the face cascade sees no face in its frontal view; give landmarks."
        )
    return Located(found, frame, fit, seen)


def face_seen(
    scan: Scan, normals: NDArray[np.float64], landmarks: NDArray[np.float64], frame: NDArray[np.float64]
) -> bool:
    """Whether scikit-image's cascade finds a face, at the right place, in a frontal picture of the scan."""
    camera = _frontal_camera(landmarks, frame)
    maps = surface_maps(scan, normals, camera, renderer().visibility(scan, camera))
    pixels, _ = camera.project(landmarks)
    centre = (pixels[36:48].mean(axis=0) + pixels[48:68].mean(axis=0)) / 2
    return any(_detected(picture, centre) for picture in _pictures(scan, maps))


def _frontal_camera(landmarks: NDArray[np.float64], frame: NDArray[np.float64]) -> Camera:
    """A parallel view into the face, twice as wide as its landmarks."""
    middle = (landmarks.max(axis=0) + landmarks.min(axis=0)) / 2
    side = 2.1 * float(np.ptp(landmarks @ frame.T, axis=0)[:2].max())
    focal = _PICTURE / side
    K = np.array([[focal, 0, _PICTURE / 2], [0, focal, _PICTURE / 2], [0, 0, 1]])
    return Camera(K, look_at(middle, 1000.0, frame=frame), _PICTURE, _PICTURE, orthographic=True)


def _pictures(scan: Scan, maps: Any) -> list[NDArray[np.uint8]]:
    """Grey pictures for the cascade: the scan's own colour when it has one, and clay under two lights."""
    pictures = []
    if scan.texture is not None and maps.uv is not None:
        height, width = scan.texture.shape[:2]
        uv = np.nan_to_num(maps.uv)
        column = np.clip(uv[..., 0] * width, 0, width - 1).astype(int)
        row = np.clip((1 - uv[..., 1]) * height, 0, height - 1).astype(int)
        pictures.append(_on_grey(scan.texture[row, column].mean(axis=-1), maps.mask))
    for light in ((0.0, 0.5, 0.87), (0.0, 0.0, 1.0)):
        clay = 40 + 200 * np.clip(maps.normals @ np.array(light), 0, 1)
        pictures.append(_on_grey(clay, maps.mask))
    return pictures


def _on_grey(values: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(mask, values, 110).astype(np.uint8)


def _detected(picture: NDArray[np.uint8], centre: NDArray[np.float64]) -> bool:
    boxes = _cascade().detect_multi_scale(
        img=picture, scale_factor=1.1, step_ratio=1, min_size=(50, 50), max_size=(_PICTURE, _PICTURE)
    )
    for box in boxes:
        middle = np.array([box["c"] + box["width"] / 2, box["r"] + box["height"] / 2])
        if np.abs(middle - centre).max() < 0.2 * _PICTURE:
            return True
    return False


@lru_cache(maxsize=1)
def _cascade() -> Any:
    from skimage import data
    from skimage.feature import Cascade

    return Cascade(data.lbp_frontal_face_cascade_filename())  # type: ignore[no-untyped-call]  # scikit-image has no types


@lru_cache(maxsize=8)
def _face(count: int, expression: str = "neutral") -> tuple[Patch, NDArray[np.float64]]:
    """Points of the template's face, evenly drawn, and the template's landmarks."""
    if expression == "neutral":
        scan, landmarks = template()
    else:
        shape = head.Shape(expression=head.EXPRESSIONS[expression])
        scan, landmarks = head.mesh(shape, 3.0), head.landmarks(shape)
    labels = np.zeros(len(scan.vertices), np.uint8) if scan.labels is None else scan.labels
    pick = np.random.default_rng(0).choice(np.flatnonzero(labels > 0), count, replace=False)
    normals = vertex_normals(scan.vertices, scan.faces)
    return Patch(scan.vertices[pick], normals[pick], np.array(_WEIGHTS)[labels[pick]]), landmarks


def _orientations() -> list[NDArray[np.float64]]:
    """Sets of rotations (N, 3, 3) from template to scan, likely ones first."""
    frontal = np.stack([_turn(yaw, pitch) for yaw, pitch in _FRONTAL])
    around = np.stack([_turn(yaw, pitch) for yaw, pitch in _ROUND])
    axes = Rotation.create_group("O").as_matrix()
    anywhere = np.einsum("aij,bjk->abik", axes, frontal[:7]).reshape(-1, 3, 3)
    return [frontal, around, anywhere]


def _turn(yaw: float, pitch: float) -> NDArray[np.float64]:
    """Rotation of a head that looks ``yaw`` degrees to the image right and ``pitch`` degrees up."""
    return np.asarray(Rotation.from_euler("YX", [yaw, -pitch], degrees=True).as_matrix(), np.float64)


def _search(target: Surface) -> tuple[Alignment, str]:
    """The cheapest fit of the neutral template, then of one with an open mouth if that is clearly cheaper."""
    best = Alignment(np.eye(3), np.zeros(3))
    for turns in _orientations():
        fit = _best_fit(target, turns)
        best = fit if fit.cost < best.cost else best
        if _fits(best, _nose_cost(target, best, "neutral")):
            break
    expression = "neutral"
    if best.coverage > 0:
        for other in _OPEN_MOUTHS:
            fit = icp(_face(_FINE, other)[0], target, best, reach=_FINE_REACH, free_scale=True)
            if fit.cost < 0.95 * best.cost:
                best, expression = fit, other
    return best, expression


def _best_fit(target: Surface, turns: NDArray[np.float64]) -> Alignment:
    patch, landmarks = _face(_COARSE)
    starts = [Alignment(turn, tip - turn @ landmarks[30]) for turn in turns for tip in _nose_tips(target, turn)]
    rough = sorted((assess(patch, target, start, 25.0) for start in starts), key=lambda fit: fit.cost)
    coarse = sorted(
        (icp(patch, target, start, reach=_COARSE_REACH) for start in rough[:_KEPT]), key=lambda fit: fit.cost
    )
    patch, _ = _face(_FINE)
    fine = [icp(patch, target, fit, reach=_FINE_REACH, free_scale=True) for fit in coarse[:3]]
    return min(fine, key=lambda fit: fit.cost)


def _nose_cost(target: Surface, fit: Alignment, expression: str) -> float:
    """Mean cost of the template's nose: what a face has and a ball, an egg or a shoulder has not."""
    patch, landmarks = _face(_FINE, expression)
    near = np.linalg.norm(patch.points - landmarks[27:36].mean(axis=0), axis=1) < _NOSE_RADIUS
    return float(costs(patch, target, fit)[0][near].mean())


def _nose_tips(target: Surface, turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """(<= _TIPS, 3) points that stand out of the surface towards the viewer of a face turned by ``turn``."""
    seen = target.points @ turn  # in the template's axes
    low = seen[:, :2].min(axis=0)
    cells = ((seen[:, :2] - low) / _CELL).astype(int)
    shape = tuple(cells.max(axis=0) + 1)
    flat = np.ravel_multi_index(tuple(cells.T), shape)
    order = np.argsort(seen[:, 2])
    top = np.full(int(np.prod(shape)), -1)
    top[flat[order]] = order  # the last one written is the nearest to the viewer
    filled = (top >= 0).reshape(shape)
    depth = np.where(filled, seen[top, 2].reshape(shape), -np.inf)
    around = uniform_filter(np.where(filled, depth, 0.0), 13, mode="constant")
    weight = uniform_filter(filled.astype(float), 13, mode="constant")
    peak = filled & (depth == maximum_filter(depth, 9)) & (weight > 0.2)
    prominence = np.where(peak, depth - around / np.maximum(weight, 1e-9), -np.inf).ravel()
    chosen = np.argsort(-prominence)[: min(_TIPS, int(peak.sum()))]
    return np.asarray(target.points[top[chosen]], np.float64)


def _fits(fit: Alignment, nose: float) -> bool:
    return fit.residual <= RESIDUAL and nose <= NOSE and fit.coverage >= COVERAGE and SCALE[0] <= fit.scale <= SCALE[1]


def _refuse_misfit(fit: Alignment, nose: float, name: str) -> None:
    if not _fits(fit, nose):
        raise InvalidDataError(
            f"{name}: no face found: the template head fits with {fit.residual:.1f} mm (nose {nose:.1f}) over "
            f"{fit.coverage:.0%} of its face at scale {fit.scale:.2f}, expected at most {RESIDUAL} mm (nose {NOSE}), "
            f"at least {COVERAGE:.0%}, and {SCALE[0]:.2f} to {SCALE[1]:.2f}; check that it shows a face, and its unit, "
            "or give landmarks."
        )


def _refuse_size(landmarks: NDArray[np.float64], name: str) -> None:
    eyes = eye_distance(landmarks)
    if not EYES[0] <= eyes <= EYES[1]:
        raise InvalidDataError(
            f"{name}: its outer eye corners are {eyes:.0f} mm apart, expected {EYES[0]:.0f} to {EYES[1]:.0f} mm; "
            "check the unit, or give landmarks for this scan."
        )
