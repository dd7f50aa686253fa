"""Mails, each sent once."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import boto3

from lambdas.aws import s3
from workflows import keys

if TYPE_CHECKING:
    from types_boto3_sns import SNSClient

SUBJECT_LENGTH = 100  # SNS takes no longer one
# As in "The account-level service limit 'ml.m5.large for training job usage' is 0 Instances, …"
QUOTA = re.compile(r"service limit '([^']+)'")


@dataclass(frozen=True)
class Mail:
    """A mail.

    Attributes:
        about: What it is about; one mail is sent for it, however many events there are.
        subject: ASCII, at most 100 characters.
        text: The text.
    """

    about: str
    subject: str
    text: str


@cache
def sns() -> "SNSClient":
    """The SNS client."""
    return boto3.client("sns")


def send(mail: Mail) -> str:
    """Send a mail unless it was sent before, and keep a copy in S3."""
    bucket = os.environ["BUCKET"]
    key = f"{keys.NOTIFICATIONS}{hashlib.sha256(mail.about.encode()).hexdigest()[:32]}.json"
    if s3().list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"]:
        return "was sent before"
    subject = mail.subject[:SUBJECT_LENGTH]
    sns().publish(TopicArn=os.environ["TOPIC"], Subject=subject, Message=mail.text)
    # The copy comes last: a mail sent twice is better than one not sent.
    content = json.dumps({"subject": subject, "text": mail.text}, indent=2)
    s3().put_object(Bucket=bucket, Key=key, Body=content.encode())
    return "sent"


def quota_advice(reason: str) -> str:
    """What to do about a quota of SageMaker that the reason of a failure names, as a paragraph.

    Empty when it names none.
    """
    found = QUOTA.search(reason)
    if found is None:
        return ""
    return f"""
The quota "{found[1]}" of this account is too low. Find its code and ask for more:
  aws service-quotas list-aws-default-service-quotas --service-code sagemaker \\
    --query "Quotas[?QuotaName=='{found[1]}'].QuotaCode" --output text
  aws service-quotas request-service-quota-increase --service-code sagemaker \\
    --quota-code CODE --desired-value NUMBER
"""
