"""Where a gang meets: a store on the driver, bound to one interface, and the network interface of each member.

torch's store cannot authenticate, so it listens on one address only, on a port that the system gives, for one attempt.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import torch.distributed as dist

from echelon.errors import CommunicationError
from echelon.interfaces import interface_of, source_address
from echelon.world import World

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Member:
    """What a function that runs in a gang is given.

    world: who this process is. store: of this gang and attempt alone; the ranks can meet in it.
    interface: the network interface that collectives must use; None where it could not be told.
    tell: sends a small JSON event to the driver. Best effort: never waits, never raises, may lose events.
    """

    world: World
    store: dist.Store
    interface: str | None
    tell: Tell


@dataclass(frozen=True)
class Address:
    """Where the store of one attempt of one run is."""

    host: str
    port: int
    run_id: str
    attempt: int


class Rendezvous:
    """The driver's end of the store. It closes with this object."""

    def __init__(self, bind: str, host: str, run_id: str, attempt: int) -> None:
        """
        Args:
            bind: address of the interface to listen on. host: what the workers call it.

        Raises:
            CommunicationError: this machine does not have that address.
        """
        listener = socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET)
        try:
            listener.bind((bind, 0))
            listener.listen(1024)
        except OSError as error:
            listener.close()
            raise CommunicationError(
                f"the driver cannot listen on {bind}: {error}. "
                "Set spark.driver.bindAddress to the address of an interface that the workers can reach"
            ) from error
        self.address = Address(host, listener.getsockname()[1], run_id, attempt)
        server = dist.TCPStore(
            bind,
            self.address.port,
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(seconds=30),
            master_listen_fd=listener.detach(),
        )
        self.store: dist.Store = _prefixed(server, self.address)


def connect(address: Address, seconds: float) -> dist.Store:
    """A worker's connection to the store. A waiting call blocks the whole connection: each thread needs its own.

    Raises:
        CommunicationError: the driver cannot be reached in time.
    """
    try:
        client = dist.TCPStore(
            address.host, address.port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=seconds)
        )
    except (RuntimeError, ValueError) as error:
        raise CommunicationError(
            f"{socket.gethostname()} cannot reach the driver at {address.host}:{address.port} within {seconds:.0f} s: "
            f"{str(error).splitlines()[0]}. Let the workers open connections to the driver (spark.driver.host)"
        ) from error
    return _prefixed(client, address)


def _prefixed(store: dist.Store, address: Address) -> dist.Store:
    return dist.PrefixStore(f"echelon/{address.run_id}/{address.attempt}", store)


def own_address(task_address: str, driver_host: str) -> str:
    """The IP address of this worker on the network that the gang shares.

    Spark's address of the task, unless its name leads to a loopback address (many hosts call themselves 127.0.1.1)
    while the driver is elsewhere: then the one that this host uses towards the driver.
    """
    towards_driver = source_address(driver_host)
    try:
        own = socket.gethostbyname(task_address)
    except OSError:
        return towards_driver
    if ip_address(own).is_loopback and not ip_address(towards_driver).is_loopback:
        return towards_driver
    return own if interface_of(own) is not None else towards_driver


def local_places(hosts: Sequence[str]) -> list[tuple[int, int]]:
    """By rank, (local rank, local size) of gangs whose rank r runs on hosts[r]."""
    return [(hosts[:rank].count(host), hosts.count(host)) for rank, host in enumerate(hosts)]
