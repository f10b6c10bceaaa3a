"""How fast exact ground truth is written, beside the pipeline that anyone would put together first.

    python -m tests.benchmarks.bench_pipeline            all parts, a few minutes
    python -m tests.benchmarks.bench_pipeline maps       one part: maps, capture, workers, memory

The obvious pipeline: trimesh loads, pyrender draws the vertex normals as colours, h5py writes them as float32 with
gzip. Ours: the package's own reader, rasteriser, shading step and store. Both run interleaved in one process and
one thread; figures are medians of CPU time, which another program on the machine disturbs least; two
workers are measured by the clock. Errors are angles to the closed-form normals of a sphere.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from fnbench import octahedral
from fnbench.camera import Camera, look_at
from fnbench.heap import keep_freed_memory
from fnbench.metrics import angular_error
from fnbench.render.backends import Renderer, renderer
from fnbench.render.shade import SurfaceMaps, surface_maps
from fnbench.scans.normals import vertex_normals
from fnbench.scans.read import read_scan
from fnbench.store.codec import deflate
from fnbench.types import Scan
from tests.meshes import bumpy_head, sphere

SIZE, FOCAL, ROUNDS = 512, 860.0, 7
VIEWS = tuple((yaw, pitch) for yaw, pitch in ((0, 0), (-40, 0), (40, 0), (-20, 15), (20, -15)))


def camera(yaw: float, pitch: float) -> Camera:
    """A perspective camera that shows a head on a third of the picture."""
    K = np.array([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]])
    return Camera(K, look_at(np.zeros(3), 500.0, yaw=yaw, pitch=pitch), SIZE, SIZE)


def seconds(*functions: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """Median CPU time of each function, rounds interleaved, first round not counted."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds + 1):
        for function, found in zip(functions, times, strict=True):
            begun = time.process_time()
            function()
            found.append(time.process_time() - begun)
    return [statistics.median(found[1:]) for found in times]


# Ours


class OurFile:
    """Normals and masks as the store writes them."""

    def __init__(self, path: Path) -> None:
        self.file = h5py.File(path, "w")
        self.count = 0
        options = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        for name, dtype, shape in (("normals", "<u2", (2, SIZE, SIZE)), ("mask", "u1", (SIZE, SIZE))):
            self.file.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(1, *shape), **options)

    def append(self, maps: SurfaceMaps) -> None:
        planes = octahedral.encode(maps.normals, maps.mask)
        for name, values in (("normals", planes), ("mask", maps.mask.astype(np.uint8))):
            dataset = self.file[name]
            dataset.resize(self.count + 1, axis=0)
            dataset.id.write_direct_chunk((self.count, *(0,) * values.ndim), deflate(values))
        self.count += 1


def our_map(ours: Renderer, file: OurFile, scan: Scan, normals: np.ndarray, view: Camera) -> None:
    file.append(surface_maps(scan, normals, view, ours.visibility(scan, view)))


def our_capture(ours: Renderer, file: OurFile, path: Path) -> None:
    scan = read_scan(path)
    normals = vertex_normals(scan.vertices, scan.faces)
    for view in VIEWS:
        our_map(ours, file, scan, normals, camera(*view))


# Theirs


class Theirs:
    """Vertex normals drawn as colours by pyrender, written by h5py with gzip."""

    def __init__(self, path: Path) -> None:
        import types

        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
        os.environ["LP_NUM_THREADS"] = "1"
        stub = types.ModuleType("pyrender.viewer")
        stub.Viewer = type("Viewer", (), {})
        sys.modules["pyrender.viewer"] = stub
        import pyrender

        self.pyrender = pyrender
        self.renderer = pyrender.OffscreenRenderer(SIZE, SIZE)
        self.file = h5py.File(path, "w")
        self.file.create_dataset(
            "normals",
            (0, SIZE, SIZE, 3),
            "f4",
            maxshape=(None, SIZE, SIZE, 3),
            chunks=(1, SIZE, SIZE, 3),
            compression="gzip",
        )

    def scene(self, mesh: object, normals: np.ndarray) -> object:
        colours = np.concatenate([(normals + 1) / 2, np.ones((len(normals), 1))], axis=1)
        primitive = self.pyrender.Primitive(
            positions=np.asarray(mesh.vertices, np.float32),
            normals=np.asarray(normals, np.float32),
            color_0=colours.astype(np.float32),
            indices=np.asarray(mesh.faces, np.uint32),
            mode=4,
        )
        scene = self.pyrender.Scene(bg_color=[0, 0, 0, 0])
        scene.add(self.pyrender.Mesh([primitive]))
        return scene

    def normals(self, scene: object, view: Camera) -> np.ndarray:
        K = view.K
        node = scene.add(
            self.pyrender.IntrinsicsCamera(K[0, 0], K[1, 1], K[0, 2], K[1, 2], znear=1, zfar=5000),
            pose=np.linalg.inv(view.world_to_camera),
        )
        colour, _ = self.renderer.render(scene, flags=self.pyrender.RenderFlags.FLAT)
        scene.remove_node(node)
        normals = colour.astype(np.float32) / 255 * 2 - 1
        normals = normals @ view.rotation.T.astype(np.float32)
        return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)

    def write(self, normals: np.ndarray) -> None:
        dataset = self.file["normals"]
        dataset.resize(len(dataset) + 1, axis=0)
        dataset[-1] = normals

    def capture(self, path: Path) -> None:
        import trimesh

        mesh = trimesh.load(path, force="mesh")
        scene = self.scene(mesh, mesh.vertex_normals)
        for view in VIEWS:
            self.write(self.normals(scene, camera(*view)))


