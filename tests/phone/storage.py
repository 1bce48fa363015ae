"""The phone's file system: a folder of this machine, with the names that Android uses."""

import os
import posixpath
import shutil
from pathlib import Path

SDCARD = "storage/emulated/0"


class Storage:
    """Files below a folder. No path leads out of it."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self.reset()

    def reset(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        for folder in (f"{SDCARD}/Download", "data/local/tmp"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "sdcard").symlink_to(SDCARD)

    def path(self, name: str) -> Path:
        """Return where the file is; raise PermissionError. Its last step is not followed if it is a link."""
        whole = self.root / posixpath.normpath(f"/{name}").lstrip("/")
        found = Path(os.path.realpath(whole.parent)) / whole.name if whole != self.root else whole
        if not found.is_relative_to(self.root):
            raise PermissionError(f"{name}: Permission denied")
        return found

    def resolved(self, name: str) -> str:
        """Return the phone's name of what the path leads to, links followed; raise OSError."""
        found = Path(os.path.realpath(self.path(name)))
        if not found.parent.is_dir() or not found.is_relative_to(self.root):
            raise FileNotFoundError(name)
        return f"/{found.relative_to(self.root)}"
