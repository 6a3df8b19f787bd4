"""Memory that is used again and again: kept by the process instead of given back each time."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_KEPT = 1 << 30
_KEPT_AT_TOP = 1 << 28


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, for this process and those forked from it.

    Blocks of some megabytes come and go all the time. By default glibc gives each back to the
    kernel, which clears its pages anew for the next: a fifth of a delivery's processor time. What
    is kept is less than a block's worth of buffers. Does nothing where there is no glibc.

    See mallopt(3).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_AT_TOP)
