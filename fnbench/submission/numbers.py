"""What the numbers of saved maps show, collected image by image while they are scored, and reported once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.encodings import MIXED_FLOOR, decoded
from fnbench.errors import InvalidPredictionError
from fnbench.evaluate import OFF_UNIT_LIMIT, off_unit_error, some
from fnbench.frames import to_canonical
from fnbench.maps import Header, read_map
from fnbench.metrics import UNIT
from fnbench.record import Finding
from fnbench.store import Store
from fnbench.submission.pairing import Submission

TRUTH_LIMIT = 0.01
"""Mean degrees below which a map is taken to be the ground truth itself: no model gets there, a stored copy does."""


def canonical_map(
    submission: Submission, name: str, header: Header, rotation: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.floating]:
    """One predicted map as (H, W, 3) vectors in the canonical frame, at the size of the sample.

    rotation: (3, 3) world to camera of the sample, used for ``space = "world"``.
    """
    declared = submission.declaration
    convention = declared.convention(header)
    if convention is None:
        raise InvalidPredictionError(f"{name}: stored as codes; declare --encoding 127.5, 128 or 127.", code="FM-11")
    vectors = decoded(read_map(submission.paired[name]), convention.encoding)
    if convention.order == "bgr":
        vectors = vectors[..., ::-1]
    if declared.mirror:
        vectors = vectors[:, ::-1]
    vectors = to_canonical(vectors, convention.frame)
    if declared.space == "world":
        vectors = (vectors @ rotation.T).astype(vectors.dtype)
    return vectors if vectors.shape[:2] == size else resized(vectors, size)


def resized(vectors: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.floating]:
    """Bilinear in float, antialiased when shrinking, renormalised; what is not finite stays so."""
    from skimage.transform import resize

    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = np.where(length > 0, vectors / length, 0)
    grown = resize(  # type: ignore[no-untyped-call]  # scikit-image has no types
        unit, size, order=1, mode="edge", anti_aliasing=size[0] < vectors.shape[0]
    )
    length = np.linalg.norm(grown, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(length > 1e-6, grown / length, 0), np.float32)


class Notes:
    """What the numbers of a submission show, collected image by image and reported once."""

    def __init__(self, submission: Submission) -> None:
        self._submission = submission
        self._stops: list[Finding] = []
        self._hashes: dict[str, list[tuple[str, str]]] = {}
        self._truths: list[str] = []
        self._unreadable: list[str] = []
        self._short: list[str] = []
        self._overflow: list[str] = []
        self._codings: dict[str, int] = {}

    def read(self, store: Store, index: int, header: Header | None) -> NDArray[np.floating] | None:
        """The canonical map of a sample, or None when there is none to score."""
        name = store.ids[index]
        if header is None:
            if name in self._submission.paired:
                self._unreadable.append(name)
            return None
        try:
            rotation = store.camera(index).rotation
            return canonical_map(self._submission, name, header, rotation, store.size)
        except InvalidPredictionError as error:
            if self._submission.declaration.on_error == "score":
                self._unreadable.append(name)
            else:
                entry = self._submission.paired[name].label(self._submission.root)
                self._stops.append(Finding(error.code or "FM-45", "STOP", f"{name} ({entry}): {error}", (name,)))
            return None

    def judge(
        self,
        name: str,
        vectors: NDArray[np.floating] | None,
        mask: NDArray[np.bool_],
        row: Mapping[str, Any],
        header: Header | None,
        input_hash: str,
    ) -> None:
        """Look at one scored map.

        vectors: (H, W, 3) canonical.  mask: (H, W) pixels that count.  row: of ``sample_row``.
        """
        if vectors is None or header is None:
            return
        inside = vectors[mask]
        if row["off_unit"] > OFF_UNIT_LIMIT * row["n"]:
            error = off_unit_error(inside, name, row["off_unit"])
            self._stops.append(Finding(error.code, "STOP", str(error), (name,)))
        if row["total"] < TRUTH_LIMIT * UNIT * row["n"]:
            self._truths.append(name)
        if row["nonfinite"] and header.dtype == np.float16 and np.isinf(inside).any():
            self._overflow.append(name)
        lengths = np.linalg.norm(inside.astype(np.float64), axis=-1)
        if (lengths < 0.995).mean() > 0.001 and not (lengths > 1.005).any() and header.dtype.kind == "f":
            self._short.append(name)
        if header.dtype == np.uint8:
            best = _best_coding(
                read_map(self._submission.paired[name])[mask] if vectors.shape == header.shape else None
            )
            self._codings[best] = self._codings.get(best, 0) + 1
        self._hashes.setdefault(str(row["prediction_sha256"]), []).append((name, input_hash))

    def stops(self) -> Iterator[Finding]:
        """Findings that end the run."""
        yield from self._stops
        declared = self._submission.declaration
        if not declared.constant:
            for group in self._hashes.values():
                if len({input_hash for _, input_hash in group}) > 1:
                    yield Finding(
                        "FM-20",
                        "STOP",
                        f"{len(group)} images have bit for bit the same prediction ({some([n for n, _ in group])}), "
                        "but their inputs differ; expected one prediction per image. A constant baseline is declared "
                        "with --constant.",
                        tuple(n for n, _ in group),
                    )
        if self._truths and not declared.self_test:
            yield Finding(
                "FM-21",
                "STOP",
                f"ground truth found among the predictions: {some(self._truths)} equal the target within "
                f"{TRUTH_LIMIT} degrees. Submit what the method predicts; --self-test allows it for testing.",
                tuple(self._truths),
            )

    def warnings(self) -> Iterator[Finding]:
        """Findings that stay in the record."""
        if self._unreadable:
            text = f"{len(self._unreadable)} files cannot be read and count as missing: {some(self._unreadable)}"
            yield Finding("FM-45", "SCORE", text, tuple(self._unreadable))
        if self._overflow:
            yield Finding(
                "FM-22",
                "SCORE",
                f"{len(self._overflow)} float16 files hold infinite values ({some(self._overflow)}): float16 ends at "
                "65504. Save float32.",
                tuple(self._overflow),
            )
        if self._short:
            yield Finding(
                "FM-18",
                "WARN",
                f"{len(self._short)} maps hold vectors shorter than 1 and none longer ({some(self._short)}): resized "
                "with a filter and not renormalised; they were normalised. Resize in float and renormalise.",
                tuple(self._short),
            )
        declared = self._submission.declaration
        if self._codings:
            best = max(self._codings, key=lambda name: self._codings[name])
            stated = declared.convention(Header("png", (1, 1, 3), np.dtype(np.uint8)))
            if best and stated is not None and best != stated.encoding:
                yield Finding(
                    "FM-13",
                    "WARN",
                    f"the codes fit {best} better than the declared {stated.encoding} in {self._codings[best]} files; "
                    f"a mixed coding costs up to {MIXED_FLOOR[0]} degrees on average and {MIXED_FLOOR[1]} at worst.",
                )


def _best_coding(codes: NDArray[np.uint8] | None) -> str:
    """The decoding under which vector lengths are nearest to 1; empty when it cannot be told."""
    if codes is None or not len(codes):
        return ""
    spread = {
        name: float(np.abs(np.linalg.norm(decoded(codes, name), axis=-1) - 1).mean())
        for name in ("127.5", "128", "127")
    }
    best, second = sorted(spread.values())[:2]
    return min(spread, key=lambda name: spread[name]) if best < 0.7 * second else ""
