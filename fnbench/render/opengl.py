"""Triangle indices from OpenGL through pyrender, offscreen (extra ``opengl``): an independent check of the rasteriser.

OpenGL snaps vertices to 1/256 pixel, so at an edge the index may be that of the neighbour; the normal interpolated from
it in ``shade`` hardly moves, except at silhouettes. To snap finer, the image is drawn with three times three pixels for
each, of which the middle one counts: at 100,000 triangles some 0.05 % of the indices differ. The colour buffer carries
nothing but ``gl_PrimitiveID``, with multisampling off, and pyrender's depth is not used: for orthographic cameras it is
wrong, and it is not taken at the pixel centre.

Platform: EGL where libEGL and libGL are installed, else OSMesa; PYOPENGL_PLATFORM decides when set. OSMesa needs
PyOpenGL 3.1.5 or newer, which pyrender's own pin excludes (install it with --no-deps).
"""

from __future__ import annotations

import ctypes
import os
import sys
import types
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnbench.camera import Camera
from fnbench.errors import InvalidDataError, MissingDependencyError
from fnbench.render.raster import NEAR
from fnbench.types import Scan, Visibility

PACKAGES = "apt-get install --no-install-recommends libegl1 libgl1   (or: libosmesa6)"
"""What Debian 12 needs for offscreen OpenGL without a display."""

_LIBRARIES = {"egl": ("libEGL.so.1", "libGL.so.1"), "osmesa": ("libOSMesa.so.8",)}
_LARGEST = 2**24 - 1
"""Triangles that the three bytes of a colour tell apart."""
_LONGEST = 8192
"""Longest side in pixels that is drawn finer; OpenGL drivers promise no more than this or twice this."""


