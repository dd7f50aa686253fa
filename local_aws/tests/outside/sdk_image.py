"""A toy image of the pipelines that SageMaker's SDK writes: it counts, "trains" and serves."""

import http.server
import json
import os
import sys
from pathlib import Path

ML = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def train() -> None:
    points = (ML / "input/data/train/points.csv").read_text().split()
    given = json.loads((ML / "input/config/hyperparameters.json").read_text())
    scale = float(json.loads(given["scale"]) if given["scale"].startswith('"') else given["scale"])
    (ML / "model/factor").write_text(str(scale * len(points)))
    print(f"factor={scale * len(points)}")


def serve() -> None:
    factor = float((ML / "model/factor").read_text())

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(b"", 200 if self.path == "/ping" else 404)

        def do_POST(self) -> None:
            lines = self.rfile.read(int(self.headers["Content-Length"])).decode().split()
            self.answer("".join(f"{factor * float(line)}\n" for line in lines).encode())

        def answer(self, body: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/csv")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


{"train": train, "serve": serve}[sys.argv[1]]()
