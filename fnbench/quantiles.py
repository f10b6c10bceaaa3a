"""Exact quantiles over more errors than fit into memory.

Errors are kept as (K,) int32 in the fixed steps of ``fnbench.metrics``: in memory up to a limit, in a temporary file
beyond it. Two passes find an order statistic: the first counts errors in 64 bins per degree, the second counts single
steps inside the few bins that hold a wanted rank. The counts do not depend on the order, so neither do the quantiles.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fnbench.compiled import compiled
from fnbench.files import output_error
from fnbench.metrics import QUANTILES, WORST, interpolated, quantile_ranks

MEMORY = 2**24
"""Errors held in memory before they go to a temporary file: 64 MiB."""

_SHIFT = 17
_STEPS = 1 << _SHIFT  # steps per bin; 64 bins per degree


class ErrorPool:
    """The errors of all images, in any order, to be read again as often as needed.

    folder: where the temporary file goes when memory is not enough; the system's choice when None.
    memory: how many errors stay in memory.
    """

    def __init__(self, folder: Path | None = None, memory: int = MEMORY) -> None:
        self._folder = folder
        self._memory = memory
        self._held: list[NDArray[np.int32]] = []
        self._count = 0
        self._file: IO[bytes] | None = None
        self._spilled: list[int] = []  # how many errors each piece in the file has
        self._files: list[Path] = []

    def __enter__(self) -> ErrorPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, fixed: NDArray[np.int32] | str) -> None:
        """Keep the (K,) fixed errors of some images; OutputError when the disk is full.

        A text is the path of a file of them, which stays where it is until the pool is closed.
        """
        if isinstance(fixed, str):
            self._files.append(Path(fixed))
            return
        self._held.append(fixed)
        self._count += len(fixed)
        if self._count > self._memory:
            self._spill()

    def chunks(self, without: Container[int] = ()) -> Iterator[NDArray[np.int32]]:
        """All errors, in the pieces in which they were added; files come last, as one piece each.

        without: numbers of pieces to leave out, in the order of adding.
        """
        if self._file is not None:
            self._file.seek(0)
            for number, count in enumerate(self._spilled):
                piece = self._file.read(4 * count)
                if number not in without:
                    yield np.frombuffer(piece, np.int32)
        for number, fixed in enumerate(self._held, len(self._spilled)):
            if number not in without:
                yield fixed
        for path in self._files:
            yield np.fromfile(path, np.int32)

    def quantiles(self) -> dict[str, float]:
        """The exact QUANTILES over all errors, in degrees."""
        return exact_quantiles(self.chunks)

    def close(self) -> None:
        """Let go of the memory and of the temporary file; the pool is then empty."""
        self._held, self._spilled, self._files = [], [], []
        self._count = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _spill(self) -> None:
        try:
            if self._file is None:
                self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115  # lives as long as the pool
            self._file.seek(0, 2)
            for fixed in self._held:
                self._file.write(np.ascontiguousarray(fixed).data)
                self._spilled.append(len(fixed))
            self._file.flush()
        except OSError as error:
            raise output_error((self._folder or Path("temporary folder")) / "errors of all pixels", error) from error
        self._held = []
        self._count = 0


def exact_quantiles(
    chunks: Callable[[], Iterable[NDArray[np.int32]]],
    summed: Callable[[NDArray[np.int64]], NDArray[np.int64]] = lambda counts: counts,
) -> dict[str, float]:
    """QUANTILES of errors that are read twice, by numpy's "linear" rule.

    chunks: called once per pass; yields (K,) int32 fixed errors.
    summed: adds counts over the processes that each hold a share of the errors.
    Returns degrees by name.

    >>> exact_quantiles(lambda: [np.array([1, 3], np.int32) * 2**23])["median"]
    2.0
    """
    counts = np.zeros((WORST >> _SHIFT) + 1, np.int64)
    for fixed in chunks():
        _coarse(fixed, counts)
    counts = summed(counts)
    cumulated = np.cumsum(counts)
    n = int(cumulated[-1])
    if n == 0:
        raise ValueError("no errors, no quantiles")
    ranks, weights = quantile_ranks(n)
    bins = np.searchsorted(cumulated, ranks, side="right")
    wanted, slots = np.unique(bins, return_inverse=True)
    slot_of_bin = np.full(len(counts), -1, np.int16)
    slot_of_bin[wanted] = np.arange(len(wanted))
    fine = np.zeros((len(wanted), _STEPS), np.int64)
    for fixed in chunks():
        _inside(fixed, slot_of_bin, fine)
    fine = summed(fine)
    below = np.cumsum(fine, axis=1)
    inside = ranks - (cumulated[bins] - counts[bins])
    found = [
        (int(bin_) << _SHIFT) + int(np.searchsorted(below[slot], rank, side="right"))
        for bin_, slot, rank in zip(bins.ravel(), slots.ravel(), inside.ravel(), strict=True)
    ]
    return dict(zip(QUANTILES, interpolated(np.reshape(found, (-1, 2)), weights), strict=True))


@compiled
def _coarse(fixed: Any, counts: Any) -> Any:  # (K,) int32, (B,) int64
    for j in range(fixed.size):
        counts[fixed[j] >> _SHIFT] += 1


@compiled
def _inside(fixed: Any, slot_of_bin: Any, fine: Any) -> Any:  # (K,) int32, (B,) int16, (S, steps)
    for j in range(fixed.size):
        slot = slot_of_bin[fixed[j] >> _SHIFT]
        if slot >= 0:
            fine[slot, fixed[j] & (_STEPS - 1)] += 1
