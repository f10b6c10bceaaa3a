"""One way to compile a loop: numba, without the interpreter lock, cached where that is possible.

Compilation takes one to two seconds per module and is done once per machine: numba keeps the result beside the
source, or in the user's cache folder (``NUMBA_CACHE_DIR`` moves it). Where neither can be written, loops are compiled
again in every process and work all the same. Where numba cannot be imported ``AVAILABLE`` is False, the
decorator returns the function as it is, and callers take their numpy path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

try:
    from numba import njit

    AVAILABLE = True
except ImportError:  # no wheel for this Python or this numpy
    AVAILABLE = False
"""True where numba is installed and fits this Python and numpy."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile a function on its first call; it then runs without the interpreter lock.

    Divisions by zero give infinities as in numpy. Products and sums are never fused or reordered, so
    that the numpy path of the same arithmetic gives the same bits.
    """
    if not AVAILABLE:
        return function
    try:
        return cast(_Function, njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # numba found no folder to cache in
        return cast(_Function, njit(nogil=True, error_model="numpy")(function))


def interpreted(function: _Function) -> _Function:
    """The function as written, which also takes arrays where the compiled one takes numbers."""
    return cast(_Function, getattr(function, "py_func", function))
