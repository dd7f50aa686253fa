"""The mails that tell people what has happened."""

from aws_cdk import (
    Duration,
    Stack,
)
from aws_cdk import (
    aws_cloudwatch as cloudwatch,
)
from aws_cdk import (
    aws_cloudwatch_actions as actions,
)
from aws_cdk import (
    aws_iam as iam,
)
from aws_cdk import (
    aws_sns as sns,
)
from aws_cdk import (
    aws_sns_subscriptions as subscriptions,
)
from aws_cdk.aws_events import EventPattern
from constructs import Construct

from infra.functions import Function
from infra.permissions import Allow, Arns, describe_endpoint, read_objects, write_objects
from workflows import names

WORKFLOWS = (names.TRAINING, names.MONITORING)


class Notifications(Construct):
    """The topic, the function that writes the mails, and the events that they are about."""

    def __init__(self, scope: Construct) -> None:
        super().__init__(scope, "Notifications")
        topic = self._topic()
        self._alarm_on_dead_letters(topic)
        arns = Arns(self)
        notify = Function(
            self,
            "notify.handler",
            {"BUCKET": names.bucket(Stack.of(self).account), "TOPIC": topic.topic_arn},
            [
                Allow(["sns:Publish"], [topic.topic_arn]),
                *read_objects(arns, "notifications/", "training/"),
                write_objects(arns, "notifications/"),
                *describe_endpoint(arns),
                Allow(
                    ["sagemaker:ListPipelineExecutionSteps"],
                    [f"{arns.pipeline(name)}/execution/*" for name in WORKFLOWS],
                    "SageMaker makes the ids of executions",
                ),
            ],
        )
        for name, pattern in self._events().items():
            notify.on(name, pattern)

    def _topic(self) -> sns.Topic:
        """The topic that the mails go to, and who gets them."""
        topic = sns.Topic(self, "Topic", topic_name=names.TOPIC, enforce_ssl=True)
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            )
        )
        if names.NOTIFICATION_EMAIL:
            topic.add_subscription(subscriptions.EmailSubscription(names.NOTIFICATION_EMAIL))
        return topic

    def _alarm_on_dead_letters(self, topic: sns.Topic) -> None:
        """An event was lost. This alarm goes the direct way, for it may be a mail that was lost."""
        alarm = cloudwatch.Alarm(
            self,
            "DeadLettersAlarm",
            alarm_name=names.DEAD_LETTERS,
            alarm_description=(
                f"An event could not be handled. It is in the queue {names.DEAD_LETTERS}; the logs "
                f"/aws/lambda/{names.PROJECT}-* say why."
            ),
            metric=cloudwatch.Metric(
                namespace="AWS/SQS",
                metric_name="ApproximateNumberOfMessagesVisible",
                dimensions_map={"QueueName": names.DEAD_LETTERS},
                statistic=cloudwatch.Stats.MAXIMUM,
                period=Duration.minutes(5),
            ),
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(topic))

    def _events(self) -> dict[str, EventPattern]:
        """What people are told."""
        arns, source = Arns(self), ["aws.sagemaker"]
        alarms = [names.violations_alarm(monitor) for monitor in names.MONITORS]
        return {
            "package-pending": EventPattern(
                source=source,
                detail_type=["SageMaker Model Package State Change"],
                detail={
                    "ModelPackageGroupName": [names.MODEL_PACKAGE_GROUP],
                    "ModelPackageStatus": ["Completed"],
                    "ModelApprovalStatus": ["PendingManualApproval"],
                },
            ),
            "workflow-failed": EventPattern(
                source=source,
                detail_type=["SageMaker Model Building Pipeline Execution Status Change"],
                detail={
                    "pipelineArn": [arns.pipeline(name) for name in WORKFLOWS],
                    "currentPipelineExecutionStatus": ["Failed", "CompletedWithFailures"],
                },
            ),
            "endpoint-deployed": EventPattern(
                source=source,
                detail_type=["SageMaker Endpoint State Change"],
                detail={
                    "EndpointName": [names.ENDPOINT],
                    "EndpointStatus": ["IN_SERVICE", "FAILED", "UPDATE_ROLLBACK_FAILED"],
                },
            ),
            "alarm": EventPattern(
                source=["aws.cloudwatch"],
                detail_type=["CloudWatch Alarm State Change"],
                detail={
                    "alarmName": [*alarms, names.ENDPOINT_ALARM],
                    "state": {"value": ["ALARM"]},
                },
            ),
        }
