"""One process a folder: a lock that the kernel drops with the process, however it ends."""

import os
import sys
from pathlib import Path
from typing import BinaryIO

from galaxy.store.errors import StoreInUse

if sys.platform == "win32":
    import msvcrt

    # Windows lets nobody read what is locked, so the byte lies far behind the owner's number.
    LOCKED_BYTE = 1 << 30

    def _try_lock(file: BinaryIO) -> None:
        file.seek(LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_folder(folder: Path) -> BinaryIO:
    """Return the open lock file, which is the lock: closing it lets go. Raise StoreInUse if another process has it.

    The folder is made if it is missing, for its owner only.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (folder / "galaxy.lock").open("a+b")
    try:
        _try_lock(file)
    except OSError as error:
        file.seek(0)
        owner = file.read(20).decode("ascii", "replace") or "unknown"
        file.close()
        raise StoreInUse(
            f"{folder} is in use by another Galaxy (process {owner}). Stop that one, or give this one its own folder."
        ) from error
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()).encode())
    file.flush()
    return file
