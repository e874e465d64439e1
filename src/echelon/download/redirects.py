"""Which addresses a server may send us on to. Imports urllib3, so it is imported where a download begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urljoin

from urllib3.util import Retry

from echelon.errors import EchelonError


class Redirects(Retry):
    """Follows up to five redirects, and tries nothing else again. Made by `Redirects.of`."""

    _on_request: Callable[[str], None]
    _open_too: bool

    @classmethod
    def of(cls, on_request: Callable[[str], None], *, open_too: bool) -> Redirects:
        """
        Args:
            on_request: called with each address before it is asked; what it raises ends the download. open_too:
                whether to follow from https to http, where anybody on the way can change what comes.
        """
        made = cls(total=None, connect=0, read=0, other=0, status=0, redirect=5, respect_retry_after_header=False)
        made._on_request, made._open_too = on_request, open_too
        return made

    def new(self, **fields: Any) -> Self:
        made = super().new(**fields)
        made._on_request, made._open_too = self._on_request, self._open_too
        return made

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Self:
        """
        Raises:
            EchelonError: the answer leads from https to http. What `on_request` raises.
        """
        rest = super().increment(method, url, response, error, _pool, _stacktrace)
        leads = response.get_redirect_location() if response is not None else None
        if url and leads:
            # Its body would be read to the end, however long that takes.
            response.close()
            self._follow(url, urljoin(url, leads))
        return rest

    def _follow(self, url: str, target: str) -> None:
        if url.startswith("https:") and target.startswith("http:") and not self._open_too:
            raise EchelonError(
                f"the server leads on to {target.partition('?')[0]}, which is not encrypted, and no "
                "checksum is known that would show a change: give the checksum, or another address"
            )
        self._on_request(target)
