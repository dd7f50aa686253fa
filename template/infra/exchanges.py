"""The ends of requests to the asynchronous endpoint: who is told of them, and what keeps them."""

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.functions import Function
from infra.permissions import Allow, Arns, read_objects, write_objects
from workflows import keys
from workflows.names import VARIANT


class Exchanges(Construct):
    """The topics that SageMaker notifies, and the function that listens to them.

    Attributes:
        topics: ARNs of the topics of answers, and of requests that failed.
    """

    def __init__(self, scope: Construct) -> None:
        super().__init__(scope, "Exchanges")
        arns = Arns(self)
        self._names = names = arns.names
        self.topics = (
            self._topic("Answers", names.answers),
            self._topic("Failures", names.failures),
        )
        function = Function(
            self,
            "exchanges.handler",
            {
                "BUCKET": arns.data,
                "ENDPOINT": names.endpoint,
                "TOPIC": arns.topic,
                "VARIANT": VARIANT,
            },
            [
                *read_objects(arns, keys.ASYNC, keys.NOTIFICATIONS),
                write_objects(arns, keys.CAPTURE, keys.NOTED, keys.NOTIFICATIONS),
                Allow(["sns:Publish"], [arns.topic]),
            ],
        )
        for name, topic in zip(("Answers", "Failures"), self.topics, strict=True):
            lambda_.CfnPermission(
                self,
                f"{name}Permission",
                action="lambda:InvokeFunction",
                function_name=function.arn,
                principal="sns.amazonaws.com",
                source_arn=topic,
            )
            sns.CfnSubscription(
                self,
                f"{name}Subscription",
                topic_arn=topic,
                protocol="lambda",
                endpoint=function.arn,
            )
        self._alarm()

    def _topic(self, identifier: str, name: str) -> str:
        topic = sns.Topic(self, identifier, topic_name=name, enforce_ssl=True)
        arn: str = topic.topic_arn
        return arn

    def _alarm(self) -> None:
        """The alarm on notifications that were not sent: the table lacks these predictions."""
        name = self._names.lost_alarm
        cloudwatch.CfnAlarm(
            self,
            "Alarm",
            alarm_name=name,
            alarm_description=(
                f"The endpoint {self._names.endpoint} has answered requests and could not tell so: "
                "the table of predictions lacks them. The answers are below "
                f"s3://{Arns(self).data}/{keys.ANSWERS}. May the endpoint's role publish to its "
                "topics?"
            ),
            namespace="AWS/SageMaker",
            metric_name="NotificationFailures",
            dimensions=[
                {"name": "EndpointName", "value": self._names.endpoint},
                {"name": "VariantName", "value": VARIANT},
            ],
            statistic="Sum",
            period=300,
            evaluation_periods=1,
            threshold=1,
            comparison_operator="GreaterThanOrEqualToThreshold",
            treat_missing_data="notBreaching",
        )
