"""What the README says of operations is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from local_aws import catalogue
from local_aws.sagemaker.operations import DIFFERENCES, OPERATIONS

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_its_table_is_that_of_the_code() -> None:
    found = re.findall(r"<!-- operations -->\n(.*)<!-- end -->", README, re.DOTALL)
    assert found == [f"\n{catalogue.markdown()}\n"], (
        "write what `local-aws operations --markdown` prints between the marks"
    )


def test_every_operation_says_what_it_does() -> None:
    entries = catalogue.entries()
    assert {entry.name for entry in entries} >= OPERATIONS.keys()
    assert [entry.name for entry in entries if not entry.does] == []
    for text in [entry.does for entry in entries] + list(DIFFERENCES.values()):
        assert "|" not in text
        assert "\n" not in text
        assert not text.endswith(".")
