"""The largest requests that an asynchronous endpoint takes, through the server and the log."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import template
from tests.conftest import Render

# About as many MB as SageMaker takes; the projects' own tests try some.
BODY_MB = "1000"


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("file", ["test_usecase_serve_async.py", "test_usecase_exchanges.py"])
def test_a_gigabyte_takes_little_memory(
    environment: Callable[[Path], Path], rendered_whole: Render, file: str
) -> None:
    folder = rendered_whole({"inference_mode": "async"})
    programs = environment(folder)
    own = {
        "BODY_MB": BODY_MB,
        "OMP_WAIT_POLICY": "PASSIVE",  # as commands of the image set it
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}/src:{folder}",
    }
    template.run([programs / "pytest", "-k", "little_memory", f"tests/{file}"], folder, own)
