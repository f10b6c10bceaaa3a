"""Freed memory stays with the process, within limits.

glibc returns large blocks to the operating system as soon as they are freed, which then clears every page again for
the next array of the same size: of the time for the maps of one view that is half.
"""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
KEPT = 256 << 20
"""Bytes of freed memory that a process may keep."""
LARGE = 64 << 20
"""Blocks from this size on are still returned at once."""


@cache
def keep_freed_memory() -> None:
    """Ask the allocator of this process to keep up to ``KEPT`` bytes; where it is another than glibc's, do nothing."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_TRIM_THRESHOLD, KEPT)
    mallopt(_MMAP_THRESHOLD, LARGE)
