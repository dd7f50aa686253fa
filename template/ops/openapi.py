"""What callers of the API need to know, as an OpenAPI document."""

import json
import tomllib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ops import aws
from usecase import config, openapi
from workflows import names

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

console = Console(highlight=False, soft_wrap=True)


def write(
    file: Annotated[Path, typer.Argument(help="Where to.")] = Path("openapi.json"),
    url: Annotated[
        str, typer.Option(help="Where the API is; by default its stack on AWS is asked.")
    ] = "",
) -> None:
    """Write the OpenAPI document of the API: requests, answers, errors, and who may call."""
    address = url or aws.output(names.current().api, names.API_URL).removesuffix(openapi.PATH)
    version = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["version"]
    document = openapi.document(config.load(), names.current().prefix, version, address)
    file.write_text(f"{json.dumps(document, indent=2, ensure_ascii=False)}\n", encoding="utf-8")
    console.print(f"{file} is written.")
