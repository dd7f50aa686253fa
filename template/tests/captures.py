"""Captured events and true labels, as SageMaker writes them."""

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def event(
    sent: str,
    answered: str,
    inference_id: str | None = None,
    *,
    time: str = "2026-01-15T12:00:00Z",
    content_type: str = "text/csv",
    encoding: str = "CSV",
) -> dict[str, Any]:
    """An event, laid out as in model-monitor-data-capture-endpoint.html."""

    def payload(mode: str, data: str) -> dict[str, str]:
        if encoding == "BASE64":
            data = base64.b64encode(data.encode()).decode()
        return {
            "observedContentType": content_type,
            "mode": mode,
            "data": data,
            "encoding": encoding,
        }

    metadata = {"eventId": f"event-of-{inference_id}", "inferenceTime": time}
    if inference_id:
        metadata["inferenceId"] = inference_id
    return {
        "captureData": {
            "endpointInput": payload("INPUT", sent),
            "endpointOutput": payload("OUTPUT", answered),
        },
        "eventMetadata": metadata,
        "eventVersion": "0",
    }


def label(inference_id: str, value: object) -> dict[str, Any]:
    """A label, laid out as in model-monitor-model-quality-merge.html."""
    return {
        "groundTruthData": {"data": str(value), "encoding": "CSV"},
        "eventMetadata": {"eventId": inference_id},
        "eventVersion": "0",
    }


def write(path: Path, lines: Iterable[object]) -> None:
    """Write JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
