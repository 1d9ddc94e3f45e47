# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ports of loopback: kept for a cluster's whole life, or played by something that is no PostgreSQL."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading

from ...engine import EngineError

HOST = "127.0.0.1"
BEHAVIOURS = ("refused", "silent", "ssh", "http", "blackhole")


class Reservation:
    """A port that is ours whether or not a PostgreSQL listens on it at the moment.

    The socket is bound and never listens, so a connection to a stopped cluster is refused. PostgreSQL binds with
    SO_REUSEADDR and gets in beside it; nobody else is given the port. Only Linux allows that: elsewhere the port is
    merely chosen.
    """

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket()
        # A given port may still be waiting from its last use. A free one must be nobody's at all, so reuse comes after.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(bool(port)))
        try:
            self._socket.bind((HOST, port))
        except OSError as err:
            self._socket.close()
            raise EngineError(f"port {port} on {HOST} cannot be used: {err.strerror}") from err
        self.port: int = self._socket.getsockname()[1]
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform != "linux":
            self._socket.close()

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


class Decoy:
    """A port that behaves like something other than PostgreSQL (see BEHAVIOURS)."""

    def __init__(self, behaviour: str, port: int = 0) -> None:
        if behaviour not in BEHAVIOURS:
            raise EngineError(f"unknown behaviour {behaviour!r}: postgres, {', '.join(BEHAVIOURS)}")
        self._reservation = Reservation(port)  # bound and not listening is all that `refused` needs
        self.port = self._reservation.port
        self._sockets: list[socket.socket] = []
        self._server: _Talker | None = None
        if behaviour == "silent":  # the kernel accepts, nobody ever answers
            self._listen(128)
        elif behaviour == "blackhole":
            self._listen(0)
            for _unused in range(4):  # with the queue full, the kernel drops every further SYN
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex((HOST, self.port))
                self._sockets.append(filler)
        elif behaviour in ("ssh", "http"):
            self._server = _Talker((HOST, self.port), _Ssh if behaviour == "ssh" else _Http)
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _listen(self, backlog: int) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, self.port))
        listener.listen(backlog)
        self._sockets.append(listener)

    def close(self) -> None:
        """Stop listening and give the port back."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        for one in self._sockets:
            one.close()
        self._reservation.close()


class _Talker(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


class _Ssh(socketserver.StreamRequestHandler):
    timeout = 30

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
            self.rfile.readline(256)


class _Http(socketserver.StreamRequestHandler):
    timeout = 30

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the start of PostgreSQL's protocol has no line end: both sides wait
            self.rfile.readline(65536)
            self.wfile.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
