"""The endpoint, which belongs to the deployment and not to a stack."""

import typer
from botocore.exceptions import ClientError
from rich.console import Console

from ops import aws
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
