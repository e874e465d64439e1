"""The SparkSession that everything runs in: the active one, else a new one whose settings suit training."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from echelon.errors import EchelonError
from echelon.spark.jvm import find_java, without_vectors

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

QUIET_LOG = Path(__file__).with_name("log4j2.properties")

_ALWAYS = {
    "spark.ui.showConsoleProgress": "false",
    # A gang that does not fit is looked at again every second instead of every 15.
    "spark.scheduler.barrier.maxConcurrentTasksCheck.interval": "1s",
    # What Spark SQL sets for its own tasks. Python workers are shared by tasks with the same environment only, and with
    # another one a host would import torch a second time for the first gang after a DataFrame.
    "spark.executorEnv.SPARK_SIMPLIFIED_TRACEBACK": "1",
}
_LOCAL = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    # Only here: Spark says nothing helpful where the workers of a cluster do not have it.
    "spark.python.daemon.module": "echelon.spark.daemon",
}
# A host that is cut off is noticed after 15 s instead of 120. Not for local masters: there the driver would take a
# laptop's sleep for its own death. What else would fall back on spark.network.timeout keeps Spark's default.
_CLUSTER = {
    "spark.executor.heartbeatInterval": "2s",
    "spark.network.timeout": "15s",
    "spark.network.timeoutInterval": "2s",
    "spark.storage.blockManagerHeartbeatTimeoutMs": "15s",
    "spark.rpc.askTimeout": "120s",
    "spark.rpc.lookupTimeout": "120s",
    "spark.shuffle.io.connectionTimeout": "120s",
}
# A local session lives for minutes: half of the processor time of its start went into code that was optimised in vain,
# and on two cores the workers wait for that. What runs long is still optimised, only later.
_BRIEF = (
    "-XX:+UseSerialGC -XX:Tier4InvocationThreshold=100000 -XX:Tier4MinInvocationThreshold=50000 "
    "-XX:Tier4CompileThreshold=200000 -XX:Tier4BackEdgeThreshold=1000000"
)
_LONGEST_FOLDER = 60
"""Of the 104 bytes and more that a socket's path may have, its name takes 44 with what ends it."""
_FIXED_EXECUTORS = {"spark.dynamicAllocation.enabled": "false"}
_NO_CONF: Mapping[str, str] = {}


def session(
    master: str | None = None, workers: int = 1, conf: Mapping[str, str] = _NO_CONF, *, gang: bool = True
) -> SparkSession:
    """The active session, else a new one.

    Args:
        master: of a new session; None is what spark-submit says, else local[N,8] in this process, with a slot for each
            worker and each core. Eight failures, so that a killed worker's task is tried again.
        workers: slots that a new session must have.
        conf: settings of a new session; they win over ours.
        gang: whether a gang will be run, which dynamic allocation rules out: an active session that has it is
            refused, in a new one it is turned off.

    Raises:
        EchelonError: pyspark or Java is missing, or the active session allocates executors dynamically.
    """
    found = active_session()
    if found is None:
        found = _create(master, workers, dict(conf), gang)
    else:
        _tell_ignored(found, master, conf)
    if gang:
        require_fixed_executors(found)
    _warn_if_open(found)
    return found


def active_session() -> SparkSession | None:
    """The session of this process, whichever thread made it; None without one.

    Raises:
        EchelonError: pyspark is not installed.
    """
    # Arrow is all that is used of what pyspark warns of.
    warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas", category=FutureWarning)
    try:
        from pyspark import SparkContext
        from pyspark.sql import SparkSession
    except ImportError:
        raise EchelonError(
            "Spark is not installed: pip install 'echelon[local]', or start this with the spark-submit of a cluster "
            "(one worker needs no Spark)"
        ) from None
    active = SparkSession.getActiveSession()
    if active is None and SparkContext._active_spark_context is not None:
        active = SparkSession.builder.getOrCreate()
    return active


def is_local(master: str) -> bool:
    """Whether tasks run in the driver's own process."""
    return master == "local" or master.startswith("local[")


def require_fixed_executors(session: SparkSession) -> None:
    """Refuses a session in which Spark refuses gangs.

    Raises:
        EchelonError: dynamic allocation is on; says which settings to change.
    """
    if session.conf.get("spark.dynamicAllocation.enabled", "false") == "true":
        raise EchelonError(
            "workers that train together need executors that stay, but this Spark session has "
            "spark.dynamicAllocation.enabled=true. Start it with --conf spark.dynamicAllocation.enabled=false "
            "--conf spark.executor.instances=<number of executors>, or let Echelon start the session"
        )


