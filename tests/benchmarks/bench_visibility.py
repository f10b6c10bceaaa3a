"""How fast each backend finds the visible triangles, beside the others in the same run.

    LP_NUM_THREADS=1 taskset -c 0 python -m tests.benchmarks.bench_visibility [TRIANGLES ...]     20k to 1M by default

A bumpy head at 512 x 512, perspective, on a third of the picture. All backends on one core (the call above pins
them); rounds are interleaved and figures are medians of CPU time, so that another program on the machine disturbs the
ratios little. Every backend goes from a camera to indices, rays included; pyrender draws its fastest way, one sample
per pixel and no back faces, which ``renderer("pyrender")`` does not. Preparing a mesh (tree, upload) is shown apart:
it is paid once per mesh. Backends that are not installed are left out and named. Ids are compared with the default
backend's.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from fnbench.camera import Camera, look_at
from fnbench.errors import FnbenchError
from fnbench.render.backends import renderer
from fnbench.render.opengl import Pyrender
from fnbench.types import Scan, Visibility
from tests.meshes import bumpy_head

SIZE, FOCAL, ROUNDS = 512, 860.0, 9
NAMES = ("raster", "embree", "pyrender", "numpy")
TRIANGLES = (20_000, 100_000, 500_000, 1_000_000)


def view(yaw: float) -> Camera:
    """A perspective camera that shows a head on about a third of the picture."""
    K = np.array([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]])
    return Camera(K, look_at(np.zeros(3), 500.0, yaw=yaw), SIZE, SIZE)


def cpu(function: Callable[[], Visibility]) -> tuple[float, Visibility]:
    begun = time.process_time()
    found = function()
    return time.process_time() - begun, found


def open3d_backend() -> Callable[[Scan, Camera], Visibility] | None:
    """Open3D's ray casting scene when that library is installed; no backend of ours, but given our rays."""
    try:
        import open3d  # type: ignore[import-not-found]

        from fnbench.render.embree import _rays
    except ImportError:
        return None
    scenes: dict[int, object] = {}

    def visibility(scan: Scan, camera: Camera) -> Visibility:
        scene = scenes.get(id(scan))
        if scene is None:
            scene = open3d.t.geometry.RaycastingScene(nthreads=1)
            scene.add_triangles(scan.vertices.astype(np.float32), scan.faces.astype(np.uint32))
            scenes.clear()
            scenes[id(scan)] = scene
        rays = np.hstack(_rays(camera, 100.0, np.zeros(3)))
        hit = scene.cast_rays(open3d.core.Tensor(rays))["primitive_ids"].numpy()  # type: ignore[attr-defined]
        faces = np.where(hit == scene.INVALID_ID, -1, hit.astype(np.int64)).astype(np.int32)  # type: ignore[attr-defined]
        return Visibility(faces.reshape(camera.height, camera.width))

    return visibility


def fastest(name: str) -> Callable[[Scan, Camera], Visibility]:
    """A backend of ours, as fast as the library behind it can be."""
    if name == "pyrender":
        return Pyrender(back_faces=False, fine=False).visibility
    return renderer(name).visibility


def compare(triangles: int) -> dict[str, float]:
    """Milliseconds of each backend, printed and returned."""
    scan = bumpy_head(triangles)
    backends: dict[str, Callable[[Scan, Camera], Visibility]] = {}
    for name in NAMES if triangles <= 100_000 else NAMES[:-1]:
        try:
            backends[name] = fastest(name)
        except FnbenchError as error:
            print(f"  {name}: left out ({error})")
    peer = open3d_backend()
    if peer is None:
        print("  open3d: left out (not installed)")
    else:
        backends["open3d"] = peer
    first = {name: cpu(lambda show=show: show(scan, view(0)))[0] for name, show in backends.items()}
    times: dict[str, list[float]] = {name: [] for name in backends}
    mismatch: dict[str, float] = {}
    for number in range(ROUNDS):
        cameras = [view(-40 + 10 * number + turn) for turn in (0, 3, 6)]  # a mesh has several views
        reference: list[Visibility] = []
        for name, show in backends.items():
            shown = [cpu(lambda show=show, camera=camera: show(scan, camera)) for camera in cameras]
            times[name] += [seconds for seconds, _ in shown]
            reference = reference or [found for _, found in shown]
            for (_, found), wanted in zip(shown, reference, strict=True):
                covered = wanted.mask | found.mask
                mismatch[name] = max(mismatch.get(name, 0.0), (found.faces != wanted.faces)[covered].mean())
    ours = statistics.median(times["raster"])
    for name, found in times.items():
        one = statistics.median(found)
        ratio = "" if name == "raster" else f"{one / ours:6.1f}x ours, ids differ in {mismatch[name]:.1e}"
        print(f"  {name:9}{1000 * one:8.2f} ms   first {1000 * first[name]:8.1f} ms   {ratio}", flush=True)
    return {name: 1000 * statistics.median(found) for name, found in times.items()}


def main() -> None:
    renderer("raster").visibility(bumpy_head(2_000), view(0))  # compile before the clock starts
    for triangles in [int(word) for word in sys.argv[1:]] or TRIANGLES:
        print(f"{triangles} triangles, {SIZE} x {SIZE}, perspective, one core")
        compare(triangles)


if __name__ == "__main__":
    main()
