"""The endpoint, which belongs to the deployment and not to a stack."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from botocore.exceptions import ClientError
from rich.console import Console

from lambdas import recorded_approval
from lambdas.endpoint import package_of
from ops import OpsError, aws, outside
from workflows import names

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef

DEPLOY = "deploy"
"""The function that deploys an approved version."""

app = typer.Typer(no_args_is_help=True, help=__doc__)
console = Console()


@app.callback()
def group() -> None:
    """The endpoint, which belongs to the deployment and not to a stack."""


@app.command()
def delete(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the endpoint, after a question, so that it costs nothing.

    Its configurations and models go too. The versions in the registry stay; the next approval
    creates the endpoint again.
    """
    outside.require_consent(yes=yes)
    found = outside.everything()
    if found == outside.Outside():
        console.print(f"There is no endpoint {names.current().endpoint}.")
        return
    for line in found.lines():
        console.print(line, soft_wrap=True)
    outside.ask("Delete them?", yes=yes)
    with console.status("Deleting …") as status:
        outside.remove(found, lambda text: status.update(f"Deleting: {text}"))
    console.print(f"Endpoint {names.current().endpoint} is deleted.")


def describe() -> "DescribeEndpointOutputTypeDef | None":
    """The endpoint as it is now, `None` if there is none."""
    try:
        return aws.sagemaker().describe_endpoint(EndpointName=names.current().endpoint)
    except ClientError as error:
        if aws.is_missing(error):
            return None
        raise


def serving_package() -> str | None:
    """The ARN of the model package that the endpoint serves, `None` without an endpoint."""
    endpoint = describe()
    config_name = endpoint and endpoint.get("EndpointConfigName")
    if not config_name:
        return None
    return package_of(config_name, aws.sagemaker())


def deployments() -> list[str]:
    """The names of all deployments up to the one that serves, or is about to; oldest first."""
    endpoint = describe()
    if endpoint is None:
        return []
    pending = endpoint.get("PendingDeploymentSummary") or endpoint
    current = pending.get("EndpointConfigName", "")
    found = tried()
    return found[: found.index(current) + 1] if current in found else found


def tried() -> list[str]:
    """The names of all deployments that were tried; oldest first."""
    names_only = (name for name, _ in outside.configs())
    return sorted(filter(outside.is_deployment, names_only), key=outside.approval)


def wait_until_serving(package: str) -> None:
    """Wait until the endpoint is in service with a version.

    Args:
        package: ARN of its model package.

    Raises:
        OpsError: When the deployment failed, was rolled back or does not come to an end.
    """
    found = aws.sagemaker().describe_model_package(ModelPackageName=package)
    since = recorded_approval(found) or datetime.now(UTC)

    def probe() -> bool | None:
        if serving_package() != package:
            if reason := rolled_back(found["ModelPackageVersion"], since):
                raise OpsError(f"deployment of {package} was rolled back: {reason}")
            return None
        state = aws.sagemaker().describe_endpoint(EndpointName=names.current().endpoint)
        if state["EndpointStatus"] == "Failed":
            reason = state.get("FailureReason", "")
            raise OpsError(f"deployment of {package} failed: {reason}")
        return True if state["EndpointStatus"] == "InService" else None

    aws.wait_for(f"deployment of {package}", probe, timeout=1800, interval=0.2)


def rolled_back(version: int, since: datetime) -> str | None:
    """Why SageMaker has rolled back the deployment of a version; `None` if it has not.

    Args:
        version: The version; another one is in service.
        since: When it was approved, UTC: its earlier deployments do not count.
    """
    endpoint = describe()
    if endpoint is None or endpoint["EndpointStatus"] != "InService":
        return None
    approval = since.replace(microsecond=since.microsecond // 1000 * 1000), version
    mine = [name for name in tried() if outside.approval(name)[1] == version]
    if not mine or outside.approval(mine[-1]) < approval:
        return None
    if endpoint.get("EndpointConfigName") == mine[-1]:
        return None
    try:
        config = aws.sagemaker().describe_endpoint_config(EndpointConfigName=mine[-1])
    except ClientError as error:
        if aws.is_missing(error):  # the function that deploys could not try it yet
            return None
        raise
    # It makes the configuration just before it updates the endpoint.
    if config["CreationTime"] >= endpoint["LastModifiedTime"]:
        return None
    log = f"its log is /aws/sagemaker/Endpoints/{names.current().endpoint}"
    return f"{endpoint.get('FailureReason') or 'SageMaker gives no reason'}; {log}"
