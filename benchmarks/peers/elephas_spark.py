"""The side of Elephas: Keras models on Spark, as its documentation trains them.

Synchronous mode gives each partition to one worker, trains an epoch there and averages the weights on the driver. Run
by the interpreter of Elephas's own environment.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import side
import task

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def start(workers: int, threads: int) -> dict[str, Any]:
    """Starts the session that all calls use; what TensorFlow reads from the environment counts for its workers."""
    os.environ.update(dict.fromkeys(THREADS, str(threads)), TF_CPP_MIN_LOG_LEVEL="2", CUDA_VISIBLE_DEVICES="-1")
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{workers},8]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    builder.config("spark.driver.memory", "4g").getOrCreate()
    return {"versions": {name: version(name) for name in ("elephas", "tensorflow", "keras", "pyspark")}}


_RDDS: dict[str, Any] = {}


def read(data: str) -> dict[str, Any]:
    """The rows as the RDD that Elephas trains on; it is made before the call that is timed."""
    import numpy as np
    from elephas.utils.rdd_utils import to_simple_rdd
    from pyspark.sql import SparkSession

    with np.load(f"{data}.npz") as stored:
        features, labels = stored["features"], stored["labels"]
    rdd = to_simple_rdd(SparkSession.active().sparkContext, features, labels).cache()
    _RDDS[data] = rdd
    return {"rows": rdd.count()}


def fit(data: str, epochs: int, mode: str, frequency: str, asked: dict[str, Any]) -> dict[str, Any]:
    """One training, from the call to its end.

    Args:
        mode: synchronous, asynchronous or hogwild. frequency: epoch or batch, at which the last two exchange weights.
    """
    from elephas.spark_model import AsynchronousSparkModel, SparkModel

    wanted, model = task.Task(**asked), _compiled(asked["rate"])
    begin = time.time()
    if mode == "synchronous":
        peer = SparkModel(model, num_workers=wanted.workers)
    else:
        peer = AsynchronousSparkModel(
            model, num_workers=wanted.workers, mode=mode, frequency=frequency, port=_free_port()
        )
    peer.fit(_RDDS[data], epochs=epochs, batch_size=wanted.batch, verbose=0)
    seconds = time.time() - begin
    weights = f"{data}.elephas.npz"
    task.save(weights, tuple(peer.master_network.get_weights()))
    return {"seconds": seconds, "weights": weights, "facts": _facts(data, wanted)}


def _compiled(rate: float) -> Any:
    import tensorflow as tf

    dense = tf.keras.layers.Dense
    model = tf.keras.Sequential(
        [
            tf.keras.Input((task.FEATURES,)),
            *(dense(width, activation="relu") for width in task.HIDDEN),
            dense(task.CLASSES, activation="softmax"),
        ]
    )
    model.set_weights(list(task.initial()))
    model.compile(tf.keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
    return model


def _facts(data: str, wanted: task.Task) -> dict[str, Any]:
    """What each worker gets, asked of the same partitions and the same processes."""

    def look(rows: Iterator[Any]) -> list[tuple[int, int]]:
        return [(sum(1 for _ in rows), int(os.environ["TF_NUM_INTRAOP_THREADS"]))]

    found = _RDDS[data].repartition(wanted.workers).mapPartitions(look).collect()
    return {
        "rows of an epoch": sum(rows for rows, _ in found),
        "steps of an epoch": max(-(-rows // wanted.batch) for rows, _ in found),
        "workers": len(found),
        "threads of a worker": max(threads for _, threads in found),
    }


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


if __name__ == "__main__":
    side.serve({"start": start, "read": read, "fit": fit})
