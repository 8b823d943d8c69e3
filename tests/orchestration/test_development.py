"""Which processes may serve a desk at the same time."""

import socket
from pathlib import Path

import pytest

from tests.loopback import free_port
from ticket_assets.orchestration.development import HOST, ServedError, only_server


def refusal(data_dir: Path, port: int) -> str:
    with pytest.raises(ServedError) as error, only_server(data_dir, port):
        pass
    return str(error.value)


def test_a_desk_is_served_once_and_again_after_that(tmp_path: Path):
    port = free_port()
    with only_server(tmp_path, port):
        assert f"is served already, at http://{HOST}:{port} by" in refusal(tmp_path, free_port())

    with only_server(tmp_path, port):
        pass


def test_two_desks_are_served_at_once(tmp_path: Path):
    with only_server(tmp_path / "a", free_port()), only_server(tmp_path / "b", free_port()):
        pass


def test_a_port_that_is_taken_is_refused_before_anything_starts(tmp_path: Path):
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        assert f":{port}: Address already in use" in refusal(tmp_path, port)
