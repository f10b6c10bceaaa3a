"""Triangles split where the pixels are finer than they are: no crack, no change of shape."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.scans.edges import edges_of
from fnbench.types import Scan


def subdivided(scan: Scan, split: NDArray[np.bool_]) -> Scan:
    """The same surface with some edges cut in the middle.

    split: (E,) bool for the edges of ``edges_of(scan.faces)``. A triangle with one, two or three such edges becomes
    two, three or four. Old vertices keep their indices, new ones follow; texture coordinates and colours are halfway.
    """
    edges, of_face = edges_of(scan.faces)
    middle = np.full(len(edges), -1)
    middle[split] = len(scan.vertices) + np.arange(int(split.sum()))
    halves = scan.vertices[edges[split]].mean(axis=1)
    faces, cut = _cut(scan.faces, middle[of_face])
    changed: dict[str, Any] = {"vertices": np.concatenate([scan.vertices, halves]), "faces": faces}
    if scan.colors is not None:
        mixed = scan.colors[edges[split]].astype(np.uint16).sum(axis=1) // 2
        changed["colors"] = np.concatenate([scan.colors, mixed.astype(np.uint8)])
    if scan.uv is not None and scan.uv_faces is not None:
        # Texture edges are cut where their triangle's edges are; along a seam each side has its own.
        uv_edges, uv_of_face = edges_of(scan.uv_faces)
        uv_split = np.zeros(len(uv_edges), np.bool_)
        uv_split[uv_of_face[cut]] = True
        place = np.full(len(uv_edges), -1)
        place[uv_split] = len(scan.uv) + np.arange(int(uv_split.sum()))
        changed["uv"] = np.concatenate([scan.uv, scan.uv[uv_edges[uv_split]].mean(axis=1)])
        changed["uv_faces"], _ = _cut(scan.uv_faces, np.where(cut, place[uv_of_face], -1))
    return replace(scan, labels=None, **changed)


def _cut(faces: NDArray[np.int32], middle: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Triangles cut at the middles of their edges.

    middle: (F, 3) index of the new vertex on the edge from each corner to the next, -1 where it stays whole.
    Returns the new (G, 3) faces, those that stay first, and (F, 3) which edges are cut.
    """
    cut = middle >= 0
    count = cut.sum(axis=1)
    # Turn each triangle so that its cut edges come first (one), or its whole edge comes last (two).
    first = np.where(count == 1, cut.argmax(axis=1), np.where(count == 2, (cut.argmin(axis=1) + 1) % 3, 0))
    order = (first[:, None] + np.arange(3)) % 3
    (a, b, c), (ab, bc, ca) = (np.take_along_axis(v, order, axis=1).T for v in (faces.astype(np.int64), middle))
    one, two, three = (count == k for k in (1, 2, 3))
    parts = [np.stack([a, b, c], -1)[count == 0]]
    parts += [np.stack(t, -1)[one] for t in ((a, ab, c), (ab, b, c))]
    parts += [np.stack(t, -1)[two] for t in ((ab, b, bc), (a, ab, bc), (a, bc, c))]
    parts += [np.stack(t, -1)[three] for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return np.concatenate(parts).astype(np.int32), cut
