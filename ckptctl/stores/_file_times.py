"""When a file was read, written and made: only who asks for a site's purge needs that.

Python knows no birth times on Linux: they come from statx(2).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from functools import cache

from ckptctl.expiry import Times
from ckptctl.model import NS

_SIZE = 256  # of struct statx
_NOFOLLOW = 0x100  # AT_SYMLINK_NOFOLLOW
_ATIME, _MTIME, _BIRTH = 0x20, 0x40, 0x800
_WANTED = _ATIME | _MTIME | _BIRTH
_MASK = struct.Struct("=I")
_TIME = struct.Struct("=qI")
_AT = {_ATIME: 64, _BIRTH: 80, _MTIME: 112}
"""Where the times stand in struct statx: see statx(2)."""


def times_of(name: str, folder: int, *, birth: bool) -> Times:
    """Return the times of what has a name in an open directory, following no link.  OSError."""
    call = _statx() if birth else None
    if call is not None and (told := call(name, folder)) is not None:
        return told
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return Times(found.st_atime_ns, found.st_mtime_ns)


@cache
def _statx() -> Callable[[str, int], Times | None] | None:
    """Return what asks the kernel, by descriptor and name; None where the C library cannot."""
    import ctypes  # noqa: PLC0415 - few need it

    call = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    if call is None:
        return None

    def ask(name: str, folder: int) -> Times | None:
        buffer = ctypes.create_string_buffer(_SIZE)
        if call(folder, os.fsencode(name), _NOFOLLOW, _WANTED, buffer):
            return None  # stat(2) has the words for it
        (mask,) = _MASK.unpack_from(buffer, 0)
        if mask & (_ATIME | _MTIME) != _ATIME | _MTIME:
            return None

        def at(which: int) -> int:
            seconds, ns = _TIME.unpack_from(buffer, _AT[which])
            return int(seconds) * NS + int(ns)

        return Times(at(_ATIME), at(_MTIME), at(_BIRTH) if mask & _BIRTH else None)

    return ask
