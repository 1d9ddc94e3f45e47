# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The socket: HTTP/1.1 with kept connections on loopback, and the faults that need raw access to it.

The standard library's server is enough for one endpoint, needs nothing installed, starts in milliseconds and lets a
connection be reset, cut or dripped.
"""

from __future__ import annotations

import re
import socket
import socketserver
import struct
import sys
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .wire import Reply

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MAX_BODY = 4 << 20  # bytes; a request of this API has a few hundred
_LENGTH = re.compile(r"[0-9]{1,9}")
_IDLE = 300.0  # seconds until a silent connection is closed

Handler = Callable[[str, str, Mapping[str, str], bytes], Reply]


class Server(ThreadingHTTPServer):
    """Listens at once; serves after serve_forever(). `handler` answers, from many threads at a time."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, handler: Handler, log: bool = False) -> None:
        if host not in LOOPBACK:
            raise ValueError(f"{host} is not a loopback address")
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.handler, self.log = handler, log
        super().__init__((host, port), _Connection)

    @property
    def endpoint(self) -> str:
        """The URL that clients use."""
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def server_bind(self) -> None:
        # HTTPServer.server_bind would look up the host's name, which can take seconds
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Say what failed in a connection, unless the client is simply gone."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Connection(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet for headers and body
    timeout = _IDLE
    stale = False

    def handle_one_request(self) -> None:
        if self.stale:  # wait for the next request, and drop it unread
            self.connection.recv(1, socket.MSG_PEEK)
            self._reset()
            return
        super().handle_one_request()

    def _serve(self) -> None:
        begun = time.monotonic()
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            name = name.lower()
            # header values come as Latin-1; a client that writes UTF-8 signed it as such
            value = value.encode("latin-1", "replace").decode("utf-8", "replace")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not _LENGTH.fullmatch(length) or int(length) > _MAX_BODY:
            self.close_connection = True
            self.send_error(413 if length.isdecimal() else 400)
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):  # the client hung up halfway
            self.close_connection = True
            return
        reply = self.server.handler(self.command, self.path, headers, body)
        if self.server.log:
            action = headers.get("x-acs-action") or self.path.partition("?")[0]
            spent = (time.monotonic() - begun) * 1000
            line = f"{self.command} {action} {reply.wire or reply.status} {reply.code} {spent:.0f} ms"
            print(line, file=sys.stderr, flush=True)
        self._send(reply)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _serve

    def _send(self, reply: Reply) -> None:
        if reply.wire == "lost":
            self.close_connection = True
            return
        if reply.wire == "reset":
            self._reset()
            return
        self.send_response_only(reply.status)
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        body = b"" if self.command == "HEAD" else reply.body
        if reply.wire == "truncated":
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
        elif reply.wire.startswith("drip"):
            self._drip(reply, body)
        else:
            self.end_headers()
            self.wfile.write(body)
            self.stale = reply.wire == "stale"

    def _drip(self, reply: Reply, body: bytes) -> None:
        """Send headers or body byte by byte."""
        buffer: list[bytes] = vars(self)["_headers_buffer"]  # what end_headers() would send in one piece
        head = b"".join([*buffer, b"\r\n"])
        buffer.clear()
        slow, fast = (head, body) if reply.wire == "drip-headers" else (body, head)
        if fast is head:
            self.connection.sendall(head)
        for place in range(len(slow)):
            time.sleep(reply.pace)
            self.connection.sendall(slow[place : place + 1])
        if fast is body:
            self.connection.sendall(body)

    def _reset(self) -> None:
        """End the connection with RST; the usual way would send FIN first, which is an end and no accident."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: the request line holds passwords."""
