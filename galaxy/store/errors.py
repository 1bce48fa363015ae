"""What can go wrong between Galaxy and its store.

StoreError
├── StoreUnavailable   not now: nothing was written as far as the caller may rely on, append the same batch again
├── StoreConflict      another writer recorded something else under this name: stop
├── StoreRefused       the database will never take this: a mistake of Galaxy's, or of who changed its tables: stop
├── StoreInUse         another Galaxy owns this folder or database
├── StoreTooNew        a newer Galaxy wrote this
└── StoreCorrupt       the bytes are damaged: restore a copy
"""

MISTAKE = "Trying again would not help: this is a mistake of Galaxy's, or its tables were changed."


class StoreError(Exception):
    """The store could not do what it was asked."""


class StoreUnavailable(StoreError):
    """A passing condition: disk full, database locked or gone, a deadline missed.

    The outcome of a commit whose answer was lost is unknown, which is harmless: a repeated batch is accepted as done.
    """


class StoreConflict(StoreError):
    """What is recorded under this name already is not what was to be written."""


class StoreRefused(StoreError):
    """The database does not understand what it is told, or holds it to be wrong; it will say so again."""


class StoreInUse(StoreError):
    """Another Galaxy writes here; two would corrupt each other's log."""


class StoreTooNew(StoreError):
    """The schema was made by a version of Galaxy that this one does not know."""


class StoreCorrupt(StoreError):
    """The store's files or its log are damaged, or were never a store."""
