"""A toy model server for batch transform, and requests of transform jobs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from conftest import REGION, ROLE, Aws

from local_aws.images.images import Image
from local_aws.sagemaker.core.service import Service

SERVER = """
import http.server, json, os, sys, threading, time

assert sys.argv[1:] == ["serve"]
base = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
said = {k: v for k, v in os.environ.items() if k.startswith(("SAGEMAKER_", "TOY_"))}
print(json.dumps({"environment": said, "model": os.listdir(base + "/model")}), flush=True)
if "TOY_EXIT" in os.environ:
    sys.exit(os.environ["TOY_EXIT"])
busy, most, seen, lock = 0, 0, 0, threading.Lock()


def predict(kind, body):
    if kind == "application/json":
        return json.dumps({"sum": sum(json.loads(body))})
    if kind == "application/jsonlines":
        return "".join(f'{{"sum": {sum(json.loads(line))}}}\\n' for line in body.split("\\n"))
    if kind == "text/csv":
        return "".join(f"{sum(map(float, line.split(',')))}\\n" for line in body.split("\\n"))
    return body.upper()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/execution-parameters":
            told = os.environ.get("TOY_PARAMETERS")
            return self.answer(200, told) if told else self.answer(404, "")
        self.answer(int(os.environ.get("TOY_PING", "200")), "")

    def do_POST(self):
        global busy, most, seen
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with lock:
            busy, seen = busy + 1, seen + 1
            most, number = max(most, busy), seen
        told = {"body": body[:200], "size": len(body), "headers": dict(self.headers)}
        # In one piece: print writes the end of a line apart, and requests come side by side.
        os.write(1, (json.dumps(told) + os.linesep).encode())
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
        with lock:
            busy -= 1
        if "die" in body:
            print("I give up", flush=True)
            os._exit(7)
        if number <= int(os.environ.get("TOY_FAILURES", "0")):
            return self.answer(503, "not yet")
        if "bad" in body:
            return self.answer(400, "a bad record")
        if "short" in body:
            return self.answer(200, "1\\n")
        if "most" in body:
            return self.answer(200, str(most))
        self.answer(200, predict(self.headers.get("Content-Type"), body))

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""
TRANSFORM_IMAGE = f"000000000000.dkr.ecr.{REGION}.amazonaws.com/transform:1"


def register_image(service: Service) -> None:
    """Makes the toy server an image; its program lies in the service's data folder."""
    folder = service.settings.data_dir
    program = folder / "transform_server.py"
    program.write_text(SERVER)
    python = Path(sys.executable)
    image = Image(folder, str(python.parent), {}, ["python", str(program)], [])
    service.images.register(TRANSFORM_IMAGE, image)


def model_request(bucket: str, name: str = "model", **environment: str) -> dict[str, Any]:
    """A request for a model of the toy server, with what lies in a folder of its name."""
    source = {"S3Uri": f"s3://{bucket}/{name}/", "S3DataType": "S3Prefix"}
    return {
        "ModelName": name,
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {
            "Image": TRANSFORM_IMAGE,
            "ModelDataSource": {"S3DataSource": {**source, "CompressionType": "None"}},
            "Environment": environment,
        },
    }


def create_model(aws: Aws, **environment: str) -> None:
    """Creates a model of the toy server, whose only file is named `weights`."""
    register_image(aws.service)
    aws.put("model/weights")
    aws.sagemaker.create_model(**model_request(aws.bucket, **environment))


def transform_request(bucket: str, name: str = "job", **more: Any) -> dict[str, Any]:
    """A request that transforms what lies below in/ to out/; TransformInput and -Output merge."""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/in/"}
    return {
        "TransformJobName": name,
        "ModelName": "model",
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        **more,
        "TransformInput": {
            "DataSource": {"S3DataSource": source},
            **more.get("TransformInput", {}),
        },
        "TransformOutput": {
            "S3OutputPath": f"s3://{bucket}/out",
            **more.get("TransformOutput", {}),
        },
    }


def csv_lines(**processing: str) -> dict[str, Any]:
    """Members of a request for CSV, a record a line."""
    return {
        "BatchStrategy": "MultiRecord",
        "TransformInput": {"ContentType": "text/csv", "SplitType": "Line"},
        "TransformOutput": {"Accept": "text/csv", "AssembleWith": "Line"},
        **({"DataProcessing": processing} if processing else {}),
    }


def json_lines(**processing: str) -> dict[str, Any]:
    """Members of a request for JSON Lines."""
    kind = "application/jsonlines"
    return {
        "TransformInput": {"ContentType": kind, "SplitType": "Line"},
        "TransformOutput": {"Accept": kind, "AssembleWith": "Line"},
        **({"DataProcessing": processing} if processing else {}),
    }


def wait(aws: Aws, name: str = "job", *statuses: str) -> dict[str, Any]:
    """Waits until a job has one of the statuses, by default until it has ended."""
    wanted = statuses or ("Completed", "Failed", "Stopped")
    deadline = time.monotonic() + 60
    while True:
        body: dict[str, Any] = aws.sagemaker.describe_transform_job(TransformJobName=name)
        if body["TransformJobStatus"] in wanted:
            return body
        assert time.monotonic() < deadline, body
        time.sleep(0.01)


def transform(aws: Aws, name: str = "job", **more: Any) -> dict[str, Any]:
    aws.sagemaker.create_transform_job(**transform_request(aws.bucket, name, **more))
    return wait(aws, name)


def heard(aws: Aws, name: str = "job") -> list[dict[str, Any]]:
    """What the toy server printed: first its environment, then each request."""
    text = (aws.folder / "jobs" / f"transform-{name}" / "log.txt").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def bodies(aws: Aws, name: str = "job") -> list[str]:
    return [request["body"] for request in heard(aws, name)[1:]]


def data_log(aws: Aws, name: str = "job") -> str:
    return (aws.folder / "jobs" / f"transform-{name}" / "data-log.txt").read_text()
