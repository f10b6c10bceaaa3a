"""A scan in a coherent order is the same scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fnbench.render.groundtruth import render_dataset
from fnbench.render.plan import Plan
from fnbench.render.raster import Raster
from fnbench.render.shade import surface_maps
from fnbench.scans.normals import vertex_normals
from fnbench.scans.order import coherent
from fnbench.store import Store
from tests.benchmarks.bench_visibility import view
from tests.benchmarks.heads import Heads
from tests.meshes import bumpy_head, degrees_between, shuffled


def test_the_same_surface_with_all_that_belongs_to_it() -> None:
    scan = shuffled(bumpy_head(3000))
    rng = np.random.default_rng(0)
    labels, colors = rng.integers(0, 7, len(scan.vertices)).astype(np.uint8), rng.integers(0, 255, scan.vertices.shape)
    uv_faces = rng.permutation(3 * len(scan.faces)).reshape(-1, 3).astype(np.int32)
    uv = rng.random((3 * len(scan.faces), 2))
    scan = replace(scan, labels=labels, colors=colors.astype(np.uint8), uv=uv, uv_faces=uv_faces)

    found = coherent(scan)

    def triangles(of):  # everything a face says, whatever its place
        per_corner = [of.vertices[of.faces], of.colors[of.faces], of.labels[of.faces][..., None], of.uv[of.uv_faces]]
        rows = np.concatenate(per_corner, axis=-1).reshape(len(of.faces), -1)
        return rows[np.lexsort(rows.T)]

    np.testing.assert_array_equal(triangles(found), triangles(scan))
    jumps, before = (np.abs(np.diff(s.faces[:, 0])).mean() for s in (found, scan))
    assert jumps < 0.1 * before


def test_every_pixel_shows_the_same() -> None:
    scan = shuffled(bumpy_head(20_000))
    maps = []
    for one in (scan, coherent(scan)):
        normals = vertex_normals(one.vertices, one.faces)
        maps.append(surface_maps(one, normals, view(20), Raster().visibility(one, view(20))))
    np.testing.assert_array_equal(maps[0].mask, maps[1].mask)
    assert degrees_between(maps[0].normals, maps[1].normals)[maps[0].mask].max() < 1e-4


def test_of_coinciding_faces_the_first_stays_the_first() -> None:
    scan = bumpy_head(2000)
    doubled = replace(scan, faces=np.concatenate([scan.faces, np.roll(scan.faces, 1, axis=1)]))
    found = coherent(doubled)
    seen = Raster().visibility(found, view(0)).faces
    first = {}
    for index, face in enumerate(np.sort(found.faces, axis=1).tolist()):
        first.setdefault(tuple(face), index)
    assert all(first[tuple(sorted(found.faces[index].tolist()))] == index for index in np.unique(seen[seen >= 0]))


def test_a_run_with_reordered_faces_gives_the_same_samples(tmp_path) -> None:
    plan = Plan(size=64, images="photo")
    stores = []
    for reorder in (False, True):
        out = tmp_path / f"{reorder}.h5"
        assert render_dataset(Heads(1, 3000), out, plan, reorder=reorder).ok
        stores.append(Store(out))
    plain, sorted_ = (store[0] for store in stores)
    assert stores[0].attributes["settings"] == stores[1].attributes["settings"]
    np.testing.assert_array_equal(plain.target.mask, sorted_.target.mask)
    assert degrees_between(plain.target.normals, sorted_.target.normals)[plain.target.mask].max() < 0.01
