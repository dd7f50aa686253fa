"""A version that dev has trained comes to prod: two environments in the one account of a local AWS.

What crosses the border between two accounts is tested of the templates:
template_tests/test_infra_promotion.py.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import conftest, life, matrix, scenarios, template

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

SLUG = "flight-delays"
ANSWERS = {"environments": "dev_prod", "monitors": matrix.choices()["monitors"][0]}
PROMOTE = ("models", "promote", "1", "--to", "prod")
# A month of prod, as `poe local` lives it: predictions, their labels, and all monitors.
MONTH = """
import json
from local.lifecycle import Life
life = Life()
said = life.live(life.parts.traffic[0])
found = [(one.monitor, one.version, one.problems) for one in life.monitors]
print(json.dumps({"said": said, "monitors": found}))
"""
#: Another flight than `life.FLIGHT`.
LATER = life.FLIGHT | {
    "carrier": "EV",
    "scheduled_departure": "2013-07-11T23:30:00Z",
    "distance": 187,
}


def take_from_dev(project: Path) -> None:
    """Let prod take versions of dev."""
    path = project / "environments" / "prod.toml"
    before = path.read_text()
    after = before.replace('# models_from = "dev"', 'models_from = "dev"')
    assert before != after
    path.write_text(after)


@dataclass(frozen=True)
class Environment:
    """An environment of a project that lives.

    Attributes:
        lived: The life of dev, whose AWS has both.
        name: Its name.
    """

    lived: life.Life
    name: str

    @property
    def prefix(self) -> str:
        """What its names begin with."""
        return f"{SLUG}-{self.name}"

    def run(self, *command: str) -> str:
        """What a command of the project prints."""
        chosen = self.lived.environment | life.STRICT | {"USECASE_ENVIRONMENT": self.name}
        return template.run(["uv", "run", *command], self.lived.project, chosen)

    def ops(self, *arguments: str) -> str:
        """What `ops` prints, in one line."""
        return " ".join(self.run("ops", *arguments).split())

    def packages(self) -> list[dict[str, Any]]:
        """Its versions, oldest first."""
        sagemaker = self.lived.client("sagemaker")
        listed = sagemaker.list_model_packages(ModelPackageGroupName=self.prefix)
        arns = [one["ModelPackageArn"] for one in listed["ModelPackageSummaryList"]]
        return [sagemaker.describe_model_package(ModelPackageName=arn) for arn in arns]

    def digests(self) -> set[str]:
        """The digests of its images."""
        pages = self.lived.client("ecr").get_paginator("describe_images")
        found = pages.paginate(repositoryName=self.prefix)
        return {one["imageDigest"] for page in found for one in page["imageDetails"]}


@dataclass(frozen=True)
class Both:
    """Both environments.

    Attributes:
        dev: Where version 1 is trained and approved.
        prod: Where it is promoted to.
        refused: What promoting it said before prod was deployed.
    """

    dev: Environment
    prod: Environment
    refused: str


@pytest.fixture(scope="module")
def both(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("promotion") / "own"
    project = conftest.make_project(repository, folder, ANSWERS, take_from_dev)
    first = ["uv", "run", "python", "-c", scenarios.FIRST_STAGES]
    try:
        output = template.run(first, project, life.STRICT | {"USECASE_ENVIRONMENT": "dev"})
        lived = life.lived(project, output, json.loads(output.splitlines()[-1]))
        dev, prod = Environment(lived, "dev"), Environment(lived, "prod")
        with pytest.raises(AssertionError) as caught:
            dev.ops(*PROMOTE)
        # A later commit, whose image is another one: that of the version has to come along.
        with (project / "src" / "usecase" / "version.py").open("a") as later:
            later.write("\n# one more line\n")
        prod.run("poe", "deploy", "--require-approval", "never")
        yield Both(dev, prod, str(caught.value))
    finally:
        life.end(project)


def test_prod_that_is_not_deployed_is_named(both: Both) -> None:
    assert "error: prod lets nobody in: it is not deployed yet" in both.refused


def test_version_serves_in_prod_as_in_dev(both: Both) -> None:
    dev, prod = both.dev, both.prod
    assert prod.digests() & dev.digests() == set()
    assert "Version 1 of dev is version 1 of prod, where it awaits approval" in dev.ops(*PROMOTE)
    # A second time, and once more when it is decided: it is one version.
    again = dev.ops(*PROMOTE)
    assert "is version 1 of prod, PendingManualApproval. Nothing is changed." in again
    (before,), (after,) = dev.packages(), prod.packages()
    assert after["ModelApprovalStatus"] == "PendingManualApproval"
    listed = prod.ops("models", "list")
    assert "PendingManualApproval" in listed
    assert "Version 1 is version 1 of dev" in listed

    assert "Version 1 serves" in prod.ops("models", "approve", "1")
    assert "version 1 of prod, Approved. Nothing is changed." in dev.ops(*PROMOTE)
    assert len(prod.packages()) == 1

    (container,) = after["InferenceSpecification"]["Containers"]
    (digest,) = dev.digests()
    assert container["Image"].endswith(f"/{prod.prefix}@{digest}")
    assert digest in prod.digests()
    assert after["CustomerMetadataProperties"]["ImageDigest"] == digest
    assert after["MetadataProperties"] == before["MetadataProperties"]
    assert f"{SLUG}-dev" not in json.dumps(after["InferenceSpecification"])

    rows = dev.lived.project / "rows.json"
    rows.write_text(json.dumps({"instances": [life.FLIGHT, LATER]}))
    told = [json.loads(one.ops("invoke", str(rows))) for one in (dev, prod)]
    assert told[0] == told[1]
    one, other = told[0]["predictions"]
    assert one != other


def test_monitors_of_prod_judge_the_version(both: Both) -> None:
    found = json.loads(both.prod.run("python", "-c", MONTH).splitlines()[-1])
    assert {name for name, _, _ in found["monitors"]} == set(ANSWERS["monitors"])
    assert [(str(version), problems) for _, version, problems in found["monitors"]] == [
        ("1", [])
    ] * len(found["monitors"]), found


def test_other_version_is_refused(both: Both) -> None:
    with pytest.raises(AssertionError, match="there is no version 9 in the registry; there are: 1"):
        both.dev.ops("models", "promote", "9", "--to", "prod")
    with pytest.raises(AssertionError, match="dev takes no versions of prod"):
        both.prod.ops("models", "promote", "1", "--to", "dev")
