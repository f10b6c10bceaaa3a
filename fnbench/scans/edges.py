"""Edges of polygon meshes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def edges_of(faces: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The edges of (F, K) triangles, quads or larger polygons.

    Returns (E, 2) vertex indices, the smaller first, and (F, K) the edge from each corner to the next.
    """
    corners = np.asarray(faces, np.int64)
    pairs = np.sort(np.stack([corners, np.roll(corners, -1, axis=1)], axis=-1), axis=-1).reshape(-1, 2)
    count = int(corners.max()) + 1 if len(corners) else 1
    keys, of_face = np.unique(pairs[:, 0] * count + pairs[:, 1], return_inverse=True)
    return np.stack([keys // count, keys % count], axis=-1), of_face.reshape(corners.shape)
