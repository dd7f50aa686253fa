"""Large requests and answers, as they come into the job that collects them."""

from pathlib import Path

from support.image import write_lines
from support.inference_endpoint import NAMES, event

from usecase.predictions import exchanges
from usecase.serve_endpoint import CSV
from workflows import names

ANSWERED = "text/csv; charset=utf-8; model-version=1"
REQUESTS, ANSWERS = "async/requests/a", "async/answers/a"
KEPT = f"version=1/{NAMES.endpoint}/{names.VARIANT}/2026/01/15/12"


def leave(
    folder: Path,
    asked: bytes,
    answer: bytes,
    content_type: str = CSV,
    answered: str = ANSWERED,
) -> None:
    """Leave a request and its answer, and the event that says where they are."""
    large = event("", "", "id-a", content_type=content_type)
    sides = {"endpointInput": (REQUESTS, asked), "endpointOutput": (ANSWERS, answer)}
    for side, (key, body) in sides.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        payload = large["captureData"][side]
        del payload["data"], payload["encoding"]
        payload["location"] = f"s3://bucket/{key}"
    large["captureData"]["endpointOutput"]["observedContentType"] = answered
    write_lines(folder / "capture" / KEPT / f"a{exchanges.LARGE}", [large])
