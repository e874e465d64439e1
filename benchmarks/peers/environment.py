"""The environment of a peer: a virtual environment of exact versions, made once and kept in build/."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from echelon.errors import EchelonError
from echelon.spark.jvm import find_java

HERE = Path(__file__).parent
HOME = HERE.parents[1] / "build" / "peers"
INSTALL_SECONDS = 1200.0


class CannotMeasure(Exception):
    """A peer cannot run on this machine; says why. No limit counts as held then."""


def interpreter(peer: str) -> Path:
    """The Python that has what benchmarks/peers/<peer>.txt lists, installed if it is not there yet.

    Raises:
        CannotMeasure: it cannot be installed, as without a network.
    """
    wanted = HERE / f"{peer}.txt"
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    home = HOME / peer
    done, python = home / "installed", home / "bin" / "python"
    if done.exists() and done.read_text() == digest:
        return python
    print(f"installing what {wanted.name} lists into {home} (once)", file=sys.stderr, flush=True)
    for command in ([sys.executable, "-m", "venv", "--clear", home],
                    [python, "-m", "pip", "install", "--quiet", "--requirement", wanted]):  # fmt: skip
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except (subprocess.SubprocessError, OSError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise CannotMeasure(f"{peer} cannot be installed: {said[-1] if said else error}") from None
    done.write_text(digest)
    return python


def variables(python: Path) -> dict[str, str]:
    """The environment of a side's process.

    Raises:
        CannotMeasure: there is no Java for its Spark.
    """
    try:
        java = str(find_java().home)
    except EchelonError as error:
        raise CannotMeasure(str(error)) from None
    ours = {"PYSPARK_PYTHON": str(python), "JAVA_HOME": java, "PYTHONPATH": str(HERE), "SPARK_LOCAL_IP": "127.0.0.1"}
    return {**os.environ, **ours}
