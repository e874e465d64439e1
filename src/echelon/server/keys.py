"""pyzmq, and the keys that a run's server and workers know each other by."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType

from echelon.errors import EchelonError
from echelon.server.near import Near


@dataclass(frozen=True)
class KeyPair:
    """Of CurveZMQ (rfc.zeromq.org/spec/26), in Z85."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Keys:
    """Made for one launch and for nobody else. The workers of a launch have one pair together."""

    server: KeyPair
    workers: KeyPair

    @classmethod
    def new(cls) -> Keys:
        zmq = require_zmq()
        return cls(KeyPair(*zmq.curve_keypair()), KeyPair(*zmq.curve_keypair()))

    def address(self, host: str, port: int, near: Near | None = None) -> Address:
        """What a worker must know to reach the server."""
        return Address(host, port, self.server.public, self.workers, near)


@dataclass(frozen=True)
class Address:
    """Where the server is. server_key: its public key. keys: the worker's own. near: for workers on its machine."""

    host: str
    port: int
    server_key: bytes = field(repr=False)
    keys: KeyPair = field(repr=False)
    near: Near | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def require_zmq() -> ModuleType:
    """The module zmq.

    Raises:
        EchelonError: it is missing, or was built without encryption; says what to install.
    """
    try:
        import zmq
    except ImportError:
        raise EchelonError(
            "the workers of a parameter server talk through pyzmq, which is not installed: "
            "pip install 'echelon[server]', on the workers too"
        ) from None
    if not zmq.has("curve"):
        raise EchelonError("this build of pyzmq has no encryption (CURVE): install the wheel of PyPI")
    return zmq
