"""Read copier.yml as Copier does, with the files that it includes.

Format: https://copier.readthedocs.io/en/stable/configuring/#include-other-yaml-files, of which only
what copier.yml uses is known: whole documents that name one file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
FILE = "copier.yml"

Document = dict[str, Any]


def read(name: str) -> str:
    """The text of a file of this repository."""
    return (ROOT / name).read_text()


def load(read: Callable[[str], str] = read) -> Document:
    """All that a template's copier.yml holds, the questions in the order in which they are asked.

    Args:
        read: Gives the text of a file of the template by its path: those of another version, too.
    """

    class Loader(yaml.SafeLoader):
        """Knows `!include`."""

    def include(loader: Loader, node: yaml.ScalarNode) -> Document:
        return merged(read(loader.construct_scalar(node)))

    def merged(text: str) -> Document:
        found: Document = {}
        for document in yaml.load_all(text, Loader):
            found |= document
        return found

    Loader.add_constructor("!include", include)
    return merged(read(FILE))
