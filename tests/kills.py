"""Ends what a scene runs on, as the kernel does when memory is short: nothing can be tidied up."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests import life, scenarios, template
from tests.scenarios import Scene

STATUS = """
from local import local_aws
print(local_aws.command("status", "--json").stdout)
"""

# `local_aws.start` begins with nothing.
START = """
import sys
from local import local_aws
from workflows import names
local_aws.command("start", "--port", sys.argv[1], "--region", names.REGION)
"""

# As `local_aws.start` has it.
SOON = {"LOCAL_AWS_LONGEST_BAKE": "2", "LOCAL_AWS_CAPTURE_MINUTES": "0.02"}


def containers(scene: Scene) -> Iterator[int]:
    """The ids of all processes in containers that serve."""
    place = f"{scene.life.project}/.local/aws/endpoints/".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue  # it has ended
        if place in environment and b"SAGEMAKER_BIND_TO_PORT=" in environment:
            yield int(process.name)


def kill_containers(scene: Scene) -> float:
    """Kill each process of the containers that serve.

    Returns:
        When, in seconds since 1970.

    Raises:
        AssertionError: When there is none.
    """
    found = [*containers(scene)]
    if not found:
        raise AssertionError("no container serves")
    killed = time.time()
    for process in found:
        os.kill(process, signal.SIGKILL)
    return killed


def restart_local_aws(scene: Scene) -> float:
    """Kill the local AWS of a scene, and start it again at the same port.

    Returns:
        When it was killed, in seconds since 1970.
    """
    printed = template.run(["uv", "run", "python", "-c", STATUS], scene.life.project)
    killed = time.time()
    os.kill(json.loads(printed)["pid"], signal.SIGKILL)
    port = str(urlsplit(scene.life.environment["AWS_ENDPOINT_URL"]).port)
    settings = life.STRICT | scenarios.DUPLICATES | SOON
    template.run(["uv", "run", "python", "-c", START, port], scene.life.project, settings)
    return killed
