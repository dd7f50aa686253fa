"""What the evaluation of a version has found: its report, and a model card drafted of it."""

import webbrowser
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from lambdas.aws import split_uri
from ops import OpsError, aws, models, times
from ops.models import Version, console
from usecase import container, page

Number = Annotated[int | None, typer.Argument(help="The version. Default: the newest one.")]

CARD = Path("docs", "model-card.md")
OWNERS = "_To be written by those who are responsible for the use case._"


def report(
    version: Number = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to write it. Default: reports/version-N.html.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Fetch the evaluation report of a version, a page for any browser."""
    found = chosen(version)
    path = output or Path("reports", f"version-{found.number}.html")
    # While it was evaluated the version had no number yet.
    content = fetch(found).replace(b"<h1>", b"<h1>Version %d. " % found.number, 1)
    container.write(path, lambda partial: partial.write_bytes(content))
    console.print(f"The report of version {found.number} is in {path}.", soft_wrap=True)
    if open_:
        webbrowser.open(path.resolve().as_uri())


def card(
    version: Number = None,
    output: Annotated[Path, typer.Option(help="Where to write it.")] = CARD,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a card that is there, edited or not.")
    ] = False,
) -> None:
    """Draft the model card of a version, in Markdown, for people to complete."""
    if output.exists() and not overwrite:
        raise OpsError(
            f"{output}: is there, and may be edited; pass --output FILE, or --overwrite to lose it"
        )
    found = chosen(version)
    text = draft(found, aws.read_json(f"{found.evaluation}/evaluation.json"))
    container.write(output, lambda partial: partial.write_text(text, encoding="utf-8"))
    console.print(
        f"The model card of version {found.number} is in {output}. Complete what only you know.",
        soft_wrap=True,
    )


def chosen(number: int | None) -> Version:
    """A version that has a report, the newest one by default.

    Raises:
        OpsError: When there is no version, or it was evaluated before there were reports.
    """
    if number is None:
        found = next(iter(models.versions()), None)
        if found is None:
            raise OpsError("no version is registered yet: `uv run ops train` trains one")
    else:
        found = models.find(number)
    if "Report" not in found.properties:
        raise OpsError(
            f"version {found.number} has no report, it was evaluated before there were any; "
            "`uv run ops train` trains a version with one"
        )
    return found


def fetch(version: Version) -> bytes:
    """The report of a version.

    Raises:
        OpsError: When it is gone.
    """
    uri = version.properties["Report"]
    bucket, key = split_uri(uri)
    try:
        return aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        raise OpsError(f"version {version.number}: its report {uri} is gone") from None


def draft(version: Version, found: Mapping[str, Any]) -> str:
    """A model card in the form of Mitchell et al. (2019), https://arxiv.org/abs/1810.03993.

    Args:
        version: The version.
        found: Its evaluation.json.
    """
    gate, unknown = found["gate"], "not on record"
    side = "at least" if gate["higher_is_better"] else "at most"
    metric = gate["metric"]
    libraries = [f"{name} {number}" for name, number in found["libraries"].items()]
    details = {
        "Version": f"{version.number}, registered {times.show(version.created)}",
        "Training": found["execution"] or unknown,
        "Commit": found["commit"] or unknown,
        "Libraries": ", ".join(libraries) or unknown,
        "Predicts": found["target"]["column"],
        "From": ", ".join(found["features"]),
    }
    data = {
        name: [page.number(part["rows"]), page.span(part)] for name, part in found["data"].items()
    }
    head = ["", "rows", "from, to"]
    values = {
        name: [page.number(entry["value"]), page.interval(entry)]
        for name, entry in found["metrics"].items()
    }
    groups = [
        f"### By {plain(name)}\n\n{table(['group', 'rows', metric], by_group(entries, metric))}"
        for name, entries in [("month", found["months"]), *found["facets"].items()]
    ]
    sections = {
        "Model details": "\n".join(f"- {key}: {plain(text)}" for key, text in details.items()),
        "Intended use": OWNERS,
        "Factors": f"Groups are told apart by: {plain(', '.join(found['facets']) or 'nothing')}.",
        "Metrics": f"The gate: {plain(metric)} is {side} {page.number(gate['threshold'])}. "
        "Intervals are those of 95 % by the percentile bootstrap, as if rows were independent.",
        "Evaluation data": table(head, {"test": data.pop("test")}),
        "Training data": table(head, data),
        "Quantitative analyses": "\n\n".join(
            [table(["metric", "value", "95 % interval"], values), *groups]
        ),
        "Ethical considerations": OWNERS,
        "Caveats and recommendations": f"Groups of few rows are not judged.\n\n{OWNERS}",
    }
    texts = [f"## {heading}\n\n{text}\n" for heading, text in sections.items()]
    return "\n".join([f"# Model card: {version.arn.split('/')[-2]}\n", *texts])


def by_group(groups: Iterable[Mapping[str, Any]], metric: str) -> dict[str, Sequence[str]]:
    """The rows of each group, and what a metric is among them; the report has all metrics."""
    rows: dict[str, Sequence[str]] = {}
    for entry in groups:
        value = page.unjudged(entry)
        if "metrics" in entry:
            found = entry["metrics"][metric]
            value = f"{page.number(found['value'])} ({page.interval(found)})"
        rows[page.group(entry)] = [page.number(entry["rows"]), value]
    return rows


def table(head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """A table of Markdown; what comes from data is text in it, whatever it holds."""
    lines = [head, ["---"] * len(head), *([name, *values] for name, values in rows.items())]
    return "\n".join(f"| {' | '.join(map(plain, line))} |" for line in lines)


def plain(text: str) -> str:
    """Text that is neither markup nor the end of a cell."""
    escaped = "".join(f"\\{each}" if each in "\\`*_[]<>|" else each for each in text)
    return " ".join(escaped.split())
