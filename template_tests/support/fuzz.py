"""Requests that nobody means: right ones, mutated, in HTTP that may be mutated too.

All of them follow from a seed. https://www.fuzzingbook.org/html/MutationFuzzer.html
"""

import io
import json
import random
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse

import polars as pl

from usecase.config import UseCase

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
PARQUET = "application/vnd.apache.parquet"

#: Seconds in which each request must have its answer, or the end of its connection.
PATIENCE = 60.0

#: What has been the undoing of parsers.
TOKENS = (
    *(b"", b" ", b"\x00", b"\t", b"\n", b"\r", b"\r\n\r\n", b",", b";", b'"', b'""', b"'", b"\\"),
    *(b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8"),
    *(b"\\ud800", b"\\udc00\\ud800", b"\\u0000", b"\\x"),
    *("\u0665".encode(), "e\u0301\u202e".encode()),
    *(b"NaN", b"-Infinity", b"nan", b"inf", b"null", b"true", b"{}", b"[]", b"[[", b"}}", b":"),
    *(b"-0", b"1e400", b"-1e400", b"1e-400", b"1_000", b"0x1F", b"+1", b".5", b"1.", b"1e5"),
    *(b"9" * 400, b"9" * 5000, b"0" * 5000, b"1." + b"3" * 5000, b"1e" + b"9" * 30),
    *(b"2147483648", b"9223372036854775808", b"18446744073709551616", b"3.5e38"),
    *(b"[" * 5000, b'{"a":' * 5000, b'{"instances":' * 200, b"x" * 20_000, b'"' + b"x" * 20_000),
    *(b"=1+1", b"../../etc/passwd", b"%00", b"<!DOCTYPE a>", b"PAR1", b"\x1f\x8b\x08"),
)

#: Values that JSON can have where a feature is due.
VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1.5, -0.0, 10**400, -(10**4000), 2**63, 1e308, 5e-324),
    *("", " ", "1", "nan", "\x00", "\ud800", "\udc00\ud800", "\u2028", "e\u0301", "x" * 20_000),
    *([], [1], {}, {"a": None}, [[[[]]]], {"instances": [{}]}),
)

