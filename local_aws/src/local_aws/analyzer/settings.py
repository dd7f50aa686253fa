"""What the analyzer is asked to do: its environment variables and its folders.

Source: "Container Contract Inputs" of the SageMaker developer guide
(https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-inputs.html), and the
variables that the SageMaker Python SDK and AWS's own monitoring jobs set beside them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class AnalysisError(Exception):
    """The data or a setting cannot be used; the text says which and why."""


@dataclass(frozen=True)
class Settings:
    """The environment, read.

    Attributes:
        environment: All variables.
        source: Folder of the data, `dataset_source`.
        output: Folder of the reports, `output_path`.
        ml: The folder that containers know as `/opt/ml`.
    """

    environment: Mapping[str, str]
    source: Path
    output: Path
    ml: Path

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the environment.

        Raises:
            AnalysisError: A variable that is needed is not set.
        """
        given = os.environ if environment is None else environment
        for name in ("dataset_source", "output_path"):
            if not given.get(name):
                raise AnalysisError(f"{name}: the environment variable is not set")
        ml = Path(given.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
        return cls(given, Path(given["dataset_source"]), Path(given["output_path"]), ml)

    def get(self, name: str) -> str:
        """Return a variable, or an empty text."""
        return self.environment.get(name, "")

    @property
    def dataset_format(self) -> tuple[str, dict[str, Any]]:
        """The format's name, for example `csv` or `sagemakerCaptureJson`, and its settings.

        Raises:
            AnalysisError: It is not JSON of one member.
        """
        text = self.get("dataset_format")
        try:
            ((name, settings),) = json.loads(text).items()
            return str(name), dict(settings or {})
        except (ValueError, TypeError, AttributeError):
            raise AnalysisError(
                f'dataset_format: {text!r} is not JSON such as {{"csv": {{"header": true}}}}'
            ) from None

    def window(self) -> tuple[datetime | None, datetime | None]:
        """Return `start_time` and `end_time`, where set.

        Raises:
            AnalysisError: One is not an ISO 8601 time.
        """
        return self._time("start_time"), self._time("end_time")

    def _time(self, name: str) -> datetime | None:
        text = self.get(name)
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise AnalysisError(f"{name}: {text!r} is not an ISO 8601 time") from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def baseline(self, kind: str) -> dict[str, Any] | None:
        """Return the baseline's `statistics` or `constraints`, or None when none is given.

        Raises:
            AnalysisError: The file is not there, or holds no JSON object.
        """
        place = self.get(f"baseline_{kind}")
        if not place:
            return None
        path = Path(place)
        if path.is_dir():
            path /= f"{kind}.json"
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise AnalysisError(f"baseline_{kind}: {error}") from None
        if not isinstance(content, dict):
            raise AnalysisError(f"baseline_{kind}: {path.name} holds no JSON object")
        return content
