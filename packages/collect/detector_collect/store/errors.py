"""What can go wrong with the database, as a closed set.

Room: detector_collect.store. Pure. No message holds a password, a statement or a value from a row.
"""

from __future__ import annotations

from detector.errors import InputError, NoRoomError


class StoreError(InputError):
    """A database that cannot be used unchanged, or that does not have what was asked for."""


class StoreUnavailableError(StoreError):
    """A database that does not answer, is locked, or ended the transaction: a repeat may work."""


class StoreFullError(StoreUnavailableError, NoRoomError):
    """A database on a device without room."""


class ErasedError(StoreError):
    """A submission that was erased and is not taken again."""


class LeaseLostError(StoreError):
    """Work that another worker has taken meanwhile, or whose evidence is gone: the transaction must not commit."""
