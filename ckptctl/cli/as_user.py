"""`--as-user`: an epilog runs as root on the directories of users."""

from __future__ import annotations

import importlib
import os
import pkgutil
import pwd
from contextlib import suppress

import ckptctl
from ckptctl.errors import UsageError

LATE = (
    "aiohttp", "asyncio", "blake3", "botocore.auth", "botocore.awsrequest", "botocore.config",
    "botocore.credentials", "botocore.exceptions", "botocore.httpsession", "botocore.session",
    "botocore.utils", "concurrent.futures.thread", "ctypes", "fsspec.asyn", "gcsfs.core", "gcsfs.retry",
    "google.auth", "google_crc32c", "hashlib", "heapq", "html", "obstore.exceptions", "obstore.store",
    "random", "rich.console", "rich.progress", "s3fs", "shlex", "typer.completion", "urllib.error",
    "urllib.parse", "urllib.request",
)  # fmt: skip
"""What functions import, of other packages: half a second, most of it for buckets."""


def become(name: str) -> None:
    """Drop root for good: uid, gid and groups of a user.  UsageError for nobody, unknown or root."""
    try:
        user = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        raise UsageError(f"--as-user: there is no user {name!r}; nothing was touched") from None
    if user.pw_uid == 0:
        raise UsageError("--as-user: root is whom it must not be; nothing was touched")
    if os.geteuid() == user.pw_uid:
        return
    _import_all()
    try:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        if not _reads_python(user.pw_uid):
            import_others()
        os.setuid(user.pw_uid)
    except PermissionError:
        raise UsageError(f"--as-user: only root can become {name}; nothing was touched") from None


def _reads_python(uid: int) -> bool:
    """Whether a user, in whose groups this process is, can read the interpreter's own modules."""
    os.seteuid(uid)
    try:
        return os.access(os.__file__, os.R_OK, effective_ids=True)
    finally:
        os.seteuid(0)


def import_others() -> None:
    """Import what is imported late of other packages, where the interpreter lies where only root reads."""
    for name in LATE:
        with suppress(ImportError):  # a store's own package need not be there
            importlib.import_module(name)


def _import_all() -> None:
    """Import what is otherwise imported late: the interpreter may lie where only root reads."""
    for module in pkgutil.walk_packages(ckptctl.__path__, "ckptctl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in (
        "importlib.resources",
        "encodings.raw_unicode_escape",
        "encodings.ascii",
        "encodings.utf_8_sig",  # of a configuration
        "concurrent.futures.thread",
    ):
        importlib.import_module(name)
