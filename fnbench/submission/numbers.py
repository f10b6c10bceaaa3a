"""What the numbers of saved maps show, collected image by image while they are scored, and reported once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.encodings import MIXED_FLOOR, SURE_FIT, decoded, fitting_encoding
from fnbench.errors import InvalidPredictionError
from fnbench.evaluate import some
from fnbench.frames import to_canonical
from fnbench.maps import Header, read_map
from fnbench.metrics import UNIT
from fnbench.record import Finding
from fnbench.scoring import OFF_UNIT_LIMIT, Truth, Vectors, off_unit_error
from fnbench.store import Store
from fnbench.submission.declaration import Declaration
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
        with np.errstate(invalid="ignore"):  # infinite components become NaN, and are counted as either
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


@dataclass(frozen=True, slots=True)
class Remark:
    """What the numbers of one map show beside its score.

    stops: what ends the run.  truth: it is the ground truth.  short: vectors shorter than 1 and none longer.
    overflow: infinite float16.  unreadable: counted as missing.  coding: under which 8-bit codes fit best, or "".
    prediction, sample: hashes, to find copies.
    """

    id: str
    stops: tuple[Finding, ...] = ()
    truth: bool = False
    short: bool = False
    overflow: bool = False
    unreadable: bool = False
    coding: str = ""
    prediction: str = ""
    sample: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SavedMaps:
    """The maps of a submission as a source of predictions (``fnbench.scoring.Source``)."""

    submission: Submission
    headers: Mapping[str, Header]

    def maps(self, store: Store, indices: Sequence[int]) -> Iterator[Vectors | None]:
        """Canonical maps; None for what is missing or cannot be read (``remark`` says which)."""
        for index in indices:
            yield self._read(store, index)[0]

    def remark(self, store: Store, index: int, known: Truth, vectors: Vectors | None, row: Mapping[str, Any]) -> Remark:
        """Look at one scored map."""
        if vectors is None:
            return self._read(store, index)[1]
        header = self.headers[known.id]
        inside = vectors[known.mask]
        lengths = np.linalg.norm(inside.astype(np.float64), axis=-1)
        # A filter shortens vectors along edges and lengthens none; JPEG changes all. Both have their own finding.
        short = header.dtype.kind == "f" and not (lengths > 1.005).any() and np.median(lengths) > 0.98
        stops = []
        if row["off_unit"] > OFF_UNIT_LIMIT * row["n"] and not short and header.format != "jpeg":
            error = off_unit_error(inside, known.id, row["off_unit"])
            stops.append(Finding(error.code, "STOP", str(error), (known.id,)))
        return Remark(
            known.id,
            tuple(stops),
            truth=row["total"] < TRUTH_LIMIT * UNIT * row["n"],
            short=bool(short and (lengths < 0.995).mean() > 0.001),
            overflow=header.dtype == np.float16 and bool(np.isinf(inside).any()),
            coding=self._coding(known, header),
            prediction=str(row["prediction_sha256"]),
            sample=store.sample_hash(index),
        )

    def _read(self, store: Store, index: int) -> tuple[Vectors | None, Remark]:
        name = store.ids[index]
        if name not in self.headers:
            return None, Remark(name, unreadable=name in self.submission.paired)
        try:
            rotation = store.camera(index).rotation
            return canonical_map(self.submission, name, self.headers[name], rotation, store.size), Remark(name)
        except InvalidPredictionError as error:
            if self.submission.declaration.on_error == "score":
                return None, Remark(name, unreadable=True)
            where = self.submission.paired[name].label(self.submission.root)
            stop = Finding(error.code or "FM-45", "STOP", f"{name} ({where}): {error}", (name,))
            return None, Remark(name, (stop,))

    def _coding(self, known: Truth, header: Header) -> str:
        if header.dtype != np.uint8 or header.shape[:2] != known.mask.shape:
            return ""
        name, ratio = fitting_encoding(read_map(self.submission.paired[known.id])[known.mask])
        return name if ratio < SURE_FIT else ""


def stops(remarks: Sequence[Remark], declared: Declaration) -> Iterator[Finding]:
    """Findings of a whole submission that end the run."""
    for remark in remarks:
        yield from remark.stops
    copies: dict[str, list[Remark]] = {}
    for remark in remarks:
        if remark.prediction:
            copies.setdefault(remark.prediction, []).append(remark)
    for group in copies.values():
        if not declared.constant and len({remark.sample for remark in group}) > 1:
            ids = tuple(remark.id for remark in group)
            text = (
                f"{len(ids)} images have bit for bit the same prediction ({some(ids)}), but their inputs differ; "
                "expected one prediction per image. A constant baseline is declared with --constant."
            )
            yield Finding("FM-20", "STOP", text, ids)
    codings: dict[str, list[str]] = {}
    for remark in remarks:
        if remark.coding:
            codings.setdefault(remark.coding, []).append(remark.id)
    if len(codings) > 1:
        listed = "; ".join(f"{name} fits {len(ids)} (e.g. {ids[0]})" for name, ids in sorted(codings.items()))
        text = f"the files of this set are coded differently: {listed}; expected one coding. Save all maps alike."
        fewest = min(codings, key=lambda name: len(codings[name]))
        yield Finding("FM-13", "STOP", text, tuple(codings[fewest]))
    truths = tuple(remark.id for remark in remarks if remark.truth)
    if truths and not declared.self_test:
        text = (
            f"ground truth found among the predictions: {some(truths)} equal the target within {TRUTH_LIMIT} degrees; "
            "expected predictions. Submit what the method predicts; --self-test allows it for testing."
        )
        yield Finding("FM-21", "STOP", text, truths)


def warnings(remarks: Sequence[Remark], declared: Declaration) -> Iterator[Finding]:
    """Findings of a whole submission that stay in the record."""
    unreadable = tuple(remark.id for remark in remarks if remark.unreadable)
    if unreadable:
        text = f"{len(unreadable)} files cannot be read and count as missing: {some(unreadable)}"
        yield Finding("FM-45", "SCORE", text, unreadable)
    overflow = tuple(remark.id for remark in remarks if remark.overflow)
    if overflow:
        text = f"{len(overflow)} float16 files hold infinite values ({some(overflow)}): float16 ends at 65504"
        yield Finding("FM-22", "SCORE", f"{text}. Save float32.", overflow)
    short = tuple(remark.id for remark in remarks if remark.short)
    if short:
        text = (
            f"{len(short)} maps hold vectors shorter than 1 and none longer ({some(short)}): resized with a filter and "
            "not renormalised; they were normalised. Resize in float and renormalise."
        )
        yield Finding("FM-18", "WARN", text, short)
    codings = [remark.coding for remark in remarks if remark.coding]
    stated = declared.convention(Header("png", (1, 1, 3), np.dtype(np.uint8)))
    best = max(sorted(set(codings)), key=codings.count, default="")
    if best and stated is not None and best != stated.encoding:
        text = (
            f"the codes fit {best} better than the declared {stated.encoding} in {codings.count(best)} files; a mixed "
            f"coding costs up to {MIXED_FLOOR[0]} degrees on average and {MIXED_FLOOR[1]} at worst. Declare --encoding "
            f"{best} if that is how they were written."
        )
        yield Finding("FM-13", "WARN", text, tuple(remark.id for remark in remarks if remark.coding == best))
