"""An image that processes, trains and serves, for the SDKs and Airflow."""

from __future__ import annotations

import sys
from pathlib import Path

from transform_requests import SERVER

from local_aws.images import Image, Images

URI = "000000000000.dkr.ecr.eu-west-1.amazonaws.com/toy:1"

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


def register(data_dir: Path, folder: Path) -> None:
    """Make the image known to a local AWS.

    Args:
        data_dir: The local AWS's data folder.
        folder: Where the image's program is to lie.
    """
    program = folder / "toy.py"
    program.write_text(_PROGRAM + "else:\n" + "\n".join(f"    {x}" for x in SERVER.split("\n")))
    path = str(Path(sys.executable).parent)
    Images(data_dir).register(URI, Image(folder, path, {}, ["python", str(program)], []))
