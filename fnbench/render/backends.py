"""Renderers by name.

raster      the default: compiled, exact, no system library
numpy       the same algorithm without numba; chosen by itself where numba cannot be imported
embree      ray casting with Intel Embree in robust mode (extra ``embree``)
pyrender    OpenGL through EGL or OSMesa (extra ``opengl`` and Debian packages)
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Protocol

from fnbench.camera import Camera
from fnbench.compiled import AVAILABLE
from fnbench.errors import UnknownNameError
from fnbench.types import Scan, Visibility

NAMES = ("raster", "numpy", "embree", "pyrender")
"""What ``renderer`` knows; the last two need optional libraries."""


class Renderer(Protocol):
    """Anything that says which triangle each pixel centre sees; exact maps follow from that in ``shade``."""

    @property
    def name(self) -> str:
        """The name under which results mention it."""

    def visibility(self, scan: Scan, camera: Camera) -> Visibility:
        """Index of the visible triangle per pixel, -1 = nothing; back faces count like front faces."""


def renderer(name: str = "raster") -> Renderer:
    """A new renderer.

    An instance serves one thread of one process at a time. "raster" becomes "numpy" where numba cannot be imported: the
    result is the same.

    Raises UnknownNameError for a name that is not in ``NAMES`` and MissingDependencyError where the
    optional library or the OpenGL driver is not installed.
    """
    if name == "raster" and AVAILABLE:
        from fnbench.render.raster import Raster

        return Raster()
    if name in ("raster", "numpy"):
        from fnbench.render.raster_numpy import RasterNumpy

        return RasterNumpy()
    if name == "embree":
        from fnbench.render.embree import Embree

        return Embree()
    if name == "pyrender":
        from fnbench.render.opengl import Pyrender

        return Pyrender()
    close = get_close_matches(name, NAMES, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise UnknownNameError(f"Renderer {name!r} is not known.{hint} Known renderers: {', '.join(NAMES)}.")
