# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server on loopback that speaks as much of PostgreSQL's protocol as a script says, and remembers what came."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable

from tests.unit.plugins.scripted_server import ScriptedServer

_SSL, _GSS = 80877103, 80877104
Script = Callable[[socket.socket], None]


class ScriptedPostgres(ScriptedServer):
    """Answers SSL and GSS with no, and hands each connection that sends a startup packet to its script."""

    def __init__(self, *scripts: Script) -> None:
        """Give a script for each login in turn; the last one is for all that follow."""
        super().__init__(lambda _stream, _head: None)
        self.scripts, self.logins = scripts, 0
        self.received = b""

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ConnectionError):
            connection.settimeout(20)
            while True:
                (length,) = struct.unpack("!i", self.take(connection, 4))
                packet = self.take(connection, length - 4)
                if struct.unpack("!i", packet[:4])[0] not in (_SSL, _GSS):
                    break
                connection.sendall(b"N")
            script = self.scripts[min(self.logins, len(self.scripts) - 1)]
            self.logins += 1
            script(connection)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                self.received += piece

    def take(self, connection: socket.socket, count: int) -> bytes:
        """Read so many bytes."""
        got = b""
        while len(got) < count:
            piece = connection.recv(count - len(got))
            if not piece:
                raise ConnectionError("hung up")
            got += piece
        self.received += got
        return got

    def queries(self, connection: socket.socket, answers: dict[str, bytes | Script]) -> None:
        """Answer simple queries until the client leaves: by their beginning, others with their first word as tag."""
        while self.take(connection, 1) == b"Q":
            (length,) = struct.unpack("!i", self.take(connection, 4))
            query = self.take(connection, length - 4)[:-1].decode()
            found = [answer for beginning, answer in answers.items() if query.startswith(beginning)]
            answer = found[0] if found else done(query.split(maxsplit=1)[0])
            if isinstance(answer, bytes):
                connection.sendall(answer)
            else:
                answer(connection)


def message(kind: str, *parts: bytes) -> bytes:
    """A message of the server."""
    content = b"".join(parts)
    return kind.encode() + struct.pack("!i", len(content) + 4) + content


def refusal(sqlstate: str, text: str | bytes, severity: str = "FATAL") -> bytes:
    """An ErrorResponse, as PostgreSQL sends it to a client before its encoding is known."""
    words = text.encode() if isinstance(text, str) else text
    rows = [b"S" + severity.encode(), b"VFATAL", b"C" + sqlstate.encode(), b"M" + words, b""]
    return message("E", *(row + b"\0" for row in rows))


def welcome(pid: int = 4711, encoding: str = "UTF8") -> bytes:
    """What ends a login."""
    settings = {"server_encoding": encoding, "client_encoding": "UTF8", "server_version": "17.2"}
    return (
        message("R", struct.pack("!i", 0))
        + b"".join(message("S", f"{name}\0{value}\0".encode()) for name, value in settings.items())
        + message("K", struct.pack("!ii", pid, 1))
        + READY
    )


def done(tag: str) -> bytes:
    """The end of a statement."""
    return message("C", tag.encode() + b"\0") + READY


def one_value(text: bytes | str, oid: int = 25) -> bytes:
    """A result of one row with one column."""
    value = text.encode() if isinstance(text, str) else text
    column = b"value\0" + struct.pack("!ihihih", 0, 0, oid, -1, -1, 0)
    row = struct.pack("!hi", 1, len(value)) + value
    return message("T", struct.pack("!h", 1), column) + message("D", row) + done("SELECT 1")


READY = message("Z", b"I")
