"""A real HTTP server whose faults a test can order."""

from __future__ import annotations

import hashlib
import re
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from echelon.download.limits import Limits

QUICK = Limits(connect_seconds=2, stall_seconds=0.5, tries=4, backoff_seconds=0.01, longest_backoff=0.05)
CALM = Limits(connect_seconds=20, stall_seconds=20, tries=4, backoff_seconds=0.01, longest_backoff=0.05)
"""For tests that count requests: a busy machine makes none of them too late."""


@dataclass
class Site:
    """Files by path, how they are served, and what was asked.

    statuses: of the next answers, before it serves again. cut_after: bytes of a body after which the connection is
    closed, for the next `cuts` answers. stalls: answers that stop there instead, until the test ends. trickle: seconds
    between two bytes. ranges: whether it understands Range. shift: bytes by which it
    answers another range than was asked for. tagged: whether it names versions. chunked: whether it says
    the length beforehand. answers: of a path, the status and headers of its next answers, before it serves again.
    leads: of a path, where it always leads to. halts: of a path, after how many bytes its answers stop until the test
    ends. asked: the Range of every request. visits: its path and when.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int = 0
    cuts: int = 0
    stalls: int = 0
    trickle: float = 0.0
    ranges: bool = True
    shift: int = 0
    tagged: bool = True
    chunked: bool = False
    answers: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    leads: dict[str, str] = field(default_factory=dict)
    halts: dict[str, int] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)
    visits: list[tuple[str, float]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [path for path, _ in self.visits]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        site = self.site
        site.asked.append(self.headers["Range"])
        site.visits.append((self.path, time.monotonic()))
        if site.answers.get(self.path):
            status, headers = site.answers[self.path].pop(0)
            self._end(status, b"", headers)
            return
        if self.path in site.leads:
            self._end(302, b"it is elsewhere", {"Location": site.leads[self.path]})
            return
        if site.statuses:
            self._end(site.statuses.pop(0), b"", site.headers)
            return
        if self.path not in site.files:
            self._end(404, b"not here", {})
            return
        content = site.files[self.path]
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        named = {"ETag": tag} if site.tagged else {}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "") if site.ranges else None
        if asked is None or self.headers["If-Range"] not in (None, tag):
            self._end(200, content, named)
        elif (start := int(asked[1])) >= len(content):
            self._end(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        else:
            start += site.shift
            place = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._end(206, content[start:], {**named, "Content-Range": place})

    def _end(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        if self.site.chunked and body:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body:
            self._send(body)

    def _send(self, body: bytes) -> None:
        site = self.site
        if site.trickle:
            for byte in body:
                self.wfile.write(bytes([byte]))
                if site.over.wait(site.trickle):
                    return
        if self.path in site.halts:
            self._pieces(body[: site.halts[self.path]], last=False)
            site.over.wait(30)
            return
        stopped = site.cuts > 0 or site.stalls > 0
        self._pieces(body[: site.cut_after] if stopped else body, last=not stopped)
        if site.cuts:
            site.cuts -= 1
        elif site.stalls:
            site.stalls -= 1
            site.over.wait(30)

    def _pieces(self, body: bytes, *, last: bool) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body) if self.site.chunked and body else body)
        if self.site.chunked and last:
            self.wfile.write(b"0\r\n\r\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what the tests are about."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def served(context: ssl.SSLContext | None = None, /, **files: bytes) -> Iterator[Site]:
    """A site with files /name, on a port of this machine that is free; encrypted with a context."""
    site = Site({f"/{name}": content for name, content in files.items()})
    handler = type("Handler", (_Handler,), {"site": site})
    server = _Server(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    site.url = f"http{'' if context is None else 's'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="site", daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.over.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
