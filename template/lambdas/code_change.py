"""The code that trains, as it is deployed."""

import os
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

import boto3

if TYPE_CHECKING:
    from types_boto3_ssm import SSMClient


@cache
def ssm() -> "SSMClient":
    """The Systems Manager client."""
    return boto3.client("ssm")


def deployed() -> tuple[str, datetime]:
    """What tells the code from every other one that was deployed, and since when it is there, UTC.

    CloudFormation writes the parameter (infra/retraining.py) when the digest in it is another one,
    after the training workflow. Code that comes back has a new number.
    """
    found = ssm().get_parameter(Name=os.environ["CODE"])["Parameter"]
    return f"{found['Value']} {found['Version']}", found["LastModifiedDate"]
