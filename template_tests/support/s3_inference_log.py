"""An S3 over HTTP, for servers in processes of their own that log what they answer."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        objects: The objects, by their paths.
        environment: What leads a server here.
    """

    objects: dict[str, bytes]
    environment: dict[str, str]


@pytest.fixture
def written() -> Iterator[Written]:
    """An S3 that takes objects."""
    objects: dict[str, bytes] = {}

    class Bucket(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            objects[unquote(self.path)] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    s3 = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=s3.serve_forever, args=(0.02,), daemon=True).start()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3.server_port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    yield Written(objects, environment)
    s3.shutdown()
    s3.server_close()