METHODS = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "post", "FOO", "")
PATHS = (
    *("/ping", "/", "/invocations/", "//invocations", "/invocations?x=%00", "/invocations#a"),
    *("/invocations%2f..", "/../invocations", "*", "", "http://x/invocations", "/%ff", "/\u00e9"),
    *("/execution-parameters", "/" + "a" * 10_000, "/invocations;x=1", "/models", "/docs"),
)
CONTENT_TYPES = (
    *("", "text/plain", "text/csv; charset=shift_jis", "TEXT/CSV", 'text/csv;charset="utf-8"'),
    *("application/json; charset=utf-8", "text/csv;;;=", "a" * 5000, "text/csv, application/json"),
    *("multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "\u00e9", "/"),
)
ACCEPTS = (
    *("", "*/*", CSV, JSON, JSON_LINES, "text/*", "image/png", "text/html, */*;q=0.5", ",,,;"),
    *("application/json;q=x", "a" * 5000, "\u00e9", "application/json; explain=contributions"),
)
HEADERS = (
    *("X-Amzn-SageMaker-Inference-Id: \u00e9", "X-Amzn-SageMaker-Inference-Id: " + "i" * 5000),
    *("X-Amzn-SageMaker-Custom-Attributes: inference_id=a;inference_id", "X: " + "y" * 70_000),
    *("X-Amzn-SageMaker-Custom-Attributes: ;=;=", "Expect: 100-continue", "Connection: close"),
    *("Content-Encoding: gzip", "Upgrade: websocket\r\nConnection: Upgrade", "Cookie: a=b; c"),
    *("Range: bytes=0-1", "Host: y", "no colon", ": no name", "a b: c", "X-Forwarded-For: \u0661"),
    *("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings", "TE: trailers", "\x00: \x00"),
)
LENGTHS = ("0" * 5000 + "9", "9" * 20, "-1", "+5", "0x10", "1 1", "\u0665", "1e3", "", "5, 5")


@dataclass(frozen=True)
class Request:
    """A request as it is sent.

    Attributes:
        content: Its bytes.
        method: Its method.
        whole: Whether it is a request by HTTP, whose connection can be used again.
    """

    content: bytes
    method: str
    whole: bool


@dataclass(frozen=True)
class Answer:
    """What a server has answered.

    Attributes:
        status: The status, 0 where it only ended the connection.
        content_type: The type of the body.
        body: The body.
    """

    status: int
    content_type: str = ""
    body: bytes = b""


class Fuzzer:
    """Makes requests of a seed."""

    def __init__(self, seed: int, rows: pl.DataFrame, content_types: Sequence[str]) -> None:
        """Prepare the requests that are mutated.

        Args:
            seed: What all of them follow from.
            rows: Features that a model can predict from.
            content_types: What the server understands.
        """
        self._random = random.Random(seed)  # noqa: S311 - to be the same again, not to be secret
        self._rows, self._types = rows, content_types
        self._parquet = [self._packed(some) for some in (rows, rows[:1], rows[:0])]

    def request(self) -> Request:
        """The next request."""
        content_type = self._content_type()
        body = self._body(content_type)
        if self._chance(0.05):
            content_type = self._random.choice(CONTENT_TYPES)
        method = "POST" if self._chance(0.95) else self._random.choice(METHODS)
        path = "/invocations" if self._chance(0.95) else self._random.choice(PATHS)
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Type: {content_type}"]
        if self._chance(0.3):
            lines.append(f"Accept: {self._random.choice(ACCEPTS)}")
        whole = method not in ("CONNECT", "")
        if self._chance(0.1):
            lines.insert(self._random.randrange(1, len(lines) + 1), self._random.choice(HEADERS))
            whole = False
        if self._chance(0.1):
            return Request(self._misframed(lines, body), method, whole=False)
        content = framed(lines, [f"Content-Length: {len(body)}"], body)
        if self._chance(0.02):
            content, whole = self._mutated(content), False
        return Request(content, method, whole)

    def _content_type(self) -> str:
        """A type that is understood: seldom Parquet, which a process of its own reads each time."""
        text = [kind for kind in self._types if kind != PARQUET]
        if len(text) < len(self._types) and self._chance(0.02):
            return PARQUET
        return self._random.choice(text)

    def _body(self, content_type: str) -> bytes:
        """The body of a request; it may be a right one."""
        if content_type == PARQUET:
            body = self._random.choice(self._parquet)
            return body if self._chance(0.25) else self._mutated(body)
        rows = self._rows.sample(self._random.randint(1, 5), seed=self._random.getrandbits(32))
        if content_type == CSV:
            body = rows.write_csv(include_header=self._chance(0.02)).encode()
        else:
            entries = [self._entry(row) for row in rows.to_dicts()]
            body = "\n".join(entries).encode()
            if content_type == JSON:
                body = b'{"instances": [' + ",".join(entries).encode() + b"]}"
        return body if self._chance(0.4) else self._mutated(body)

    def _entry(self, row: dict[str, object]) -> str:
        """A row as JSON, with another value, another field, or a field twice now and then."""
        while self._chance(0.2):
            row = {**row, self._random.choice([*row]): self._random.choice(VALUES)}
        if self._chance(0.05):
            row = {**row, self._random.choice(("", "\ud800", "colour", "__class__")): None}
        if self._chance(0.05):
            row.pop(self._random.choice([*row]))
        text = written(row, ascii_only=self._chance(0.5))
        if self._chance(0.05):
            text = f"{text[:-1]}, {text[1:]}"
        return text

    def _mutated(self, body: bytes) -> bytes:
        """A body with some bytes changed, left out, repeated, or put in."""
        found = bytearray(body)
        for _ in range(self._random.choice((1, 1, 1, 2, 3, 10))):
            start = self._random.randint(0, len(found))
            end = min(len(found), start + self._random.choice((0, 1, 1, 4, 30, len(found))))
            part = bytes(found[start:end])
            found[start:end] = self._random.choice(self._changes)(self, part)
        return bytes(found[:200_000])

    def _flipped(self, part: bytes) -> bytes:
        if not part:
            return part
        place, bit = self._random.randrange(len(part)), 1 << self._random.randrange(8)
        return part[:place] + bytes([part[place] ^ bit]) + part[place + 1 :]

    def _token(self, _: bytes) -> bytes:
        return self._random.choice(TOKENS)

    def _noise(self, part: bytes) -> bytes:
        return self._random.randbytes(len(part))

    def _repeated(self, part: bytes) -> bytes:
        return part * self._random.choice((2, 3, 50))

    def _nothing(self, _: bytes) -> bytes:
        return b""

    _changes: Sequence[Callable[["Fuzzer", bytes], bytes]] = (
        _flipped,
        _flipped,
        _token,
        _token,
        _noise,
        _repeated,
        _nothing,
    )

    def _misframed(self, lines: list[str], body: bytes) -> bytes:
        """A request whose body is in chunks, right ones or not, or of another length than told."""
        half = len(body) // 2
        parts = [part for part in (body[:half], body[half:]) if part]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        coding = "Transfer-Encoding: chunked"
        more, content = self._random.choice(
            (
                ([f"Content-Length: {len(body) + self._random.randint(1, 10_000)}"], body),
                ([f"Content-Length: {self._random.randint(0, len(body))}"], body),
                ([f"Content-Length: {self._random.choice(LENGTHS)}"], body),
                ([coding], chunks),
                ([coding], self._mutated(chunks)),
                ([coding, f"Content-Length: {len(body)}"], chunks),
                ([], body),
            )
        )
        return framed(lines, more, content)

    def _packed(self, rows: pl.DataFrame) -> bytes:
        content = io.BytesIO()
        rows.write_parquet(content, compression="uncompressed")
        return content.getvalue()

    def _chance(self, fraction: float) -> bool:
        return self._random.random() < fraction


def written(row: dict[str, object], *, ascii_only: bool) -> str:
    """A row as JSON; with halves of characters as escapes, where UTF-8 cannot write them."""
    text = json.dumps(row, ensure_ascii=False)
    if ascii_only or any("\ud800" <= letter <= "\udfff" for letter in text):
        return json.dumps(row)
    return text


def framed(lines: Sequence[str], more: Sequence[str], body: bytes) -> bytes:
    """The bytes of a request."""
    head = "\r\n".join([*lines, *more]).encode("latin-1", "replace")
    return head + b"\r\n\r\n" + body


class Client:
    """Sends requests to a server, over one connection as long as that stands."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: socket.socket | None = None

    def send(self, request: Request) -> Answer:
        """What a request is answered.

        Raises:
            TimeoutError: When it has neither an answer nor the end of its connection in time.
        """
        reused = self._connection is not None
        address = "127.0.0.1", self._port
        connection = self._connection or socket.create_connection(address, PATIENCE)
        self._connection = None
        try:
            answer, stays = exchange(connection, request)
        except BaseException:
            connection.close()
            raise
        if stays and request.whole:
            self._connection = connection
        else:
            connection.close()
        # The server may end a connection that it has kept in the moment in which it is used again.
        if reused and not answer.status and request.whole:
            return self.send(request)
        return answer

    def close(self) -> None:
        """End the connection."""
        if self._connection:
            self._connection.close()


def exchange(connection: socket.socket, request: Request) -> tuple[Answer, bool]:
    """Send a request; its answer, and whether the connection stands after it."""
    connection.settimeout(PATIENCE)
    try:
        connection.sendall(request.content)
        if not request.whole:
            connection.shutdown(socket.SHUT_WR)
    except TimeoutError:
        raise
    except OSError:
        pass  # it may have answered, and hung up, before it had all
    response = HTTPResponse(connection, method=request.method.upper())
    try:
        response.begin()
        body = response.read()
    except (ConnectionResetError, HTTPException):
        return Answer(0), False
    stays = not response.will_close
    return Answer(response.status, response.headers.get("content-type", ""), body), stays


def rows_for(use_case: UseCase, table: pl.DataFrame) -> pl.DataFrame:
    """Features of some records, with nothing known of one."""
    some = table.select(use_case.features.names)[:20]
    return pl.concat([some, some.clear(1)])
