"""The errors of Echelon. Whoever sees one can mend its cause, so the command line prints the message alone."""

from __future__ import annotations


class EchelonError(Exception):
    """Base of all of them."""


class DataError(EchelonError):
    """A dataset, a file or a row is not what it should be."""


class StorageError(EchelonError):
    """A storage cannot be reached, refuses us or is full. Trying again may help."""


class CommunicationError(EchelonError):
    """A peer died or the network failed. The driver tries again from the last checkpoint."""


class TrainingFailed(EchelonError):
    """A run failed for good. The message carries the root cause, not its echo on another worker."""
