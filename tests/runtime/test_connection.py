"""What is a Ray cluster at an address, and what is none."""
from __future__ import annotations

import http.server
import os
import signal
import socket
import sys
import threading
from types import SimpleNamespace

import pytest

from inference_openvino import main
from src.runtime import connection
from tests import ray_process
from tests.conftest import status_of, write_noise
from tests.ray_process import needs_ray


@needs_ray
def test_the_cluster_itself_answers(two_workers):
    assert connection.check_address(two_workers.do(ray_process.address)) is None


@pytest.fixture
def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_no_cluster_at_an_address_is_one_line(free_port, tmp_path, capsys):
    picture = write_noise(tmp_path / "in" / "1.png", (4, 4), (64, 64))
    assert status_of(main, "--image-path", picture, "--output-dir", tmp_path / "out", "--ray",
                     f"127.0.0.1:{free_port}") == 2
    assert capsys.readouterr().err == f"error: --ray 127.0.0.1:{free_port}: no cluster there (Connection refused)\n"


def test_a_server_that_is_silent_or_no_ray_is_no_cluster(monkeypatch):
    monkeypatch.setattr(connection, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ValueError, match=f"{port}: no cluster there \\(timed out\\)"):
            connection.check_address(f"127.0.0.1:{port}")
    monkeypatch.undo()
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    with pytest.raises(ValueError, match="what answers is not Ray"):
        connection.check_address(f"127.0.0.1:{server.server_port}")
    thread.join()
    server.server_close()


def test_a_cluster_that_ray_remembers_and_is_gone_is_one_line(monkeypatch, free_port, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port}")
    with pytest.raises(ValueError, match=f"--ray auto: no cluster there, at 127.0.0.1:{free_port} "), \
            connection.connected("auto"):
        pass
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text(f"127.0.0.1:{free_port}")
    with pytest.raises(ValueError, match=f"--ray auto: no cluster there, at 127.0.0.1:{free_port} "), \
            connection.connected("auto"):
        pass


@pytest.mark.parametrize("address", ["nonsense", "host:port", ":1", "h:99999", "http://h:1", "ray://h:1", "h:¹", "a b:1"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match="is no address"):
        connection.check_address(address)


def fake_ray(monkeypatch: pytest.MonkeyPatch, init) -> None:
    ray = SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: None)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(connection, "import_ray", lambda: ray)


def test_whatever_ray_raises_at_its_start_is_one_line(monkeypatch):
    def init(*_, **__):
        raise Exception("The current node timed out\nduring startup.")

    fake_ray(monkeypatch, init)
    with pytest.raises(ValueError, match="--ray .this machine.: no cluster: The current node timed out during startup.$"), \
            connection.connected(""):
        pass


def test_who_is_not_let_in_reads_about_the_token(monkeypatch, free_port):
    def init(*_, **__):
        raise ConnectionError("Failed to connect")

    fake_ray(monkeypatch, init)
    monkeypatch.setattr(connection, "check_address", lambda address: None)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(ValueError, match="Failed to connect; if it was started with a token .* set RAY_AUTH_MODE=token$"), \
            connection.connected("h:1"):
        pass


def test_ray_s_handlers_of_signals_do_not_stay(monkeypatch):
    mine, before = (lambda *_: None), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    fake_ray(monkeypatch, lambda *_, **__: signal.signal(signal.SIGTERM, signal.SIG_IGN))
    signal.signal(signal.SIGTERM, mine)
    try:
        with connection.connected(""):
            assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
