"""Exclusive locks between the processes of a desk; the lock of a process that dies is free."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ticket_assets.errors import TicketAssetsError, system_advice

_CONNECTION = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_count": 3}
"""Seconds, as libpq takes them; what the connection string says goes before."""
# A server that ends idle sessions, or statements that wait, would end leases; one that does not
# notice a dead machine would keep them for hours.
_SESSION = (
    "set idle_session_timeout = 0; set statement_timeout = 0; set lock_timeout = 0;"
    " set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3"
)


class LeaseError(TicketAssetsError):
    """A lease cannot be had, or was lost."""


class LeaseHeldError(LeaseError):
    """Another process holds the lease."""


class Leases(Protocol):
    """Locks by name; a name is a path below the data folder."""

    def hold(
        self, name: str, *, wait: bool = False, shared: bool = False
    ) -> AbstractContextManager[None]:
        """Holds the lock of this name; other processes and threads are kept out meanwhile.

        Args:
            wait: wait for the present holder instead of raising.
            shared: keep out only those that do not share it.

        Raises:
            LeaseHeldError: another holds it.
            LeaseError: locks cannot be had here, or, on leaving, the lock was lost meanwhile.
        """


@contextmanager
def file_lock(path: Path, *, wait: bool, shared: bool = False) -> Iterator[None]:
    """Holds the lock of a file, which is made for it and removed by the last holder.

    Raises:
        BlockingIOError: another process holds it, and this one does not wait.
        OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        with path.open("a") as lock:
            fcntl.flock(lock, kind if wait else kind | fcntl.LOCK_NB)
            if not is_at(path, lock.fileno()):
                # The former holder has removed the file that this process waited for.
                continue
            try:
                yield
            finally:
                with suppress(BlockingIOError):  # others share it
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            return


@dataclass(frozen=True)
class FileLeases:
    """Locks of files below `folder`, for the processes of one machine."""

    folder: Path

    @contextmanager
    def hold(self, name: str, *, wait: bool = False, shared: bool = False) -> Iterator[None]:
        path = self.folder / name
        with ExitStack() as held:
            try:
                held.enter_context(file_lock(path, wait=wait, shared=shared))
            except BlockingIOError:
                raise LeaseHeldError(f"Another process holds {path}.") from None
            except OSError as error:
                raise LeaseError(
                    f"Cannot lock {path}: {error.strerror}."
                    f" {system_advice(error) or 'Check the folder and its permissions.'}"
                ) from None
            yield


@dataclass(frozen=True)
class PostgresLeases:
    """Advisory locks of the database of the connection string `dsn`, for processes anywhere.

    They belong to a session: a pooler between must not share one among its clients.
    """

    dsn: str = field(repr=False)

    @contextmanager
    def hold(self, name: str, *, wait: bool = False, shared: bool = False) -> Iterator[None]:
        connection = self._session()
        try:
            if not self._is_locked(connection, name, wait, shared):
                raise LeaseHeldError(f"Another process holds {name}.")
            yield
            self._require_alive(connection, name)
        finally:
            self._end(connection)

    def _session(self) -> Any:
        import psycopg2
        from psycopg2.extensions import parse_dsn

        try:
            parameters = parse_dsn(self.dsn)
        except psycopg2.Error:  # its message may hold the password
            raise LeaseError(
                "TICKETS_WAREHOUSE has no connection string of Postgres, like"
                " host=postgres dbname=tickets user=tickets."
            ) from None
        with _refused_by_postgres():
            connection = psycopg2.connect(**(_CONNECTION | parameters))
        connection.autocommit = True  # in a transaction it would keep old rows alive
        return connection

    def _is_locked(self, connection: Any, name: str, wait: bool, shared: bool) -> bool:
        digest = hashlib.sha256(f"ticket-assets {name}".encode()).digest()
        key = int.from_bytes(digest[:8], signed=True)
        lock = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
        lock += "_shared" if shared else ""
        with _refused_by_postgres(), connection.cursor() as cursor:
            cursor.execute(_SESSION)
            cursor.execute(f"select {lock}(%s)", [key])
            return wait or bool(cursor.fetchone()[0])

    def _end(self, connection: Any) -> None:
        import psycopg2

        # The server notices a closed connection later: until then the lock would be held.
        with suppress(psycopg2.Error), connection.cursor() as cursor:
            cursor.execute("select pg_advisory_unlock_all()")
        connection.close()

    def _require_alive(self, connection: Any, name: str) -> None:
        import psycopg2

        try:
            with connection.cursor() as cursor:
                cursor.execute("select 1")
        except psycopg2.Error as error:
            raise LeaseError(
                f"The lock {name} was lost: {_first_line(error)}. Another process may have begun"
                " the same meanwhile: give the command again."
            ) from None


@contextmanager
def _refused_by_postgres() -> Iterator[None]:
    import psycopg2

    try:
        yield
    except psycopg2.Error as error:
        raise LeaseError(
            f"Cannot lock in Postgres: {_first_line(error)}. Check TICKETS_WAREHOUSE, and that the"
            " server runs."
        ) from None


def is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one at the path, and neither removed nor replaced."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
