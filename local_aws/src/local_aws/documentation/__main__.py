"""`python -m local_aws.documentation docs` writes what is between the marks of its files."""

from __future__ import annotations

import sys
from pathlib import Path

from local_aws.documentation import patches, rooms

WRITTEN = {"rooms.md": rooms.markdown, "ministack.md": patches.markdown}
"""What is written, by the file that it is in."""

BEGIN, END = "<!-- written -->\n", "<!-- end -->\n"


def write(folder: Path) -> None:
    """Put what the code says between the marks of the files in a folder.

    Raises:
        ValueError: A file has no marks.
        CircleError: Rooms import each other in a circle, of which there is no drawing.
    """
    for name, markdown in WRITTEN.items():
        file = folder / name
        before, begin, rest = file.read_text().partition(BEGIN)
        _, end, after = rest.partition(END)
        if not end:
            raise ValueError(f"{file} has no lines {BEGIN.strip()} and {END.strip()}")
        file.write_text(f"{before}{begin}\n{markdown()}\n{end}{after}")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
