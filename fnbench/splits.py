"""Does anybody, or any picture, stand on both sides of training and test?

Within one dataset the card's rule decides a split by subject alone, so splits cannot share people. Across files they
can: a file may have been split by other rules, and datasets reuse each other's people (cards name the overlaps).
``leaks`` compares subjects where their names are comparable and says so where they are not; ``near_duplicates``
compares the pictures themselves, whatever they are called.

Codes follow the failure modes: FM-47 is a person or picture in training and in test, FM-48 two datasets that share
people who cannot be compared by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnbench.cards import card_names, load_card
from fnbench.store import Store

NEAR = 4
"""Pictures whose 64-bit difference hashes differ in at most this many bits are listed as near duplicates."""

_SHOWN = 10
_BLOCK = 512  # hashes compared at once


@dataclass(frozen=True, slots=True)
class Leak:
    """Somebody or something on both sides.

    code: FM-47 or FM-48.  certain: False when a person has to judge.
    training, test: the two datasets or files.  who: subjects, or pairs of samples.
    """

    code: str
    certain: bool
    training: str
    test: str
    text: str
    who: tuple[str, ...] = ()

    def line(self) -> str:
        """The leak in one line, ten names at most."""
        names = ", ".join(self.who[:_SHOWN]) + (", …" if len(self.who) > _SHOWN else "")
        return f"{self.code} {'error' if self.certain else 'warning'}: {self.text}" + (f": {names}" if names else "")


def leaks(training: Mapping[str, Iterable[str]], test: Mapping[str, Iterable[str]]) -> list[Leak]:
    """People in training and in test, over all pairs of datasets.

    training, test: dataset name -> its subjects on that side.

    >>> leaks({"florence": ["subject_01"]}, {"florence": ["subject_01", "subject_02"]})[0].line()
    'FM-47 error: florence: 1 of 2 test subjects are in the training data: subject_01'
    """
    found = []
    for ours, people in training.items():
        for theirs, others in test.items():
            trained, tested = {key(s): s for s in people}, {key(s): s for s in others}
            both = tuple(sorted(tested[k] for k in trained.keys() & tested.keys()))
            if ours == theirs and both:
                text = f"{theirs}: {len(both)} of {len(tested)} test subjects are in the training data"
                found.append(Leak("FM-47", True, ours, theirs, text, both))
            elif ours != theirs and share_people(ours, theirs):
                found.append(_across(ours, theirs, both, len(tested)))
    return found


def share_people(a: str, b: str) -> bool:
    """Do two datasets have people in common, as either card says?

    >>> share_people("headspace", "realy"), share_people("headspace", "florence")
    (True, False)
    """
    known = set(card_names())
    return any(x in known and y in load_card(x).overlaps for x, y in ((a, b), (b, a)))


def key(subject: str) -> str:
    """A subject's name as datasets that reuse each other's people may spell it: case, folders and zeros aside.

    >>> key("Tester_007") == key("tester7"), key("LYHM/00012") == key("12"), key("F0001") == key("M0001")
    (True, True, False)
    """
    last = re.split(r"[/\\]", subject.lower())[-1]
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[^a-z0-9]", "", last))


def leaks_between(training: Sequence[str | os.PathLike[str]], test: str | os.PathLike[str]) -> list[Leak]:
    """People and pictures that files for training share with a file for testing.

    Counted are the samples of split train in the first and of split test in the second; a file without such a split
    counts whole.
    """
    trained: dict[str, set[str]] = {}
    found: list[Leak] = []
    with Store(test) as target:
        tested = _chosen(target, "test")
        hashes, names = _hashes(target, tested)
        for path in training:
            with Store(path) as source:
                mine = _chosen(source, "train")
                dataset = str(source.attributes["dataset"])
                trained.setdefault(dataset, set()).update(source.subjects[k] for k in mine)
                pairs = near_duplicates(_hashes(source, mine), (hashes, names))
                if pairs:
                    text = f"{path}: {len(pairs)} pairs of nearly the same picture in training and test"
                    found.append(Leak("FM-47", False, str(path), str(test), text, tuple(pairs)))
        people = {str(target.attributes["dataset"]): {target.subjects[k] for k in tested}}
    return leaks(trained, people) + found


def near_duplicates(
    training: tuple[NDArray[np.uint64], Sequence[str]], test: tuple[NDArray[np.uint64], Sequence[str]]
) -> list[str]:
    """Pairs of sample names whose pictures have nearly the same hash.

    training, test: (N,) hashes of ``difference_hash`` and their N sample names.
    """
    return [f"{training[1][i]} ~ {test[1][j]}" for i, j in _near(training[0], test[0])]


def difference_hash(image: NDArray[np.uint8]) -> np.uint64:
    """64 bits of a picture: is each cell of a 9 x 8 grid brighter than its neighbour to the left?

    image: (H, W, 3) uint8. Small changes of size, coding and brightness leave most bits as they are.
    """
    grey = image.mean(axis=2)
    rows, columns = (
        np.linspace(0, side, cells + 1).astype(int) for side, cells in zip(grey.shape, (8, 9), strict=True)
    )
    sums = np.add.reduceat(np.add.reduceat(grey, rows[:-1], axis=0), columns[:-1], axis=1)
    means = sums / (np.diff(rows)[:, None] * np.diff(columns))
    return np.uint64(np.packbits(means[:, 1:] > means[:, :-1]).view(np.uint64)[0])


def _across(ours: str, theirs: str, both: tuple[str, ...], count: int) -> Leak:
    if both:
        text = f"{ours} and {theirs} share people, and {len(both)} of {count} test subjects have the same name in both"
        return Leak("FM-47", False, ours, theirs, text, both)
    text = f"{ours} and {theirs} share people, but their subjects cannot be compared by name"
    return Leak("FM-48", False, ours, theirs, text)


def _chosen(store: Store, split: str) -> list[int]:
    indices = store.indices(split)
    return indices or store.indices()


def _hashes(store: Store, indices: Sequence[int]) -> tuple[NDArray[np.uint64], list[str]]:
    hashes = np.array([difference_hash(store.image(k)) for k in indices], np.uint64)
    return hashes, [store.ids[k] for k in indices]


def _near(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    for start in range(0, len(a), _BLOCK):
        differing = np.bitwise_count(a[start : start + _BLOCK, None] ^ b)
        for i, j in zip(*np.nonzero(differing <= NEAR), strict=True):
            yield start + int(i), int(j)
