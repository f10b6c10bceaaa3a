"""The metrics of ``fnbench.metrics`` for a training or validation loop in torch, to the last bit.

``update`` takes batches wherever they are, on the CPU or a GPU; the angle is computed there in float64 by the same
operations in the same order as in ``fnbench.metrics``, so the integer errors are equal. What is kept is one Tally per
image, and the errors themselves for the exact pooled quantiles (in a temporary file when they are many). Under
``torch.distributed`` every process updates with its share and all call ``compute``, which adds integers and
therefore answers the same on every process, for any split of the images. A sample that a distributed sampler hands
out twice counts once: images are known by their ids.

Vectors are (N, 3, H, W) in the canonical frame, masks (N, 1, H, W) or (N, H, W), not zero where a pixel counts.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from fnbench import metrics
from fnbench.errors import InvalidDataError
from fnbench.metrics import FAMILIES, NO_DIRECTION, UNIT, UNIT_TOLERANCE, Errors, Tally
from fnbench.quantiles import ErrorPool, exact_quantiles
from fnbench.types import UNIT_TOLERANCE as TARGET_TOLERANCE

Row = tuple[str, str | None, Tally]


class NormalMetric:
    """Accumulates errors over batches and processes.

    >>> metric = NormalMetric()
    >>> up = torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    >>> metric.update(up.roll(1, 1), up, torch.ones(1, 1, 2, 2))
    >>> metric.compute()["mean_px"]
    90.0
    """

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._pool = ErrorPool()
        self._device = torch.device("cpu")
        weakref.finalize(self, self._pool.close)  # a temporary file goes with the metric

    def reset(self) -> None:
        """Forget everything."""
        self._rows = []
        self._pool.close()

    @torch.no_grad()
    def update(
        self,
        predicted: Tensor,
        target: Tensor,
        mask: Tensor,
        *,
        ids: Sequence[str] | None = None,
        subjects: Sequence[str] | None = None,
    ) -> None:
        """Add a batch.

        predicted: (N, 3, H, W) of any length; what has no direction counts 180 degrees.  target: (N, 3, H, W) unit.
        mask: (N, 1, H, W) or (N, H, W); every image needs a pixel that counts.
        ids: names of the images; without them no image counts as a repetition.
        subjects: who is shown; without them ``compute`` leaves the family _sub out.
        """
        count, inside = len(predicted), _checked(predicted, target, mask)
        for what, names in (("ids", ids), ("subjects", subjects)):
            if names is not None and len(names) != count:
                raise ValueError(f"{len(names)} {what} for {count} images")
        self._device = predicted.device
        # .double() before anything else: float32 products would lose what the metric is judged by.
        p, t = predicted.detach().movedim(1, 0).double(), target.detach().movedim(1, 0).double()
        fixed = _fixed_errors(p, t)
        gradients = _gradients(p, t, inside)
        for index in range(count):
            where = inside[index]
            found = _image_errors(fixed[index][where], p[:, index][:, where], t[:, index][:, where])
            self._pool.add(found.fixed)
            name = f"{_rank()}:{len(self._rows)}" if ids is None else f"id {ids[index]}"
            subject = None if subjects is None else subjects[index]
            self._rows.append((name, subject, metrics.tally(found, gradients[index])))

    def compute(self) -> dict[str, float]:
        """All metrics over the images of all processes, by the names of ``metrics.summary``; every process must call.

        Raises ValueError when there is no image at all.
        """
        shares = _gathered(self._rows)
        owner: dict[str, tuple[int, int]] = {}
        for rank, rows in enumerate(shares):
            for position, (name, _, _) in enumerate(rows):
                owner.setdefault(name, (rank, position))
        kept = [shares[rank][position] for rank, position in owner.values()]
        if not kept:
            raise ValueError("no images were added; nothing to compute")
        own = _rank()
        repeated = frozenset(
            position for position, (name, _, _) in enumerate(self._rows) if owner[name] != (own, position)
        )
        quantiles = exact_quantiles(lambda: self._pool.chunks(repeated), self._summed)
        known = [subject for _, subject, _ in kept if subject is not None]
        subjects = known if len(known) == len(kept) else [""] * len(kept)
        found = metrics.summary([tally for _, _, tally in kept], subjects, quantiles)
        families = FAMILIES if len(known) == len(kept) else FAMILIES[:2]
        return {name: value for name, value in found.items() if name.endswith(families)}

    def _summed(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts added over all processes."""
        if not _spread():
            return counts
        total = torch.from_numpy(counts).to(self._device)
        distributed.all_reduce(total)
        summed: NDArray[np.int64] = total.cpu().numpy()
        return summed


def _spread() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _rank() -> int:
    return distributed.get_rank() if _spread() else 0