class Mesh:
    """What the obvious pipeline reads of a mesh."""

    def __init__(self, scan: Scan) -> None:
        self.vertices, self.faces = scan.vertices, scan.faces


# Parts


def maps(folder: Path) -> dict[str, float]:
    """Maps per second, and the error of both."""
    scan, view = bumpy_head(100_000), camera(20, 0)
    normals = vertex_normals(scan.vertices, scan.faces)
    ours, file, theirs = renderer(), OurFile(folder / "ours.h5"), Theirs(folder / "theirs.h5")
    scene = theirs.scene(Mesh(scan), normals)
    found = seconds(
        lambda: our_map(ours, file, scan, normals, view),
        lambda: theirs.write(theirs.normals(scene, view)),
        lambda: ours.visibility(scan, view),
        lambda: surface_maps(scan, normals, view, ours.visibility(scan, view)),
        rounds=3 * ROUNDS,
    )
    covered = ours.visibility(scan, view).mask.mean()
    print(f"\nmaps at {SIZE}x{SIZE}, {len(scan.faces)} triangles, {covered:.0%} of the picture covered; ms of one core")
    print(f"  visibility                                    {1e3 * found[2]:8.2f}")
    print(f"  visibility + exact normals, depth, mask       {1e3 * found[3]:8.2f}")
    print(f"  ... + encoding, deflate, HDF5                 {1e3 * found[0]:8.2f}   {1 / found[0]:6.1f} maps/s")
    print(f"  pyrender normal colours + h5py gzip           {1e3 * found[1]:8.2f}   {1 / found[1]:6.1f} maps/s")
    print(f"  ratio                                         {found[1] / found[0]:8.2f}")
    exact, coarse = _errors(ours, theirs)
    return {"maps/s": 1 / found[0], "per map": found[1] / found[0], "error": coarse / exact}


def _errors(ours: Renderer, theirs: Theirs) -> tuple[float, float]:
    ball, view = sphere(7), camera(0, 0)
    exact_vertices = ball.vertices / np.linalg.norm(ball.vertices, axis=1, keepdims=True)
    seen = ours.visibility(ball, view)
    found = surface_maps(ball, vertex_normals(ball.vertices, ball.faces), view, seen)
    exact = _sphere_normals(view, 100.0)
    mask = seen.mask & np.isfinite(exact[..., 0])
    stored = octahedral.decode(octahedral.encode(found.normals, found.mask)).astype(np.float64)
    drawn = theirs.normals(theirs.scene(Mesh(ball), exact_vertices), view).astype(np.float64)
    a, b = angular_error(stored, exact)[mask], angular_error(drawn, exact)[mask]
    print(
        f"\nangle to the closed-form normals of a sphere of {len(ball.faces)} triangles, degrees: mean, 99 %, largest"
    )
    print(f"  ours, as stored                               {a.mean():8.4f} {np.quantile(a, 0.99):8.4f} {a.max():8.3f}")
    print(f"  pyrender normal colours                       {b.mean():8.4f} {np.quantile(b, 0.99):8.4f} {b.max():8.3f}")
    print(f"  ratio of the means                            {b.mean() / a.mean():8.1f}")
    return float(a.mean()), float(b.mean())


def _sphere_normals(view: Camera, radius: float) -> np.ndarray:
    """Where the rays of the pixels meet the sphere, as unit vectors; NaN beside it."""
    towards = view.view_directions()
    eye = -view.to_camera(np.zeros((1, 3)))[0]
    along = np.einsum("hwc,c->hw", towards, eye)
    root = along**2 - eye @ eye + radius**2
    with np.errstate(invalid="ignore"):
        distance = along - np.sqrt(root)
    points = eye - towards * distance[..., None]
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def capture(folder: Path) -> dict[str, float]:
    """One capture: a textured OBJ of 500,000 faces, five views, loading included."""
    path = folder / "head.obj"
    write_obj(bumpy_head(500_000), path)
    ours, file, theirs = renderer(), OurFile(folder / "ours.h5"), Theirs(folder / "theirs.h5")
    found = seconds(
        lambda: our_capture(ours, file, path),
        lambda: theirs.capture(path),
        lambda: read_scan(path),
        lambda: _trimesh(path),
        rounds=3,
    )
    print(
        f"\na capture: OBJ of 500k faces ({path.stat().st_size / 1e6:.0f} MB) with texture, {len(VIEWS)} views; "
        "s of one core"
    )
    print(f"  ours                                          {found[0]:8.2f}   (reading {found[2]:.2f})")
    print(f"  trimesh, pyrender normal colours, h5py gzip   {found[1]:8.2f}   (reading {found[3]:.2f})")
    ratios = found[1] / found[0], found[3] / found[2]
    print(f"  ratio                                         {ratios[0]:8.2f}   (reading {ratios[1]:.2f})")
    return {"per capture": ratios[0], "reading": ratios[1]}


