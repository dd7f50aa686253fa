"""Programs that use others' libraries against a local AWS, and the image that they use there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from cli_process import Cli
from conftest import REGION, ROLE
from others_tools import environment, run, tool
from transform_requests import SERVER

from local_aws.images.images import Image, Images

IMAGE = "000000000000.dkr.ecr.eu-west-1.amazonaws.com/toy:1"

_PROGRAM = """
import os, sys
from pathlib import Path

base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
if sys.argv[1:] == ["train"]:
    rows = (base / "input/data/train/rows.csv").read_text().split()
    (base / "model/weights").write_text(str(len(rows)))
    print("rows=%d;" % len(rows), flush=True)
elif sys.argv[1] == "process":
    text = (base / "processing/in/rows.csv").read_text()
    (base / "processing/out/rows.csv").write_text(text * int(sys.argv[2]))
    print("processed", flush=True)
"""


def _register(data_dir: Path, folder: Path) -> None:
    """Make the image known to a local AWS.

    Args:
        data_dir: The local AWS's data folder.
        folder: Where the image's program is to lie.
    """
    program = folder / "toy.py"
    program.write_text(_PROGRAM + "else:\n" + "\n".join(f"    {x}" for x in SERVER.split("\n")))
    path = str(Path(sys.executable).parent)
    Images(data_dir).register(IMAGE, Image(folder, path, {}, ["python", str(program)], []))


def use(cli: Cli, packages: tuple[str, ...], program: str, **variables: str) -> dict[str, str]:
    """Run a program of this folder against a fresh local AWS.

    Args:
        cli: The command that starts it.
        packages: What the program needs.
        program: The file's name.
        **variables: Further environment variables.

    Returns:
        What it told of itself, in lines ``TOLD name: text`` among what the libraries log.
    """
    env = environment(**cli.start(f"--region={REGION}")["environment"], **variables)
    cache = run([*tool()[:1], "cache", "dir"], env).stdout.strip()
    _register(cli.data_dir, cli.folder)
    argv = [*tool(*packages), "python", str(Path(__file__).with_name(program)), IMAGE, ROLE]
    env |= {"HOME": str(cli.folder), "UV_CACHE_DIR": cache}
    # The SDK's signs of progress may stand before it on the line.
    return dict(re.findall(r"TOLD (\w+): (.*)", run(argv, env, seconds=900).stdout))
