"""A hundred thousand requests that nobody means, to the server of each mode."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import matrix, template
from tests.conftest import Render

#: FUZZ_REQUESTS sends fewer; FUZZ_SEED brings those of another run back, which names its seed.
REQUESTS = os.environ.get("FUZZ_REQUESTS", "100000")


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("mode", matrix.choices()["inference_mode"])
def test_requests_that_nobody_means(
    environment: Callable[[Path], Path], rendered_whole: Render, mode: str
) -> None:
    folder = rendered_whole({"inference_mode": mode})
    programs = environment(folder)
    own = {
        "FUZZ_REQUESTS": REQUESTS,
        "FUZZ_SEED": os.environ.get("FUZZ_SEED", "0"),
        "OMP_WAIT_POLICY": "PASSIVE",  # as commands of the image set it
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}/src:{folder}",
    }
    print(template.run([programs / "pytest", "-s", "tests/test_usecase_fuzz.py"], folder, own))