def _trimesh(path: Path) -> None:
    import trimesh

    trimesh.load(path, force="mesh")


def write_obj(scan: Scan, path: Path) -> None:
    """A textured OBJ as scanners write it: texture coordinates (on a cylinder) and a JPEG of 2048 x 2048."""
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).resize((2048, 2048)).save(path.with_suffix(".jpg"), quality=90)
    path.with_suffix(".mtl").write_text(f"newmtl skin\nmap_Kd {path.stem}.jpg\n")
    x, y, z = scan.vertices.T
    uv = np.stack([np.arctan2(x, z) / (2 * np.pi) + 0.5, (y - y.min()) / np.ptp(y)], axis=-1)
    faces = np.repeat(scan.faces + 1, 2, axis=1)
    with path.open("w") as file:
        file.write(f"mtllib {path.stem}.mtl\nusemtl skin\n")
        np.savetxt(file, scan.vertices, "v %.5f %.5f %.5f")
        np.savetxt(file, uv, "vt %.6f %.6f")
        np.savetxt(file, faces, "f %d/%d %d/%d %d/%d")


_RUN = """
import sys, time
from pathlib import Path
from fnbench.render.groundtruth import render_dataset
from fnbench.render.plan import Plan
from tests.benchmarks.heads import Heads

def main():
    # the clock runs from the first finished capture on: starting Python and compiling are not what is compared
    times = []
    plan = Plan(size=512, images="photo")
    captures, triangles, workers = map(int, sys.argv[2:])
    report = render_dataset(
        Heads(captures, triangles), Path(sys.argv[1]), plan, workers=workers,
        progress=lambda p: times.append((time.perf_counter(), p.written)),
    )
    assert report.ok, report.failed
    warm = next(k for k, (_, written) in enumerate(times) if written >= 4)
    print((times[-1][1] - times[warm][1]) / (times[-1][0] - times[warm][0]))

if __name__ == "__main__":
    main()
"""


def _run(folder: Path, captures: int, triangles: int, workers: int) -> float:
    return _ended(_started(folder, "run", captures, triangles, workers))


def _started(folder: Path, name: str, captures: int, triangles: int, workers: int) -> subprocess.Popen[str]:
    out = folder / f"{name}-{captures}-{workers}.h5"
    out.unlink(missing_ok=True)
    script = folder / "run.py"
    if not script.exists():
        script.write_text(_RUN)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    arguments = [sys.executable, str(script), str(out), str(captures), str(triangles), str(workers)]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True)


def _ended(process: subprocess.Popen[str]) -> float:
    return float(process.communicate()[0])


def workers(folder: Path) -> dict[str, float]:
    """Captures per second with one and two workers, by the clock; and of two runs side by side."""
    one, two, apart = [], [], []
    for _ in range(3):
        one.append(_run(folder, 60, 100_000, 1))
        two.append(_run(folder, 60, 100_000, 2))
        apart.append(sum(map(_ended, [_started(folder, name, 60, 100_000, 1) for name in "ab"])))
    a, b, c = statistics.median(one), statistics.median(two), statistics.median(apart)
    print("\nwhole pipeline, heads of 100k triangles with photograph and depth at 512x512; captures/s by the clock")
    print(f"  one worker                                    {a:8.2f}")
    print(f"  two workers                                   {b:8.2f}")
    print(f"  ratio                                         {b / a:8.2f}")
    print(f"  two runs side by side that share nothing      {c / a:8.2f}   what this machine allows")
    return {"two workers": b / a, "two runs": c / a}


def memory(folder: Path) -> None:
    """Peak memory of a run against its number of captures."""
    print("\npeak memory of a run, MB")
    for captures in (10, 40, 160):
        _run(folder, captures, 100_000, 1)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # the largest so far: it must not rise
        print(f"  up to {captures:4d} captures of 100k triangles           {peak / 1024:8.0f}")


def main() -> None:
    keep_freed_memory()  # as every worker does
    parts = {"maps": maps, "capture": capture, "workers": workers, "memory": memory}
    for name in sys.argv[1:] or parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](Path(folder))


if __name__ == "__main__":
    main()
