"""Data files that people bring."""

import csv
import io
import re
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from charset_normalizer import from_bytes

from ops import OpsError

DataFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]
Encoding = Annotated[
    str | None, typer.Option(help="That of a CSV file that is not UTF-8, such as cp932.")
]

DELIMITERS = ",;\t|"
#: What files are written in that are not UTF-8; of those that read a file alike the first is named.
ENCODINGS = (
    *("cp1252", "cp932", "euc_jp", "cp1250", "cp1251"),
    *("gb18030", "cp949", "big5"),
)
#: What SageMaker takes to match predictions and labels by.
INFERENCE_ID = r"^[\x20-\x7e]{1,64}$"
BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16
SHOWN = 40  # characters of a line in a message


def read_table(file: Path, encoding: str | None = None) -> pl.DataFrame:
    """Read a Parquet file, or a CSV file with header.

    Args:
        file: CSV is separated by commas, semicolons, tabs or bars.
        encoding: That of a CSV file; by default UTF-8.

    Returns:
        The table. Of a CSV file all columns are text, as they were written: 00501 and
        1582218195625938945 keep every digit. Empty fields are null.

    Raises:
        OpsError: When the file is neither.
    """
    try:
        if file.suffix.lower() == ".parquet":
            return pl.read_parquet(file)
        return read_csv(file, encoding or "utf-8-sig")
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OpsError(f"{file}: cannot be read: {reason}") from None


def read_csv(file: Path, encoding: str) -> pl.DataFrame:
    """Read a CSV file as text.

    Raises:
        OpsError: When a line has too many or too few fields, a name comes twice, or the encoding
            is another one.
    """
    line = 1
    try:
        with file.open(encoding=encoding, newline="") as lines:
            first = lines.readline()
            delimiter = max(DELIMITERS, key=first.count)
            lines.seek(0)
            rows = csv.reader(lines, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(rows, [])]
            for row in rows:
                line = rows.line_num
                if row and len(row) != len(header):
                    raise OpsError(
                        f"{file}: line {line} has {len(row)} fields, the header has {len(header)}"
                    )
    except LookupError:
        raise OpsError(f"--encoding {encoding}: there is no such encoding") from None
    except UnicodeError:  # UTF-16 without its mark is a UnicodeError and no UnicodeDecodeError
        raise OpsError(f"{file}: {other_encoding(file, encoding, line)}") from None
    except csv.Error as error:
        raise OpsError(f"{file}: is no CSV after line {line}: {error}") from None
    if not any(header):
        raise OpsError(f"{file}: is empty, or its first line is; it must name the columns")
    names = [name or f"column_{place}" for place, name in enumerate(header, 1)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise OpsError(f"{file}: two columns are called {twice!r}; rename one")
    source = file if encoding == "utf-8-sig" else io.BytesIO(file.read_text(encoding).encode())
    table = pl.read_csv(
        source, separator=delimiter, infer_schema=False, new_columns=names, low_memory=True
    )
    table = table.with_columns(pl.all().replace("", None))
    return table.filter(~pl.all_horizontal(pl.all().is_null()))  # a blank line is no row


def other_encoding(file: Path, encoding: str, line: int) -> str:
    """What a message says of a file that is not in the expected encoding.

    Args:
        file: The file.
        encoding: The expected encoding.
        line: The last line that could be read.
    """
    expected = "UTF-8" if encoding == "utf-8-sig" else encoding
    found = [
        f"{name} if {sample!r} is right" for name, sample in guesses(file.read_bytes(), encoding)
    ]
    advice = f"pass --encoding {' or '.join(found)}" if found else "pass --encoding with what it is"
    return f"is not {expected} text (after line {line}); {advice}"


def guesses(content: bytes, wrong: str) -> list[tuple[str, str]]:
    """Encodings that a file may be in, the likeliest first, and a line of it in each.

    The standard library can only try encodings one after the other, and many read any file: the é
    of a French one begins a kanji. charset-normalizer also looks at how likely such text is.

    Args:
        content: The file's.
        wrong: What it is not.
    """
    # None of these separators is the second byte of a character. What is ASCII tells nothing.
    fields = re.split(rb"[,;\t\r\n]", content)
    odd = [*dict.fromkeys(field for field in fields if not field.isascii())][:1000]
    candidates = ["utf_16"] * content.startswith(BYTE_ORDER_MARKS)
    for match in from_bytes(b"\n".join(odd), cp_isolation=[*ENCODINGS]):
        name = min(match.could_be_from_charset, key=ENCODINGS.index)
        candidates.append(name)
    found: dict[str, str] = {}
    for name in candidates:
        try:
            text = content.decode(name)
        except UnicodeError:
            continue
        lines = [line for line in text.splitlines() if not line.isascii()]
        if name != wrong.replace("-", "_").lower():
            found[name] = lines[0][:SHOWN] if lines else text[:SHOWN]
    return [*found.items()][:2]


def require(rows: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Return rows when they have these columns.

    Raises:
        OpsError: When one is missing, or there is no row.
    """
    if missing := [name for name in columns if name not in rows.columns]:
        there = ", ".join(rows.columns)
        raise OpsError(f"missing columns: {', '.join(missing)}; there are {there}")
    if rows.is_empty():
        raise OpsError("the file has no rows")
    return rows


def identifiers(values: pl.Series) -> pl.Series:
    """The ids of records, as text.

    Raises:
        OpsError: When one is empty, or they are floats.
    """
    if values.dtype.is_float():
        raise OpsError(
            f"column {values.name}: is {values.dtype}, in which long ids lose digits; save it as "
            "text or as whole numbers"
        )
    if empty := values.null_count():
        raise OpsError(f"column {values.name}: {empty} rows are empty; fill them or leave them out")
    return values.cast(pl.String)


def spread(rows: pl.DataFrame, sample: int) -> pl.DataFrame:
    """Take `sample` rows, evenly spread; 0 takes all."""
    if not sample or sample >= rows.height:
        return rows
    return rows[[i * rows.height // sample for i in range(sample)]]