def _create(master: str | None, workers: int, conf: dict[str, str], gang: bool) -> SparkSession:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if submitted:
        master = master or SparkConf().get("spark.master")
    master = master or conf.get("spark.master") or f"local[{max(workers, len(os.sched_getaffinity(0)))},8]"
    settings = {"spark.app.name": "echelon", **_settings(master, workers, gang), **conf, "spark.master": master}
    if not submitted:
        # A new JVM is started with these; the first that is given wins over ours.
        ours = f"-Dlog4j2.configurationFile={QUIET_LOG.as_uri()}" + (f" {_BRIEF}" if is_local(master) else "")
        settings["spark.driver.extraJavaOptions"] = f"{ours} {conf.get('spark.driver.extraJavaOptions', '')}".strip()
    builder = SparkSession.builder
    for name, value in settings.items():
        builder = builder.config(name, value)
    with _environment(master, settings, submitted):
        return builder.getOrCreate()


def _settings(master: str, workers: int, gang: bool) -> dict[str, str]:
    settings = {**_ALWAYS, **({**_LOCAL, **_sockets()} if is_local(master) else _CLUSTER)}
    if gang:
        settings |= _FIXED_EXECUTORS
        if master.startswith(("yarn", "k8s://")):
            settings["spark.executor.instances"] = str(workers)
            # The session is ready when all executors are, so that the first gang finds its slots.
            settings["spark.scheduler.minRegisteredResourcesRatio"] = "1.0"
    return settings


def _sockets() -> dict[str, str]:
    """Newer versions of Spark than 4.0 reach Python workers by sockets that are files, where there are such.

    Over TCP a short task waits for an acknowledgement that the other side delays.
    """
    if not hasattr(socket, "AF_UNIX"):
        return {}
    # Spark leaves some of the files behind.
    folder = tempfile.mkdtemp(prefix="e-")
    atexit.register(_remove, folder, os.getpid())
    if len(os.fsencode(folder)) > _LONGEST_FOLDER:
        return {}
    return {"spark.python.unix.domain.socket.enabled": "true", "spark.python.unix.domain.socket.dir": folder}


def _remove(folder: str, owner: int) -> None:
    """Removes a folder at the end of the process that made it, and not of one that was forked from it."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment(master: str, settings: Mapping[str, str], submitted: bool) -> Iterator[None]:
    """What pyspark reads from the environment while it starts, and only then."""
    python = settings.get("spark.pyspark.python") or (None if is_local(master) else os.environ.get("PYSPARK_PYTHON"))
    wanted = {"PYSPARK_PYTHON": python or sys.executable}
    if not submitted:
        # Nothing of ours uses Spark's vectorised algebra, and asking Java for it prints a warning in every session.
        # The executors of a cluster have a Java of their own.
        wanted["JAVA_HOME"] = str(without_vectors(find_java()).home)
    if is_local(master):
        # Tasks can import what the driver can, such as the modules beside a user's script.
        wanted["PYTHONPATH"] = os.pathsep.join(os.path.abspath(folder) for folder in sys.path if _is_users(folder))
        wanted["SPARK_LOCAL_IP"] = settings["spark.driver.bindAddress"]
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _is_users(folder: str) -> bool:
    return not os.path.abspath(folder).startswith((sys.prefix + os.sep, sys.base_prefix + os.sep + "lib"))


def _tell_ignored(session: SparkSession, master: str | None, conf: Mapping[str, str]) -> None:
    asked = {**conf, **({"spark.master": master} if master else {})}
    other = {name: now for name in asked if (now := session.conf.get(name, None)) != asked[name]}
    if other:
        warnings.warn(
            "the active Spark session is used as it is: "
            + ", ".join(f"{name} stays {now!r} instead of {asked[name]!r}" for name, now in other.items()),
            stacklevel=3,
        )


def _warn_if_open(session: SparkSession) -> None:
    master = session.conf.get("spark.master", "") or ""
    if not is_local(master) and session.conf.get("spark.authenticate", "false") != "true":
        warnings.warn(
            f"the Spark cluster at {master} does not authenticate (spark.authenticate is off): whoever reaches its "
            "network can read and change what the workers exchange. Use it on a trusted network only",
            stacklevel=3,
        )
