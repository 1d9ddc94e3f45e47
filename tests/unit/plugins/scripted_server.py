# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server on loopback that answers each request with what a function says, byte for byte, and remembers what came."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType

Answer = Callable[[socket.socket, str], "bytes | None"]  # connection and request head -> bytes to send, None: sent


class ScriptedServer:
    """One request a connection. An answer may write to the connection itself; it ends when the client hangs up."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.answer, self._tls = answer, tls
        self.heads: list[str] = []  # the head of each request
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> ScriptedServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _unused = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._tls.wrap_socket(connection, server_side=True) if self._tls else connection as stream:
                head = read_head(stream)
                self.heads.append(head)
                answer = self.answer(stream, head)
                if answer is not None:
                    stream.sendall(answer)
                    stream.shutdown(socket.SHUT_WR)


def read_head(stream: socket.socket) -> str:
    """Read a request up to the empty line."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = stream.recv(65536)
        if not piece:
            raise ConnectionError("hung up")
        head += piece
    return head.decode("latin-1")


def action_of(head: str) -> str:
    """The API operation that a request names."""
    found = re.search(r"^x-acs-action: *(\w+)", head, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""


def http(body: bytes | str, *headers: str, status: str = "200 OK", length: bool = True) -> bytes:
    """An HTTP answer."""
    content = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", "Connection: close", *headers]
    lines += [f"Content-Length: {len(content)}"] if length else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content
