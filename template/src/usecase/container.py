"""The folders by which SageMaker and a container exchange files.

Training: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-dockerfile.html
Processing: https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
"""

import json
import os
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from usecase.errors import UseCaseError

MESSAGE_LENGTH = 1024  # what SageMaker keeps of an exit message and of a failure reason


def root() -> Path:
    """The folder that stands for /opt/ml: `SAGEMAKER_BASE_DIR` outside a container."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def processing_input(name: str) -> Path:
    """The folder of an input of a processing job."""
    return root() / "processing" / "input" / name


def processing_output(name: str = "") -> Path:
    """The folder of an output of a processing job; of all of them without a name."""
    return root() / "processing" / "output" / name


def channel(name: str) -> Path:
    """The folder of an input channel of a training job."""
    return root() / "input" / "data" / name


def model() -> Path:
    """Where training leaves the model and serving finds it."""
    return root() / "model"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UseCaseError: When there is no such file, or something else in it.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UseCaseError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise UseCaseError(f"{path}: is not JSON") from None
    if not isinstance(document, dict):
        raise UseCaseError(f"{path}: is not a JSON object")
    return document


def write_json(path: Path, document: object) -> None:
    """Write JSON; the file is there as a whole or not at all."""
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write(path: Path, write_to: Callable[[Path], object]) -> None:
    """Let a function write a file beside its place, then move it there.

    Args:
        path: The file to be.
        write_to: Called with the path to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        partial = Path(folder) / path.name
        write_to(partial)
        partial.replace(path)


def extract(archive: Path, folder: Path) -> None:
    """Unpack a model.tar.gz.

    Raises:
        UseCaseError: When it is none.
    """
    try:
        with tarfile.open(archive) as tar:
            # Nothing outside the folder; Python 3.11.0 to 3.11.3 cannot see to that.
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
            tar.extractall(folder)  # noqa: S202 - the filter is set
    except (OSError, tarfile.TarError) as error:
        raise UseCaseError(f"{archive}: is not a model archive: {error}") from None


def exit_message(text: str) -> None:
    """Leave the message that DescribeProcessingJob shows as ExitMessage."""
    _leave("message", text)


def failure(text: str) -> None:
    """Leave the reason that DescribeTrainingJob shows in FailureReason."""
    _leave("failure", text)


def _leave(name: str, text: str) -> None:
    content = text[:MESSAGE_LENGTH]
    write(root() / "output" / name, lambda partial: partial.write_text(content, encoding="utf-8"))
