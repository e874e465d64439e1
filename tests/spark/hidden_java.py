"""The process of test_jvm.py that has no Java but pip's: prints what it saw as JSON."""

from __future__ import annotations

import json

from pyspark.sql import SparkSession

from echelon.errors import EchelonError
from echelon.spark.barrier import run_gang
from echelon.spark.rendezvous import Member
from echelon.spark.session import session


def size(member: Member) -> bytes:
    return f"{member.world.size} workers".encode()


def main() -> dict[str, str]:
    own = session("local[2,8]", workers=2)
    seen = {
        "java": str(own.sparkContext._jvm.java.lang.System.getProperty("java.home")),
        "own session": str(own.conf.get("spark.dynamicAllocation.enabled")),
        "gang": run_gang(own, size, 2, run_id="hidden", attempt=1)[0].decode(),
    }
    own.stop()
    given = SparkSession.builder.master("local[2]").config("spark.dynamicAllocation.enabled", "true").getOrCreate()
    try:
        session(workers=2)
    except EchelonError as error:
        seen["given session"] = str(error)
    given.stop()
    return seen


if __name__ == "__main__":
    print(json.dumps(main()))
