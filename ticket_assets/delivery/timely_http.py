"""HTTP connections of which a whole answer, headers and all, is there within the timeout.

urllib3 bounds each read from a socket: a server that sends a byte now and then would hold a thread
for hours.
"""

from __future__ import annotations

import io
import socket
import time
from http.client import HTTPResponse
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class _TimelyReader(io.RawIOBase):
    """What a socket receives until its present timeout is over."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._received = connected.makefile("rb", buffering=0)
        self._until = time.monotonic() + (connected.gettimeout() or 0.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._until - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(remaining)
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


class _TimelyResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_TimelyReader(sock))


class _TimelyHTTPConnection(HTTPConnection):
    response_class = _TimelyResponse


class _TimelyHTTPSConnection(HTTPSConnection):
    response_class = _TimelyResponse


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _TimelyHTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TimelyHTTPSConnection


def timely_pools(timeout: float, **options: Any) -> urllib3.PoolManager:
    """Pools of connections that send each request once.

    Args:
        timeout: seconds from the beginning of a request to the end of its answer.
    """
    pools = urllib3.PoolManager(timeout=urllib3.Timeout(total=timeout), retries=False, **options)
    pools.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    return pools