class Pyrender:
    """OpenGL renderer; keeps the scan it saw last on the OpenGL side.

    All instances share one context, because closing a context in pyrender closes the display for all; use it from one
    thread, and make it in the process that renders: a context does not survive a fork.

    back_faces: draw them too, as every renderer here does.
    fine: draw three pixels for each in both directions, where OpenGL allows so large an image.
    Without either OpenGL is faster.
    """

    name = "pyrender"

    def __init__(self, *, back_faces: bool = True, fine: bool = True) -> None:
        self._pyrender = _pyrender()
        self._process = os.getpid()
        self._sides = 2 if back_faces else 1
        self._per_pixel = 3 if fine else 1
        self._scan: Scan | None = None
        self._centre = np.zeros(3)
        self._scene: Any = None
        self._colours: dict[Any, list[int]] = {}
        self._context()

    def visibility(self, scan: Scan, camera: Camera) -> Visibility:
        """Index of the triangle that each pixel centre sees: (camera.height, camera.width), -1 = nothing."""
        if os.getpid() != self._process:
            raise RuntimeError("an OpenGL context does not survive a fork; make the renderer in the worker process")
        if scan is not self._scan:
            self._load(scan)
        depth = -camera.to_camera(scan.vertices)[:, 2]
        if depth.max() <= NEAR:
            return Visibility(np.full((camera.height, camera.width), -1, np.int32))
        move = np.eye(4)
        move[:3, 3] = self._centre
        matrix = _projection(camera, *_depth_range(depth)) @ camera.world_to_camera @ move
        self._scene.main_camera_node.camera.matrix = matrix
        n = self._per_pixel if self._per_pixel * max(camera.width, camera.height) <= _LONGEST else 1
        colour = self._render(n * camera.width, n * camera.height)[n // 2 :: n, n // 2 :: n].astype(np.int32)
        primitive = colour[..., 0] + (colour[..., 1] << 8) + (colour[..., 2] << 16) - 1
        return Visibility(np.ascontiguousarray(primitive // self._sides, np.int32))

    def _render(self, width: int, height: int) -> NDArray[np.uint8]:
        context = self._context()
        if (context.viewport_width, context.viewport_height) != (width, height):
            _resize(context, width, height)
        colour, _ = context.render(self._scene, self._pyrender.RenderFlags.SEG, self._colours)
        return np.asarray(colour, np.uint8)

    def _context(self) -> Any:
        return _context(os.environ["PYOPENGL_PLATFORM"])

    def _load(self, scan: Scan) -> None:
        if len(scan.faces) * self._sides > _LARGEST:
            raise InvalidDataError(
                f"{scan.name}: {len(scan.faces)} faces; the pyrender renderer tells at most {_LARGEST // self._sides} "
                "apart. Use the raster renderer, which has no limit."
            )
        self._centre = (scan.vertices.min(0) + scan.vertices.max(0)) / 2
        # pyrender always culls back faces here; the mirrored copy beside each face makes front faces of them.
        faces = scan.faces if self._sides == 1 else np.stack([scan.faces, scan.faces[:, ::-1]], axis=1).reshape(-1, 3)
        primitive = self._pyrender.Primitive(
            positions=np.asarray(scan.vertices - self._centre, np.float32),
            indices=np.ascontiguousarray(faces, np.uint32),
            mode=4,
        )
        self._scene = self._pyrender.Scene(bg_color=[0, 0, 0, 0])
        self._colours = {self._scene.add(self._pyrender.Mesh([primitive])): [255, 255, 255]}
        self._scene.add(_matrix_camera(self._pyrender), pose=np.eye(4))
        self._scan = scan


def _depth_range(depth: NDArray[np.float64]) -> tuple[float, float]:
    """Clipping planes around the scan; the near one no closer than the depth buffer's 24 bits can serve."""
    margin = 1e-3 * float(np.ptp(depth)) + 1e-6
    far = float(depth.max()) + margin
    return max(NEAR, 1e-4 * far, float(depth.min()) - margin), far


def _projection(camera: Camera, near: float, far: float) -> NDArray[np.float64]:
    """(4, 4) canonical camera frame to OpenGL clip space, with skew and any principal point."""
    K, width, height = camera.K, camera.width, camera.height
    # Rows give pixel x, pixel y, depth key and divisor, all times the divisor; pixel rows run down, OpenGL's run up.
    w = np.array([0, 0, 0, 1.0]) if camera.orthographic else np.array([0, 0, -1.0, 0])
    x = np.array([K[0, 0], -K[0, 1], 0, 0]) + K[0, 2] * w
    y = np.array([0, -K[1, 1], 0, 0]) + K[1, 2] * w
    if camera.orthographic:
        z = np.array([0, 0, -2.0, -(far + near)]) / (far - near)
    else:
        z = np.array([0, 0, -(far + near), -2 * far * near]) / (far - near)
    return np.stack([2 * x / width - w, w - 2 * y / height, z, w])


@cache
def _matrix_camera_class(base: type) -> type:
    class MatrixCamera(base):  # type: ignore[misc]  # pyrender ships no types
        """A pyrender camera whose projection is any matrix, world to clip space."""

        matrix: NDArray[np.float64]

        def get_projection_matrix(self, width: int | None = None, height: int | None = None) -> NDArray[np.float64]:
            return self.matrix

    return MatrixCamera


def _matrix_camera(pyrender: types.ModuleType) -> Any:
    return _matrix_camera_class(pyrender.Camera)(znear=1.0, zfar=2.0)  # only pyrender's depth, unused, reads these


@cache
def _pyrender() -> types.ModuleType:
    """pyrender, imported once without its window, which wants X11 and pyglet."""
    _choose_platform()
    os.environ.setdefault("LP_NUM_THREADS", "1")  # Mesa's threads; parallelism is one process per core
    stub = types.ModuleType("pyrender.viewer")
    stub.Viewer = type("Viewer", (), {})  # type: ignore[attr-defined]  # the one name that pyrender takes from it
    alone = "pyrender" not in sys.modules
    if alone:
        sys.modules["pyrender.viewer"] = stub
    try:
        import pyrender
        import pyrender.shader_program
    except ImportError as error:
        raise MissingDependencyError(
            f"The pyrender renderer needs pyrender and OpenGL ({error}). "
            f"Install both: pip install 'fnbench[opengl]' and {PACKAGES}"
        ) from error
    finally:
        if alone:
            del sys.modules["pyrender.viewer"]
    if pyrender.__version__ != "0.1.45":
        raise MissingDependencyError(
            f"The pyrender renderer needs pyrender 0.1.45, found {pyrender.__version__}: the program that writes "
            "triangle indices uses its internals. Install it with: pip install 'fnbench[opengl]'"
        )
    module: types.ModuleType = pyrender
    return module


def _choose_platform() -> None:
    if "PYOPENGL_PLATFORM" in os.environ:
        return
    for platform, libraries in _LIBRARIES.items():
        if all(_loads(library) for library in libraries):
            os.environ["PYOPENGL_PLATFORM"] = platform
            return
    raise MissingDependencyError(
        f"The pyrender renderer found no OpenGL without a display (no libEGL with libGL, no libOSMesa). "
        f"Install on Debian or Ubuntu: {PACKAGES}"
    )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


@cache
def _context(platform: str) -> Any:
    """The process's offscreen context with our program in place of pyrender's segmentation."""
    pyrender = _pyrender()
    try:
        context = pyrender.OffscreenRenderer(64, 64)
    except Exception as error:  # pyrender and PyOpenGL raise AssertionError, ImportError, GLError, ValueError, ...
        newer = " and: pip install --no-deps PyOpenGL==3.1.10" if platform == "osmesa" else ""
        raise MissingDependencyError(
            f"The pyrender renderer could not open an OpenGL context on {platform} ({type(error).__name__}: {error}). "
            f"Install on Debian or Ubuntu: {PACKAGES}{newer}"
        ) from error
    _install_program(context)
    return context


def _install_program(context: Any) -> None:
    cache_class = _pyrender().shader_program.ShaderProgramCache
    context._renderer._program_cache = cache_class(shader_dir=str(Path(__file__).parent / "shaders"))


def _resize(context: Any, width: int, height: int) -> None:
    context.viewport_width, context.viewport_height = width, height
    if not context._platform.supports_framebuffers():
        # OSMesa draws into a buffer of fixed size; pyrender would make a new context with its own program.
        context.delete()
        context._create()
        _install_program(context)
