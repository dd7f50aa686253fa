"""The archives of Lambda layers, kept as ministack keeps functions' code: in files of their own.

ministack holds them in the state itself, which is written whole with each change and each call of a
function: the five layers of a project with Airflow made 147 MB of it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local_aws.host.internals import module

_ARCHIVE = "_zip_data"


def apply() -> None:
    """Keep the archives of layers beside the state.

    Here: a layer is published once, and its archive is not written again with each change.
    """
    functions = module("services.lambda_svc")
    read, load = functions.get_state, functions.load_persisted_state

    def get_state() -> dict[str, Any]:
        state: dict[str, Any] = read()
        for version in _versions(state["layers"]):
            if isinstance(version[_ARCHIVE], bytes):
                version[_ARCHIVE] = {functions._BLOB_REF_KEY: _kept(version)}
        return state

    def load_persisted_state(state: dict[str, Any] | None) -> None:
        for version in _versions((state or {}).get("layers")):
            if isinstance(version[_ARCHIVE], dict):
                digest = version[_ARCHIVE][functions._BLOB_REF_KEY]
                version[_ARCHIVE] = functions._read_code_blob(digest)
        load(state)

    functions.get_state, functions.load_persisted_state = get_state, load_persisted_state


def archives() -> set[str]:
    """Return the SHA-256 of each layer's archive, as its file is named."""
    layers = module("services.lambda_svc")._layers
    return {_digest(version) for version in _versions(layers) if version[_ARCHIVE]}


def _versions(layers: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - ministack has no types
    """Yield the versions of all layers, of every account and region."""
    for layer in list(layers._data.values()) if layers is not None else ():
        yield from layer["versions"]


def _digest(version: dict[str, Any]) -> str:
    return base64.b64decode(version["Content"]["CodeSha256"]).hex()


def _kept(version: dict[str, Any]) -> str:
    """Write an archive unless its file is there, and return its name."""
    functions = module("services.lambda_svc")
    digest = _digest(version)
    if not Path(functions.CODE_BLOB_DIR, f"{digest}.zip").exists():
        functions._write_code_blob(version[_ARCHIVE])
    return digest
