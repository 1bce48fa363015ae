"""A disk that can be full: a small tmpfs where this user may mount one, else a limit on what one process may write."""

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

BALLAST = "ballast"
PIECES = (1 << 20, 4096, 1)
_MS_NOSUID, _MS_NODEV, _MNT_DETACH = 2, 4, 2


class Disk:
    """What is mounted at a folder, or a promise to limit the process that writes there."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.is_own = _mounted(folder, f"size={megabytes}m,mode=0700")

    def fill(self, pid: int) -> None:
        """Leave no room for a byte of the process."""
        if not self.is_own:
            _limit(pid, 1)
            return
        handle = os.open(self.folder / BALLAST, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for size in PIECES:
                with suppress(OSError):  # it is full
                    while True:
                        os.write(handle, b"\0" * size)
        finally:
            os.close(handle)

    def free(self, pid: int) -> None:
        """Make room again."""
        if self.is_own:
            (self.folder / BALLAST).unlink(missing_ok=True)
        else:
            _limit(pid, resource.RLIM_INFINITY)

    def remove(self) -> None:
        """Unmount it, with all that is on it."""
        if self.is_own:
            _libc().umount2(os.fsencode(self.folder), _MNT_DETACH)


def _limit(pid: int, file_bytes: int) -> None:
    assert sys.platform == "linux", "elsewhere no process can limit another"
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (file_bytes, hard))


def _mounted(folder: Path, options: str) -> bool:
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    flags = _MS_NOSUID | _MS_NODEV
    return int(_libc().mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, options.encode())) == 0


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
