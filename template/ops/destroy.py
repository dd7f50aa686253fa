"""Tear down: delete what this project runs on AWS, or what an earlier answer has left there."""

import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from ops import OpsError, aws, outside, workflow
from workflows import names

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

console = Console(highlight=False, soft_wrap=True)


def require_consent(*, yes: bool, without: str = "pass --yes to delete anyway") -> None:
    """Go on only when there is somebody to ask, or nobody has to be.

    Args:
        yes: Nobody has to be asked.
        without: What to do where there is nobody.

    Raises:
        typer.Exit: With status 2, when there is no terminal.
    """
    if not yes and not sys.stdin.isatty():
        typer.echo(f"error: there is no terminal to ask at; {without}", err=True)
        raise typer.Exit(2)


def ask(question: str, *, yes: bool, refused: str = "Not deleted.") -> None:
    """Ask before something is done that is not easily undone.

    Args:
        question: The question.
        yes: Do not ask.
        refused: What is said when the answer is no.

    Raises:
        typer.Exit: With status 1, when the answer is no.
    """
    if not yes and not typer.confirm(question):
        typer.echo(refused)
        raise typer.Exit(1)


def destroy(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete all that runs on AWS, after a question; data, registry and images stay.

    It stops the workflows, deletes what approvals have made, and then the stacks but the base.
    When it fails half way, run it again: it goes on with what is still there.
    """
    require_consent(yes=yes)
    there = aws.stacks()
    stacks = [name for name in there if name != aws.base()]
    found = outside.everything()
    stay = staying(base=aws.base() in there)
    if stacks or found != outside.Outside():
        goes = [*found.lines(), *(f"stack {name}" for name in stacks)]
        show(f"Goes, from account {aws.account()} in {names.REGION}:", goes)
        show("Stays, and is billed for what it stores:", stay)
        ask("Delete what goes?", yes=yes)
        delete(found, stacks)
    else:
        console.print(f"Nothing runs in account {aws.account()} in {names.REGION}.")
    show("This stayed, and is billed for what it stores:", stay)
    if stay:
        console.print(how_to_delete_the_rest())


def leftovers(
    remove_them: Annotated[
        bool, typer.Option("--remove", help="Delete these resources, after a question.")
    ] = False,
    data: Annotated[
        bool, typer.Option("--data", help="Delete the old data too, after a question.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    after_deployment: Annotated[bool, typer.Option("--after-deployment", hidden=True)] = False,
) -> None:
    """Show what earlier answers have left behind, and delete it on request.

    No deployment takes it away: what approvals have made in another inference mode, and the stack
    of an answer that is another one now.
    """
    if remove_them or data:
        require_consent(yes=yes)
    try:
        found = outside.left_over(outside.everything())
        prefixes, groups = outside.old_data(), outside.old_logs()
    except (ClientError, BotoCoreError) as error:
        if not after_deployment:
            raise
        # What was deployed is deployed; who may not look here may still do that.
        console.print(f"Whether anything is left over is unknown: {aws.explain(error)}")
        return
    lines = [*found.lines(), *outside.old_lines(prefixes, groups)]
    if not lines:
        if not after_deployment:
            console.print("Nothing is left over from other answers.")
        return
    console.print("Left over from other answers:")
    for line in lines:
        console.print(f"  {line}", soft_wrap=True)
    if remove_them and found != outside.Outside():
        ask("Delete these resources?", yes=yes)
        with console.status("Deleting …") as status:
            outside.remove(found, lambda text: status.update(f"Deleting: {text}"))
        console.print("The resources are deleted.")
    old = [*prefixes, *groups]
    if data and old:
        ask(f"Delete {', '.join(old)}? After 30 days the data is gone, logs are at once.", yes=yes)
        outside.delete_old(prefixes, groups)
        console.print("The data is deleted.")
    if not remove_them and not data:
        options = [
            *(["--remove"] if found != outside.Outside() else []),
            *(["--data"] if old else []),
        ]
        console.print(f"Delete it with `uv run ops leftovers {' '.join(options)}`.")


def delete(found: outside.Outside, stacks: list[str]) -> None:
    """Delete resources and stacks, one after the other.

    Args:
        found: What belongs to no stack.
        stacks: The stacks to delete.

    Raises:
        OpsError: When something cannot be deleted; what is deleted by then stays so.
    """
    with console.status("Stopping the workflows …") as status:
        # Neither a workflow nor what its jobs work with can be deleted while it runs.
        for name in names.current().workflows:
            stop_all(name)
        outside.remove(found, lambda text: status.update(f"Deleting: {text}"))
    if stacks:
        # IAM deletes no role that has a policy of which its stack knows nothing.
        outside.remove_policies(outside.policies())
        delete_stacks(stacks)
    # An approval that came in between was still deployed.
    with console.status("Looking again …") as status:
        outside.remove(outside.everything(), lambda text: status.update(f"Deleting: {text}"))


def stop_all(name: str) -> None:
    """Stop all executions of a workflow, if there is such a workflow, and wait for their end.

    Raises:
        OpsError: When they do not end.
    """

    def ended() -> bool | None:
        running = workflow.running(name)
        for execution in running:
            workflow.stop(execution)
        return None if running else True

    try:
        aws.wait_for(f"the end of {name}", ended, timeout=1800, interval=2)
    except ClientError as error:
        if not aws.is_missing(error):
            raise


def delete_stacks(stacks: list[str]) -> None:
    """Let CDK delete stacks.

    Raises:
        OpsError: When it fails; what it says is on the terminal.
    """
    cdk = tomllib.loads(PYPROJECT.read_text())["tool"]["poe"]["env"]["CDK"]
    command = ["npx", "--yes", cdk, "destroy", "--force", *stacks]
    if subprocess.run(command, cwd=PYPROJECT.parent, check=False).returncode:
        raise OpsError(
            f"{' '.join(command)} failed, see above; when that is fixed, run `uv run poe destroy` "
            "again: it goes on with what is still there"
        )


def staying(*, base: bool) -> list[str]:
    """A line for each thing that is not deleted.

    Args:
        base: Whether the base stack is there.
    """
    lines = [f"stack {aws.base()}"] if base else []
    if has_bucket():
        lines.append(f"data s3://{aws.bucket()}")
    if packages := registered():
        group = names.current().model_package_group
        lines.append(f"registry {group}: {counted(len(packages), 'version')}")
        repositories = Counter(re.split("[:@]", image)[0] for image in images(packages))
        lines.extend(f"{counted(n, 'image')} in {name}" for name, n in repositories.items())
    return lines


def counted(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def has_bucket() -> bool:
    """Whether there is a data bucket."""
    try:
        aws.s3().head_bucket(Bucket=aws.bucket())
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
            return False
        raise
    return True


def registered() -> list[str]:
    """The ARNs of all versions in the registry."""
    pages = aws.sagemaker().get_paginator("list_model_packages")
    try:
        return [
            package["ModelPackageArn"]
            for page in pages.paginate(ModelPackageGroupName=names.current().model_package_group)
            for package in page["ModelPackageSummaryList"]
        ]
    except ClientError as error:
        if aws.is_missing(error):
            return []
        raise


def images(packages: list[str]) -> set[str]:
    """The images that versions run in."""
    described = (aws.sagemaker().describe_model_package(ModelPackageName=p) for p in packages)
    return {
        container["Image"]
        for package in described
        for container in package.get("InferenceSpecification", {}).get("Containers", [])
    }


def how_to_delete_the_rest() -> str:
    """What a person does who needs neither the data nor the versions any more."""
    group = names.current().model_package_group
    return f"""\
When nobody needs the data any more, and no version either:
  1. aws s3 rm --recursive s3://{aws.bucket()}, then "Empty" in the S3 console, which takes the
     earlier versions of the objects too, then aws s3 rb s3://{aws.bucket()}
  2. the versions of {group} in SageMaker Studio, then the group itself
  3. npx aws-cdk destroy {aws.base()}, and the images in ECR
The logs /aws/sagemaker/* in CloudWatch, which all projects of the account share, stay as well."""


def show(heading: str, lines: list[str]) -> None:
    """Print a list, if it holds anything."""
    if lines:
        console.print(heading)
        for line in lines:
            console.print(f"  {line}")
