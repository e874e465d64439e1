"""pyspark's daemon, which forks a Python worker whenever one is needed, with torch imported before it forks.

A new worker, such as the one in the place of a killed one, then begins at once instead of importing for seconds. No
thread may be running here: only imports that start none.
"""

import gc

import torch
import torchmetrics  # noqa: F401
from pyspark.daemon import manager

if __name__ == "__main__":
    # The first optimizer of a process imports torch's compiler, which takes longer than torch itself.
    torch.optim.SGD([torch.zeros(1)], lr=0.1)
    # pyspark collects garbage after every task, which would walk through all of torch each time.
    gc.collect()
    gc.freeze()
    manager()
