"""Why a gang failed: Spark's own account, for when no rank reported anything; what ranks report is all workers'."""

from __future__ import annotations

import re
from collections.abc import Sequence

from echelon.errors import CommunicationError, EchelonError, StorageError
from echelon.train.failure import Failure, WorkerFailed, describe, root_cause, to_error

__all__ = ["Failure", "WorkerFailed", "describe", "from_spark", "missing_module", "root_cause", "to_error"]


def from_spark(error: BaseException, *, lost: Sequence[str] = ()) -> EchelonError:
    """What the driver raises when no rank reported anything: Spark's own account is all there is.

    A Python traceback in it comes from before a rank could report, such as a module that workers cannot import. All
    else (a killed process, a lost executor) is worth another try.
    """
    text = str(error)
    found = re.search(r"Traceback \(most recent call last\):.*?(?=\n\s*SQLSTATE|\n\tat |\Z)", text, flags=re.DOTALL)
    if found is None or "Python worker exited unexpectedly" in text:
        names = f"{', '.join(lost)} died without a word" if lost else "the workers' job failed"
        return CommunicationError(f"{names}: {_reason(text)}")
    told = found.group().strip()
    last = told.splitlines()[-1]
    for kind in (CommunicationError, StorageError):
        if last.startswith(f"{kind.__module__}.{kind.__name__}: "):
            return kind(last.partition(": ")[2])
    if missing := re.search(r"No module named '([\w.]+)'", last):
        message = f"a worker could not start: {last} ({_remedy(missing[1])})"
    else:
        message = f"a worker could not start: {last}\n\n{told}"
    return WorkerFailed(message, rank=None, host=None, traceback=told)


def missing_module(error: ModuleNotFoundError) -> EchelonError:
    """What a worker says of a module that only the driver has."""
    return EchelonError(f"{error} ({_remedy(error.name or '')})")


def _remedy(module: str) -> str:
    """What to do where the workers lack a module that the driver has."""
    package = module.partition(".")[0]
    if package == "echelon":
        return "install Echelon on the workers too"
    return (
        f"install '{package}' on the workers too, or send it with them: --conf spark.submit.pyFiles={package}.py, "
        "or a zip file of a package"
    )


def _reason(text: str) -> str:
    """The line of Spark's account that says most, without the Java stack."""
    lines = [line.strip() for line in text.splitlines() if not line.startswith(("\t", "Caused by", "An error occ"))]
    telling = [line for line in lines if re.search(r"exited unexpectedly|ExecutorLost|lost|cancel|Exception", line)]
    return (telling or lines or ["no reason given"])[-1].removeprefix("org.apache.spark.")
