"""The user's own scripts: one that turns captured records into rows, one that runs at the end.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-pre-and-post-processing.html
"""

from __future__ import annotations

import importlib.util
import inspect
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from local_aws.analyzer import records
from local_aws.analyzer.records import Captured, Row
from local_aws.analyzer.settings import AnalysisError, Settings

_PRE = ("record_preprocessor_script", "preprocess_handler")
_POST = ("post_analytics_processor_script", "postprocess_handler")

_log = logging.getLogger("preprocessor")


def preprocessor(settings: Settings) -> Callable[[Captured], list[Row]] | None:
    """Return what turns a captured record into rows, or None when there is no script for it.

    The script may return a dictionary, a list of them, or a list of values; none leave the record
    out.

    Raises:
        AnalysisError: The script cannot be loaded. So does what is returned, when it fails.
    """
    handler = _load(settings, *_PRE)
    if handler is None:
        return None
    with_logger = len(inspect.signature(handler).parameters) > 1

    def rows(line: Captured) -> list[Row]:
        record = _record(line.record)
        try:
            found = handler(record, _log) if with_logger else handler(record)
        except Exception as error:
            raise AnalysisError(f"{_PRE[0]}: {type(error).__name__}: {error}") from error
        if isinstance(found, list) and not any(isinstance(row, dict | list) for row in found):
            found = [found] if found else []  # the values of one row
        return records.rows_of(found) if found else []

    return rows


def postprocess(settings: Settings) -> None:
    """Run the script that comes after the analysis, if there is one.

    Raises:
        AnalysisError: The script cannot be loaded, or fails.
    """
    handler = _load(settings, *_POST)
    if handler is None:
        return
    try:
        handler()
    except Exception as error:
        raise AnalysisError(f"{_POST[0]}: {type(error).__name__}: {error}") from error


def _load(settings: Settings, variable: str, name: str) -> Callable[..., Any] | None:
    path = settings.get(variable)
    if not path:
        return None
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AnalysisError(f"{variable}: {path!r} is not a Python script")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        handler: Callable[..., Any] = getattr(module, name)
    except Exception as error:
        raise AnalysisError(f"{variable}: {type(error).__name__}: {error}") from error
    return handler


def _record(line: dict[str, Any]) -> SimpleNamespace:
    """Return a record with the attributes that the guide lists."""
    metadata = line.get("eventMetadata", {})
    sides = {
        name: SimpleNamespace(
            **{key: data.get(key) for key in ("data", "encoding", "observedContentType", "mode")}
        )
        for name, data in line.get("captureData", {}).items()
    }
    return SimpleNamespace(
        endpoint_input=sides.get("endpointInput"),
        endpoint_output=sides.get("endpointOutput"),
        event_metadata=SimpleNamespace(
            event_id=metadata.get("eventId"),
            event_time=metadata.get("inferenceTime"),
            custom_attribute=metadata.get("customAttributes"),
            inference_id=metadata.get("inferenceId"),
        ),
        event_version=line.get("eventVersion"),
        event_dict=line,
        as_dict=lambda: line,
    )
