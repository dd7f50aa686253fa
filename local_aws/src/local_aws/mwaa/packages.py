"""The Python environments of Airflow: one for each version and requirements, kept with the images.

`pins/` has, for each version, what the image of Amazon MWAA has of these packages: Airflow and the
Amazon provider with all that they need, after the image's constraints
(https://github.com/aws/amazon-mwaa-docker-images, `images/airflow/<version>/etc`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from local_aws.images.environments import (
    Layers,
    find_python,
    host_environment,
    prefix,
    uv_program,
)
from local_aws.settings import Settings

VERSIONS = ("3.0.6", "3.2.1", "3.3.1")
"""Versions of Airflow that there are here."""

DEFAULT_VERSION = "3.2.1"
"""The version of an environment that asks for none."""

CONTAINER_HOME = "/usr/local/airflow/"
"""AIRFLOW_HOME on MWAA, which requirements may name."""

_PINS = Path(__file__).with_name("pins")
# The image's, and other versions for which the same packages install.
_PYTHONS = ("3.12", ">=3.10,<3.13")
# As MWAA looks for it, in comments too, by which users turn its own constraints off.
_HAS_CONSTRAINTS = re.compile(r"^.*(?:-c |--constraint )", re.MULTILINE)


class InstallationError(Exception):
    """The packages of an environment could not be installed."""


def install(
    settings: Settings,
    version: str,
    requirements: str,
    home: Path,
    run: Callable[[list[str], dict[str, str]], None],
) -> Path:
    """Return an environment for a version and requirements, made if it is not there.

    Args:
        settings: Where it is kept, and how package indexes are reached.
        version: Version of Airflow.
        requirements: Text of requirements.txt.
        home: AIRFLOW_HOME; requirements name it as on MWAA.
        run: Runs a program with an environment, and raises if it fails.

    Returns:
        The folder that has `bin/python`.

    Raises:
        InstallationError: There is no Python for it, or `run` raised it.
    """
    text = requirements.replace(CONTAINER_HOME, f"{home}/")
    pins = (_PINS / f"{version}.txt").read_text()
    named = [Path(path) for path in re.findall(rf"{re.escape(str(home))}/\S+", text)]
    files = [path.read_bytes() for path in named if path.is_file()]
    digest = hashlib.sha256(b"\0".join([pins.encode(), text.encode(), *files])).hexdigest()

    def make(root: Path) -> None:
        python = next(filter(None, (find_python("--no-project", each) for each in _PYTHONS)), None)
        if python is None:
            raise InstallationError(f"Airflow needs Python {_PYTHONS[0]}, which is not installed")
        env = host_environment(settings.installing)
        run([uv_program(), "venv", "--no-project", "--python", python, prefix(root)], env)
        (root / "pins.txt").write_text(pins)
        (root / "requirements.txt").write_text(text)
        own = () if _HAS_CONSTRAINTS.search(text) else ("-c", str(root / "pins.txt"))
        (root / "airflow.txt").write_text(f"apache-airflow=={version}\n")
        command = [uv_program(), "pip", "install", "--no-config", "--compile-bytecode"]
        command += ["--python", f"{prefix(root)}/bin/python"]
        run([*command, "-r", str(root / "pins.txt")], env)
        if text.strip():
            # Airflow's own version is not the user's to change.
            run(
                [
                    *command,
                    "-c",
                    str(root / "airflow.txt"),
                    *own,
                    "-r",
                    str(root / "requirements.txt"),
                ],
                env,
            )

    name = f"airflow-{version}-{digest[:16]}"
    return Path(prefix(Layers(settings.data_dir.resolve() / "images").get(name, make)))
