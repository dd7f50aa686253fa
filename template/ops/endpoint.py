"""The endpoint, which belongs to the deployment and not to a stack."""

import tempfile
from datetime import timedelta
from pathlib import Path

import typer
from botocore.exceptions import ClientError
from rich.console import Console

from ops import OpsError, aws
from usecase import predictions
from usecase.config import UseCase
from workflows import names

app = typer.Typer(no_args_is_help=True, help=__doc__)
console = Console()


@app.callback()
def group() -> None:
    """The endpoint, which belongs to the deployment and not to a stack."""


@app.command()
def delete() -> None:
    """Delete the endpoint, so that it costs nothing; the next approval creates it again.

    Its configurations and models go too. The versions in the registry stay.
    """
    sagemaker, prefix = aws.sagemaker(), f"{names.ENDPOINT}-"
    try:
        sagemaker.delete_endpoint(EndpointName=names.ENDPOINT)
        console.print(f"Endpoint {names.ENDPOINT} is deleted.")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationException":
            raise
        console.print(f"There is no endpoint {names.ENDPOINT}.")
    for page in sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=prefix):
        for config in page["EndpointConfigs"]:
            if config["EndpointConfigName"].startswith(prefix):
                sagemaker.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
    for models in sagemaker.get_paginator("list_models").paginate(NameContains=prefix):
        for model in models["Models"]:
            if model["ModelName"].startswith(prefix):
                sagemaker.delete_model(ModelName=model["ModelName"])


def serving_package() -> str | None:
    """The ARN of the model package that the endpoint serves, `None` without an endpoint."""
    try:
        endpoint = aws.sagemaker().describe_endpoint(EndpointName=names.ENDPOINT)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationException":  # there is no such endpoint
            return None
        raise
    config_name = endpoint.get("EndpointConfigName")
    if not config_name:
        return None
    config = aws.sagemaker().describe_endpoint_config(EndpointConfigName=config_name)
    model = aws.sagemaker().describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    container = model.get("PrimaryContainer") or model["Containers"][0]
    return container.get("ModelPackageName")


def wait_until_serving(package: str) -> None:
    """Wait until the endpoint is in service with a version.

    Args:
        package: ARN of its model package.

    Raises:
        OpsError: When the deployment failed or does not come to an end.
    """

    def probe() -> bool | None:
        if serving_package() != package:
            return None
        state = aws.sagemaker().describe_endpoint(EndpointName=names.ENDPOINT)
        if state["EndpointStatus"] == "Failed":
            reason = state.get("FailureReason", "")
            raise OpsError(f"deployment of {package} failed: {reason}")
        return True if state["EndpointStatus"] == "InService" else None

    aws.wait_for(f"deployment of {package}", probe, timeout=1800, interval=0.2)


def predicted_ids(use_case: UseCase, hours: float) -> set[str]:
    """The inference ids of the predictions captured within the last hours."""
    start = aws.utc_now() - timedelta(hours=hours)
    prefix = f"capture/{names.ENDPOINT}/{names.VARIANT}/"
    with tempfile.TemporaryDirectory() as folder:
        for i, key in enumerate(aws.keys(prefix)):
            hour = key.removeprefix(prefix).rsplit("/", 1)[0]
            if hour >= f"{start:%Y/%m/%d/%H}":
                aws.s3().download_file(aws.bucket(), key, f"{folder}/{i:06}.jsonl")
        return set(predictions.read(Path(folder), use_case).rows["inference_id"])
