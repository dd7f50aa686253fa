"""Large objects in ministack's S3: they stay on disk, where ministack has them in memory whole.

A body of more than a mebibyte goes to a file as it arrives. ministack gets it as a memory map,
which is like `bytes` to what hashes, measures and slices it, but whose pages the kernel takes back
when it needs them. Stored objects are read the same way, and copies are hard links.
"""

from __future__ import annotations

import mmap
import os
import resource
import tempfile
import weakref
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs

from local_aws.host.internals import module
from local_aws.host.replacing import replaced

LARGE = 1024**2
"""Bytes of a body from which on it stays on disk."""

_CHUNK = 256 * 1024
_SLICE = 64 * 1024

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class OnDisk(mmap.mmap):
    """The content of a file, as ministack handles a body.

    Attributes:
        path: Where the file was when it was mapped.
    """

    path: str

    @classmethod
    def of(cls, path: str, *, temporary: bool = False) -> OnDisk:
        """Map a file that is not empty.

        Args:
            path: The file.
            temporary: Whether it is removed with the map.
        """
        with open(path, "rb") as file:  # noqa: PTH123 - a Path is slower
            mapped = cls(file.fileno(), 0, access=mmap.ACCESS_READ)
        mapped.path = path
        if temporary:
            weakref.finalize(mapped, Path(path).unlink, missing_ok=True)
        return mapped

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401 - as mmap's
        """Return a byte or a part; a long one is a view, not a copy."""
        if isinstance(key, slice) and len(range(*key.indices(len(self)))) > _SLICE:
            return memoryview(self)[key]
        return super().__getitem__(key)


class LargeObjects:
    """Keeps bodies on disk."""

    def __init__(self, folder: Path) -> None:
        """Clear the folder of what a killed process has left in it.

        Args:
            folder: For bodies on their way; on the file system of S3's objects.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            left.unlink()
        self._folder = folder

    def apply(self) -> None:
        """Let ministack keep bodies on disk.

        Raises:
            IncompatibleMinistackError: A line that is replaced is not there.
        """
        _allow_many_files()
        self._receive()
        self._store()
        self._send()

    def _receive(self) -> None:
        """Join the parts of a large body on disk.

        Here: memory stays bounded, however large the objects are.
        """
        app, s3 = module("app"), module("services.s3")
        app._read_request_body = replaced(
            app._read_request_body,
            {'b"".join(chunks)': "_whole(method, headers, chunks)"},
            _whole=self._whole,
        )
        app._decode_aws_chunked_body = replaced(
            app._decode_aws_chunked_body,
            {'b"".join(chunks)': "_joined(chunks)"},
            _joined=self.joined,
        )
        s3._complete_multipart_upload = replaced(
            s3._complete_multipart_upload,
            {'b"".join(combined_parts)': "_joined(combined_parts)"},
            _joined=self.joined,
        )

    def _whole(self, method: str, headers: dict[str, str], parts: Sequence[Any]) -> Any:  # noqa: ANN401
        """Join a request's body; other services than S3 parse theirs, which are small."""
        on_disk = any(isinstance(part, OnDisk) for part in parts)
        signed = headers.get("authorization", "")
        if on_disk or (method == "PUT" and "/s3/aws4_request" in signed):
            return self.joined(parts)
        return b"".join(parts)

    def joined(self, parts: Sequence[Any]) -> Any:  # noqa: ANN401 - bytes, or what is like them
        """Join the parts of a body: on disk, if it is large."""
        if len(parts) == 1 and isinstance(parts[0], OnDisk):
            return parts[0]
        if sum(len(part) for part in parts) < LARGE:
            return b"".join(parts)
        with self._file() as file:
            for part in parts:
                file.write(part)
        return OnDisk.of(file.name, temporary=True)

    def _file(self) -> IO[bytes]:
        return tempfile.NamedTemporaryFile(dir=self._folder, delete=False)

    def application(self, ministack: Application) -> Application:
        """Return ministack's ASGI application with large objects' bodies received to disk."""

        async def application(scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                receive = self._received(scope, receive)
            await ministack(scope, receive, send)

        return application

    def _received(self, scope: Message, receive: Receive) -> Receive:
        headers = dict(scope.get("headers", ()))
        length = headers.get(b"content-length", b"")
        if not length.isdigit() or int(length) < LARGE or not _is_for_s3(scope, headers):
            return receive

        async def whole() -> Message:
            with self._file() as file:
                more = True
                while more:
                    message = await receive()
                    file.write(message.get("body", b""))
                    more = message.get("more_body", False)
                size = file.tell()
            if size:
                body = OnDisk.of(file.name, temporary=True)
                return message if message["type"] != "http.request" else {**message, "body": body}
            Path(file.name).unlink()
            return message

        return whole

    def _store(self) -> None:
        """Read and write large objects without having them in memory.

        Here: memory stays bounded, however large the objects are.
        """
        s3 = module("services.s3")
        read, write, fetch = s3._read_body, s3._atomic_write, s3._get_object_data

        def read_body(bucket: str, key: str, obj: dict[str, Any]) -> Any:  # noqa: ANN401
            path = s3._object_disk_path(bucket, key) if obj.get("body") is None else None
            if path and obj.get("size", 0) >= LARGE and os.path.isfile(path):  # noqa: PTH113
                return OnDisk.of(path)
            return read(bucket, key, obj)

        def atomic_write(path: str, data: Any, *, text: bool = False) -> None:  # noqa: ANN401
            if not isinstance(data, OnDisk):
                write(path, data, text=text)
                return
            if os.path.exists(path) and os.path.samefile(path, data.path):  # noqa: PTH110, PTH121
                return  # an object copied onto itself
            partial = Path(f"{path}.tmp")
            partial.unlink(missing_ok=True)
            partial.hardlink_to(data.path)  # neither is ever written to
            partial.replace(path)

        def get_object_data(*place: Any, **version: Any) -> bytes | None:  # noqa: ANN401
            data = fetch(*place, **version)
            return data if data is None else bytes(data)  # for other services

        s3._read_body = read_body
        s3._atomic_write = atomic_write
        s3._get_object_data = get_object_data

    def _send(self) -> None:
        """Send a large body in parts.

        Here: memory stays bounded, however large the objects are.
        """
        app = module("app")
        send_response = app._send_response

        async def answer(
            send: Send,
            status: int,
            headers: dict[str, str],
            body: Any,  # noqa: ANN401
            *,
            head: bool = False,
        ) -> None:
            if not isinstance(body, OnDisk | memoryview):
                await send_response(send, status, headers, body, head=head)
                return
            headers = {**headers, "Content-Length": str(len(body))}
            encoded = app._asgi_header_list(headers)
            await send({"type": "http.response.start", "status": status, "headers": encoded})
            for start in range(0, len(body), _CHUNK):
                part = bytes(body[start : start + _CHUNK])
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

        app._send_response = answer


def _is_for_s3(scope: Message, headers: dict[bytes, bytes]) -> bool:
    if scope["method"] != "PUT":
        return False
    signed = headers.get(b"authorization", b"").decode("latin-1")
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return "/s3/aws4_request" in "".join([signed, *query.get("X-Amz-Credential", [])])


def _allow_many_files() -> None:
    """Allow as many open files as the system does: each part of an upload is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if most == resource.RLIM_INFINITY else min(most, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
