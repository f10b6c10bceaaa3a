"""Which way up the lights are: one decision per rig, from faces or from normals that came with the data.

Photometric stereo with lights turned or mirrored in the image plane gives exactly the true normals turned or mirrored,
with the same residual, so no image can tell the eight cases of ``lights.CASES`` apart. A face can: it is convex, so
its normals lean to the right on its right and up on its top. ``Evidence`` measures that in the rig's own axes as a few
sums, which add up over sessions; ``decide`` picks the case that makes both correlations positive, and refuses when a
second case is nearly as good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnbench.errors import InvalidDataError
from fnbench.photometric.lights import CASES, case_matrix

MIN_SCORE = 0.25
"""Smallest correlation of normal and position, on both axes, that counts as a face."""
MIN_MARGIN = 0.25
"""Smallest lead over the second best case."""
MIN_AGREEMENT = 0.75
"""Smallest share of sessions that vote for the pooled decision on their own."""
MAX_ANGLE = 30.0
"""Largest mean angle, in degrees, to normals that came with the data; the next case must be twice as far."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """How normals in rig axes go with position on one face; adds up over sessions.

    pixels: how many were counted.
    position, normal: (2,) sums of squares of the centred in-plane position (right, up) and normal.
    together: (2, 2) sums of products; rows are position right and up, columns are the normal's rig x and y.
    facing: sum of z.
    """

    pixels: int
    position: NDArray[np.float64]
    normal: NDArray[np.float64]
    together: NDArray[np.float64]
    facing: float

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(
            self.pixels + other.pixels,
            self.position + other.position,
            self.normal + other.normal,
            self.together + other.together,
            self.facing + other.facing,
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


def evidence(normals: NDArray[np.floating], mask: NDArray[np.bool_]) -> Evidence:
    """Evidence of one face.

    normals: (H, W, 3) in rig axes, z towards the viewer.
    mask: (H, W) bool, the pixels of the face: from forehead to chin, without hair and neck.

    Position and normal are centred first, so a turned head or an off-centre face does not count.
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return Evidence(0, np.zeros(2), np.zeros(2), np.zeros((2, 2)), 0.0)
    position = np.stack([columns, -rows], axis=1).astype(np.float64)
    position -= position.mean(axis=0)
    chosen = normals[rows, columns].astype(np.float64)
    plane = chosen[:, :2] - chosen[:, :2].mean(axis=0)
    # Each face weighs the same in a pool, whatever its size in pixels.
    share = 1.0 / len(rows)
    position /= np.sqrt((position**2).sum() * share)
    return Evidence(
        len(rows),
        (position**2).sum(axis=0) * share,
        (plane**2).sum(axis=0) * share,
        position.T @ plane * share,
        float(chosen[:, 2].sum()),
    )


def scores(pooled: Evidence) -> dict[str, float]:
    """For each case the smaller of two correlations: right with x, and up with y, after applying the case."""
    found = {}
    for case in CASES:
        turn = case_matrix(case)[:2, :2]
        covariance = pooled.together @ turn.T  # columns are now canonical x and y
        spread = np.abs(turn) @ pooled.normal
        with np.errstate(divide="ignore", invalid="ignore"):
            correlation = np.diag(covariance) / np.sqrt(pooled.position * spread)
        found[case] = float(np.nan_to_num(correlation, nan=-1.0).min())
    return found


def decide(sessions: Iterable[Evidence], name: str) -> Decision:
    """The case of a rig by the face prior, pooled over sessions.

    sessions: evidence of each; one decision for all, because they share the rig.
    name: of the dataset or folder, for messages.
    Raises InvalidDataError when the best case is not clearly best or the sessions disagree.
    """
    each = [session for session in sessions if session.pixels]
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
