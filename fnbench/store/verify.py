"""Proof that a store is whole: every finding, not the first."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fnbench.errors import InvalidStoreError
from fnbench.octahedral import EMPTY
from fnbench.store.read import Store
from fnbench.store.schema import content_hash
from fnbench.types import Sample

_SHOWN = 10
_BACK_FACING = 1e-3
"""Share of valid pixels above which back-facing normals are an error."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: its code, whether it only warns, what was found, and where."""

    code: str
    message: str
    samples: tuple[str, ...] = ()
    warning: bool = False

    def line(self) -> str:
        """The finding on one line, ten samples at most."""
        shown = ", ".join(self.samples[:_SHOWN]) + (", ..." if len(self.samples) > _SHOWN else "")
        return f"{self.code} {'warning' if self.warning else 'error'}: {self.message}" + (f": {shown}" if shown else "")


@dataclass(frozen=True, slots=True)
class Verification:
    """What ``verify_store`` found."""

    path: Path
    samples: int
    content_hash: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True when nothing but warnings was found."""
        return all(finding.warning for finding in self.findings)

    def lines(self) -> list[str]:
        """The report for a terminal: findings, then one line that sums up."""
        verdict = "whole" if self.ok else "DAMAGED"
        count = len(self.findings)
        end = f"{self.path}: {verdict}, {self.samples} samples, {count} findings, content {self.content_hash[:16]}"
        return [*(finding.line() for finding in self.findings), end]


def verify_store(path: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None) -> Verification:
    """Check schema, counts, the hash of every sample, unit normals, masks, regions and splits.

    An empty mask is accepted where the file lists it (attribute ``empty_masks`` of its settings).
    Raises InvalidStoreError when the file cannot be opened at all.
    """
    with Store(path) as store:
        by_problem: dict[tuple[str, str, bool], list[str]] = defaultdict(list)
        for index, name in enumerate(store.ids):
            for problem in _sample_problems(store, index):
                by_problem[problem].append(name)
            if progress is not None:
                progress(index + 1, len(store))
        findings = [Finding(code, text, tuple(ids), warning) for (code, text, warning), ids in by_problem.items()]
        findings += _file_findings(store)
        return Verification(store.path, len(store), str(store.attributes["content_hash"]), tuple(findings))


def _sample_problems(store: Store, index: int) -> list[tuple[str, str, bool]]:
    try:
        if store.recomputed_hash(index) != store.sample_hash(index):
            return [("FM-41", "content differs from its stored hash; copy or render the file again", False)]
        sample = store[index]
        planes = store.planes(index)
    except InvalidStoreError:
        return [("FM-33", "cannot be read; copy or render the file again", False)]
    except ValueError as error:
        return [("FM-34", f"is not a valid sample ({str(error).replace(sample_name(store, index), 'sample')})", False)]
    return [*_mask_problems(sample, planes, store), *_content_problems(sample, store)]


def sample_name(store: Store, index: int) -> str:
    """How messages name this sample."""
    return f"sample {store.ids[index]}"


def _mask_problems(sample: Sample, planes: np.ndarray, store: Store) -> list[tuple[str, str, bool]]:
    mask = sample.target.mask
    listed = store.attributes["settings"].get("empty_masks", ())
    problems = []
    if not mask.any() and sample.id not in listed:
        problems.append(("FM-24", "empty mask, and not listed as such; no pixel would be scored", False))
    if (planes[:, mask] == EMPTY).any():
        problems.append(("FM-26", "pixels inside the mask hold the code for 'no normal'", False))
    if (planes[:, ~mask] != EMPTY).any():
        problems.append(("FM-26", "pixels outside the mask hold normals; expected the code 65535", False))
    return problems


def _content_problems(sample: Sample, store: Store) -> list[tuple[str, str, bool]]:
    problems = []
    mask = sample.target.mask
    if sample.region.max(initial=0) >= len(store.regions):
        problems.append(("FM-34", f"region labels above {len(store.regions) - 1}, the last one named", False))
    if mask.any():
        facing = np.einsum("nc,nc->n", sample.target.normals[mask], sample.camera.view_directions()[mask])
        share = float(np.mean(facing < -1e-3))
        if share > 0:
            problems.append(("FM-27", "normals that face away from the camera", share <= _BACK_FACING))
    if sample.depth is not None and not np.isfinite(sample.depth[mask]).all():
        problems.append(("FM-34", "depth is NaN inside the mask", False))
    return problems


def _file_findings(store: Store) -> list[Finding]:
    findings = []
    repeated = tuple(name for name, count in Counter(store.ids).items() if count > 1)
    if repeated:
        findings.append(Finding("FM-03", "sample ids occur more than once", repeated))
    if len(store) == 0:
        findings.append(Finding("FM-50", "the file holds no samples"))
    findings += _split_findings(store.subjects, store.splits)
    hashes = [store.sample_hash(index) for index in range(len(store))]
    if not repeated and content_hash(store.ids, hashes) != store.attributes["content_hash"]:
        findings.append(Finding("FM-32", "the content hash of the file does not follow from its samples"))
    return findings


def _split_findings(subjects: Sequence[str], splits: Sequence[str]) -> list[Finding]:
    by_subject: dict[str, set[str]] = defaultdict(set)
    for subject, split in zip(subjects, splits, strict=True):
        by_subject[subject].add(split)
    torn = tuple(f"{subject} ({', '.join(sorted(names))})" for subject, names in by_subject.items() if len(names) > 1)
    return [Finding("FM-47", "subjects in more than one split", torn)] if torn else []
