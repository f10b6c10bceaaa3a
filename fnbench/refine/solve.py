"""Vertices moved along their normals until the faces have the normals they should.

Each face f gets a target normal t_f. With the displacement d_i of vertex i along its unit direction s_i, the surface
has these normals when the scalar field t_f . (x_i + d_i s_i) is constant over each face: its gradient there, a
dimensionless slope, vanishes. Minimised is

    sum over faces   w_f A_f |gradient of t_f . (x + d s)|^2   +   sum over vertices   (A_i / l^2) (d_i - e_i)^2

with areas A_f of faces and A_i around vertices, trust w_f in [0, 1], and e_i the displacement that leads back to the
coarse shape. Waves of length 2 pi l are taken half from the normals and half from the coarse shape, shorter ones from
the normals, longer ones from the shape: a screened Poisson equation on the mesh. It is the linear form of Nehab et
al. 2005 ("Efficiently combining positions and normals for precise 3D geometry") along one direction per vertex, so
that nothing slides along the surface. A mesh whose faces have their target normals already stays as it is, exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

Array = NDArray[np.float64]


def displaced(
    vertices: Array,
    faces: NDArray[np.int32],
    directions: Array,
    targets: Array,
    trust: Array,
    free: NDArray[np.bool_],
    coarse: Array,
    length: float,
) -> Array:
    """(V, 3) vertices moved along ``directions``.

    directions: (V, 3) unit.  targets: (F, 3) unit normals of the faces.  trust: (F,) weights of the faces.
    free: (V,) bool, which vertices may move.  coarse: (V, 3) where they are pulled to, in their direction.
    length: l above, in the units of the vertices.
    """
    own = np.flatnonzero(free)
    if not len(own):
        return vertices
    column = np.full(len(vertices), -1)
    column[own] = np.arange(len(own))
    active = free[faces].any(axis=1) & (trust > 0)
    chosen, facing = faces[active], targets[active]
    slopes, areas = _gradients(vertices, chosen)
    root = np.sqrt(trust[active] * areas)[:, None, None]
    gradient = slopes * root  # (F, 3 corners, 2 coordinates in the face)
    heights = np.einsum("fcx,fx->fc", vertices[chosen], facing)
    missing = -np.einsum("fck,fc->fk", gradient, heights - heights.mean(axis=1, keepdims=True)).ravel()
    rise = np.einsum("fcx,fx->fc", directions[chosen], facing)
    values = gradient * rise[..., None]
    rows = np.broadcast_to(2 * np.arange(len(chosen))[:, None, None] + np.arange(2), values.shape)
    columns = np.broadcast_to(column[chosen][..., None], values.shape)
    moving = columns >= 0
    system = sparse.csr_matrix((values[moving], (rows[moving], columns[moving])), shape=(2 * len(chosen), len(own)))
    around = _vertex_areas(vertices, faces)[own] / length**2
    back = np.einsum("vx,vx->v", coarse[own] - vertices[own], directions[own])
    normal = (system.T @ system + sparse.diags(around)).tocsc()
    solved = splu(normal, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve(
        system.T @ missing + around * back
    )
    moved = vertices.copy()
    moved[own] += solved[:, None] * directions[own]
    return moved


def _gradients(vertices: Array, faces: NDArray[np.int32]) -> tuple[Array, Array]:
    """Gradients of the three corner functions of each face, in an orthonormal frame of its plane, and the areas.

    Returns (F, 3, 2) per unit of length, and (F,).
    """
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    u, v = b - a, c - a
    base = np.linalg.norm(u, axis=1)
    along = np.einsum("fx,fx->f", u, v) / base
    height = np.sqrt(np.maximum(np.einsum("fx,fx->f", v, v) - along**2, 1e-30))
    # Corners at (0, 0), (base, 0), (along, height).
    zero = np.zeros_like(base)
    of_b = np.stack([1 / base, -along / (base * height)], axis=-1)
    of_c = np.stack([zero, 1 / height], axis=-1)
    return np.stack([-of_b - of_c, of_b, of_c], axis=1), 0.5 * base * height


def _vertex_areas(vertices: Array, faces: NDArray[np.int32]) -> Array:
    """(V,) a third of the area of the faces around each vertex."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    third = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.asarray(np.bincount(faces.ravel(), np.repeat(third, 3), minlength=len(vertices)), np.float64)
