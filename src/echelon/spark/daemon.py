"""pyspark's daemon, which forks a Python worker whenever one is needed, with torch imported before it forks.

A new worker, such as the one in the place of a killed one, then begins at once instead of importing for seconds. No
thread may be running here: only imports that start none, which pyarrow's does.
"""

if __name__ == "__main__":
    import gc
    import os

    from echelon.allocation import IDLE_SECONDS

    # Read when pyarrow is loaded, which else gives back what a task frees, to have it cleared again for the next one.
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", f"{1000 * IDLE_SECONDS:.0f}")
    # Nothing that is imported becomes garbage, and to look for some takes a part of the time.
    gc.disable()

    import torch
    import torchmetrics  # noqa: F401
    from pyspark.daemon import manager

    # The first optimizer of a process imports torch's compiler, which takes about as long as torch itself.
    torch.optim.SGD([torch.zeros(1)], lr=0.1)
    # pyspark collects garbage after every task, which would walk through all of torch each time.
    gc.collect()
    gc.freeze()
    gc.enable()
    manager()
