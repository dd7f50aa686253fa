"""A queue that receives the notifications, as a mailbox would, so that a test can read them."""

import json

import boto3

from workflows import names

QUEUE = f"{names.PROJECT}-inbox"


def subscribe() -> None:
    """Create the queue and subscribe it to the topic."""
    queues = boto3.client("sqs", region_name=names.REGION)
    url = queues.create_queue(QueueName=QUEUE)["QueueUrl"]
    attributes = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    topics = boto3.client("sns", region_name=names.REGION)
    pages = topics.get_paginator("list_topics").paginate()
    topic = next(
        entry["TopicArn"]
        for page in pages
        for entry in page["Topics"]
        if entry["TopicArn"].endswith(f":{names.TOPIC}")
    )
    arn = attributes["Attributes"]["QueueArn"]
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)


def subjects() -> list[str]:
    """Take the notifications that have come out of the queue; their subjects."""
    queues = boto3.client("sqs", region_name=names.REGION)
    url = queues.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    found: list[str] = []
    while messages := queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(json.loads(message["Body"])["Subject"])
            queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found