def _gathered(rows: list[Row]) -> list[list[Row]]:
    if not _spread():
        return [rows]
    shares: list[list[Row]] = [[] for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(shares, rows)
    return shares


def _checked(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The mask as (N, H, W) bool, when all shapes fit."""
    count, channels, height, width = predicted.shape if predicted.ndim == 4 else (0, 0, 0, 0)
    if (
        channels != 3
        or target.shape != predicted.shape
        or mask.shape
        not in (
            (count, 1, height, width),
            (count, height, width),
        )
    ):
        raise ValueError(
            f"predicted {tuple(predicted.shape)}, target {tuple(target.shape)} and mask {tuple(mask.shape)} do not "
            "fit; expected (N, 3, H, W) twice and (N, 1, H, W) or (N, H, W)"
        )
    return mask.reshape(count, height, width).to(predicted.device) != 0


def _fixed_errors(p: Tensor, t: Tensor) -> Tensor:
    """(3, ...) float64 twice to (...) int32 in steps of 1 / UNIT, rounded like ``metrics.degree_between``."""
    x, y, z = p
    u, v, w = t
    a, b, c = y * w - z * v, z * u - x * w, x * v - y * u
    sine = (a * a + b * b + c * c).sqrt()
    cosine = x * u + y * v + z * w
    size = cosine.abs()
    steep = sine > size
    low, high = torch.where(steep, size, sine), torch.where(steep, sine, size)
    folded = low > metrics._TAN_22_5 * high
    tangent = torch.where(folded, low - high, low) / torch.where(folded, low + high, high)
    s = tangent * tangent
    polynomial = torch.full_like(s, metrics._ATAN[9])
    for coefficient in metrics._ATAN[8::-1]:
        polynomial = polynomial * s + coefficient
    degree = polynomial * tangent * metrics._DEGREES
    degree = torch.where(folded, degree + 45.0, degree)
    degree = torch.where(steep, 90.0 - degree, degree)
    degree = torch.where(cosine < 0, 180.0 - degree, degree)
    square = x * x + y * y + z * z
    known = (square >= NO_DIRECTION * NO_DIRECTION) & (square < torch.inf)
    return (torch.where(known, degree, 180.0) * UNIT).to(torch.int32)


def _image_errors(fixed: Tensor, p: Tensor, t: Tensor) -> Errors:
    """(K,) errors and (3, K) vectors of the pixels of one image that count."""
    square, other = ((x * x + y * y + z * z) for x, y, z in (p, t))
    least, most = (1.0 - UNIT_TOLERANCE) ** 2, (1.0 + UNIT_TOLERANCE) ** 2
    zero = int((square < NO_DIRECTION * NO_DIRECTION).sum())
    nonfinite = int((~(square < torch.inf)).sum())
    odd = int((~((square > least) & (square < most))).sum())
    fitting = (other > (1.0 - TARGET_TOLERANCE) ** 2) & (other < (1.0 + TARGET_TOLERANCE) ** 2)
    invalid = int((~fitting).sum())
    if invalid:
        raise InvalidDataError(metrics.invalid_target(invalid, len(fixed)))
    return Errors(fixed.cpu().numpy(), nonfinite, zero, odd - zero - nonfinite)


def _gradients(p: Tensor, t: Tensor, inside: Tensor) -> list[tuple[int, int]]:
    """For each image, pixels with a valid 2x2 support and the sum of their gradient errors in steps of 1 / UNIT."""
    (p, known), (t, _) = _normalised(p), _normalised(t)
    difference = torch.where(inside, p - t, 0.0)
    first = difference[..., :-1, :-1]
    steps = [torch.zeros_like(first[0]), torch.zeros_like(first[0])]
    for k in range(3):
        for which, other in enumerate((difference[k, :, :-1, 1:], difference[k, :, 1:, :-1])):
            step = other - first[k]
            steps[which] = steps[which] + step * step
    total = torch.where(_square_of(known), steps[0].sqrt() + steps[1].sqrt(), 8.0) * UNIT
    support = _square_of(inside)
    sums = torch.where(support, total.to(torch.int64), 0).flatten(1).sum(1)
    return list(zip(support.flatten(1).sum(1).tolist(), sums.tolist(), strict=True))


def _normalised(vectors: Tensor) -> tuple[Tensor, Tensor]:
    x, y, z = vectors
    length = (x * x + y * y + z * z).sqrt()
    known = (length >= NO_DIRECTION) & (length < torch.inf)
    return torch.where(known, vectors * (1.0 / length), 0.0), known


def _square_of(flags: Tensor) -> Tensor:
    """Where a pixel and its right, lower and lower right neighbours are all True."""
    return flags[:, :-1, :-1] & flags[:, :-1, 1:] & flags[:, 1:, :-1] & flags[:, 1:, 1:]
