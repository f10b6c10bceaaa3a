"""Which way up the lights are: one decision per rig, from faces or from normals that came with the data.

Photometric stereo with lights turned or mirrored in the image plane gives exactly the true normals turned or mirrored,
with the same residual, so no image can tell the eight cases of ``lights.CASES`` apart. A face can: it is convex, so
its normals lean to the right on its right and up on its top, and its nose and chin stand where they stand. ``Evidence``
correlates measured normals, in the rig's own axes, with those an average face would have there: a few sums that add up
over sessions. ``decide`` picks the case that makes both correlations positive, and refuses when a second case is
nearly as good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidDataError
from fnbench.photometric.lights import CASES, case_matrix

MIN_SCORE = 0.25
"""Smallest correlation of measured and expected normals, on both axes, that counts as a face."""
MIN_MARGIN = 0.25
"""Smallest lead over the second best case."""
_MIN_PIXELS = 100  # fewer are no face
MIN_AGREEMENT = 0.75
"""Smallest share of sessions that vote for the pooled decision on their own."""
MAX_ANGLE = 30.0
"""Largest mean angle, in degrees, to normals that came with the data; the next case must be twice as far."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """How normals in rig axes go with those a face should have; adds up over sessions.

    faces: how many were added.
    expected, normal: (2,) variances of the expected in-plane normal (right, up) and of the measured one (rig x, y).
    together: (2, 2) covariances; rows are expected right and up, columns are the measured rig x and y.
    """

    faces: int
    expected: NDArray[np.float64]
    normal: NDArray[np.float64]
    together: NDArray[np.float64]

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(
            self.faces + other.faces,
            self.expected + other.expected,
            self.normal + other.normal,
            self.together + other.together,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """The case of a rig.

    case: one of ``lights.CASES``.
    by: "face prior" or "sn.mat".
    score: of the best case; margin: its lead over the second.
    sessions: how many were pooled; agreement: the share that votes alike on its own.
    """

    case: str
    by: str
    score: float
    margin: float
    sessions: int
    agreement: float

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) from rig axes to canonical axes."""
        return case_matrix(self.case)


def evidence(
    normals: NDArray[np.floating], mask: NDArray[np.bool_], expected: NDArray[np.floating] | None = None
) -> Evidence:
    """Evidence of one face; every face weighs the same, whatever its size in pixels.

    normals: (H, W, 3) in rig axes, z towards the viewer.
    mask: (H, W) bool, the pixels of the face: from forehead to chin, without hair and neck.
    expected: (H, W, 3) canonical normals of an average face in this place and pose, NaN where unknown. Without it
        the position in the mask stands in: a convex face leans to the right on its right and up on its top.

    Both are centred first, so that a turned head counts for nothing.
    """
    height, width = mask.shape
    if expected is None:
        rows, columns = np.mgrid[:height, :width]
        plane = np.stack([columns, -rows], axis=-1) / max(height, width)
    else:
        plane = expected[..., :2]
    chosen = mask & np.isfinite(plane).all(axis=-1)
    if np.count_nonzero(chosen) < _MIN_PIXELS:
        return Evidence(0, np.zeros(2), np.zeros(2), np.zeros((2, 2)))
    prior, measured = plane[chosen].astype(np.float64), normals[chosen][:, :2].astype(np.float64)
    prior -= prior.mean(axis=0)
    measured -= measured.mean(axis=0)
    return Evidence(
        1, (prior**2).mean(axis=0), (measured**2).mean(axis=0), prior.T @ measured / np.count_nonzero(chosen)
    )


def scores(pooled: Evidence) -> dict[str, float]:
    """For each case the smaller of two correlations: right with x, and up with y, after applying the case."""
    found = {}
    for case in CASES:
        turn = case_matrix(case)[:2, :2]
        covariance = pooled.together @ turn.T  # columns are now canonical x and y
        spread = np.abs(turn) @ pooled.normal
        with np.errstate(divide="ignore", invalid="ignore"):
            correlation = np.diag(covariance) / np.sqrt(pooled.expected * spread)
        found[case] = float(np.nan_to_num(correlation, nan=-1.0).min())
    return found


def decide(sessions: Iterable[Evidence], name: str) -> Decision:
    """The case of a rig by the face prior, pooled over sessions.

    sessions: evidence of each; one decision for all, because they share the rig.
    name: of the dataset or folder, for messages.
    Raises InvalidDataError when the best case is not clearly best or the sessions disagree.
    """
    each = [session for session in sessions if session.faces]
    if not each:
        raise InvalidDataError(f"{name}: no face pixels to decide the light azimuth by. Check the photographs.")
    pooled = sum(each[1:], each[0])
    ranked = _ranked(scores(pooled))
    (best, score), (second, runner_up) = ranked[0], ranked[1]
    votes = [_ranked(scores(session))[0][0] == best for session in each]
    agreement = sum(votes) / len(votes)
    if score < MIN_SCORE or score - runner_up < MIN_MARGIN or agreement < MIN_AGREEMENT:
        raise InvalidDataError(
            f"{name}: the light azimuth stays ambiguous over {len(each)} sessions: case {best} scores {score:.2f} and "
            f"case {second} {runner_up:.2f}, {100 * agreement:.0f} % of the sessions agree; expected at least "
            f"{MIN_SCORE} with a lead of {MIN_MARGIN} and {100 * MIN_AGREEMENT:.0f} %. Give the case by hand "
            f"(azimuth=...), one of {', '.join(CASES)}, or add a session with sn.mat."
        )
    return Decision(best, "face prior", score, score - runner_up, len(each), agreement)


def angles_to(
    reference: NDArray[np.floating], normals: NDArray[np.floating], mask: NDArray[np.bool_]
) -> Mapping[str, float]:
    """Mean angle in degrees between reference normals (canonical) and rig normals under each case, inside the mask."""
    target = reference[mask].astype(np.float64)
    found = {}
    for case in CASES:
        turned = normals[mask].astype(np.float64) @ case_matrix(case).T
        sine, cosine = np.linalg.norm(np.cross(turned, target), axis=-1), (turned * target).sum(axis=-1)
        found[case] = float(np.degrees(np.arctan2(sine, cosine)).mean())
    return found


def decide_by_reference(angles: Iterable[Mapping[str, float]], name: str) -> Decision:
    """The case of a rig by normals that came with the data: the smallest mean angle over sessions.

    Raises InvalidDataError when no case comes close or two come equally close.
    """
    each = list(angles)
    pooled = {case: float(np.mean([session[case] for session in each])) for case in CASES}
    (best, angle), (second, runner_up) = sorted(pooled.items(), key=lambda item: item[1])[:2]
    agreement = sum(min(session, key=session.__getitem__) == best for session in each) / len(each)
    if angle > MAX_ANGLE or runner_up < 2 * angle or agreement < MIN_AGREEMENT:
        raise InvalidDataError(
            f"{name}: sn.mat fits no light azimuth: case {best} is {angle:.1f} degrees off on average and case "
            f"{second} {runner_up:.1f}; expected below {MAX_ANGLE} and a clear lead. "
            f"Check that sn.mat was made from these photographs."
        )
    return Decision(best, "sn.mat", angle, runner_up - angle, len(each), agreement)


def _ranked(found: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(found.items(), key=lambda item: -item[1])
