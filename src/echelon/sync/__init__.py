"""How the replicas of a model agree. A strategy is a value; starting it gives the replica of one worker."""

from echelon.sync.allreduce import AllReduce
from echelon.sync.averaging import Averaging
from echelon.sync.diloco import DiLoCo
from echelon.sync.protocol import Replica, ReplicaState, Strategy, Tally
from echelon.sync.server import ParameterServer

__all__ = ["AllReduce", "Averaging", "DiLoCo", "ParameterServer", "Replica", "ReplicaState", "Strategy", "Tally"]
