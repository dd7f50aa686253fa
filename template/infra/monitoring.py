"""The monitoring workflow, and the alarms on what it finds."""

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.base import BaseStack
from infra.functions import Function
from infra.notifications import Notifications
from infra.permissions import (
    Allow,
    Arns,
    describe_endpoint,
    list_objects,
    read_objects,
    run_container,
    service_role,
    write_objects,
)
from infra.pipelines import Pipeline
from infra.schedules import Schedule
from workflows import names
from workflows.jobs import Settings
from workflows.sagemaker_pipelines import monitoring_definition

EXPRESSION = "cron(0 1 * * ? *)"
"""01:00 UTC each day, in the syntax of EventBridge Scheduler."""


class MonitoringStack(Stack):
    """The pipeline that monitors, its schedule, its alarms, and the notifications."""

    def __init__(self, scope: Construct, base: BaseStack) -> None:
        super().__init__(scope, f"{names.PROJECT}-monitoring", env=base.environment_of_all)
        self.add_stack_dependency(base)
        arns = Arns(self)
        jobs_role = service_role(
            self,
            "JobsRole",
            "sagemaker.amazonaws.com",
            [
                *run_container(arns, base.repository_arn),
                *read_objects(arns, "capture/", "ground-truth/", "monitoring/", "training/"),
                write_objects(arns, "monitoring/"),
            ],
        )
        settings = Settings(
            use_case=base.use_case,
            image=base.image_uri,
            role=jobs_role.role_arn,
            bucket=names.bucket(self.account),
            commit=base.commit,
        )
        inputs, violations = self._inputs(), self._violations()
        pipeline = Pipeline(
            self,
            names.MONITORING,
            monitoring_definition(settings, inputs.arn, violations.arn),
            jobs_role,
            [Allow(["lambda:InvokeFunction"], [inputs.arn, violations.arn])],
        )
        start = Allow(["sagemaker:StartPipelineExecution"], [pipeline.arn])
        Schedule(self, names.MONITORING, EXPRESSION, start)
        for monitor in names.MONITORS:
            self._alarm(monitor)
        Notifications(self)

    def _inputs(self) -> Function:
        """The function that finds what a monitor has to look at."""
        arns = Arns(self)
        return Function(
            self,
            "monitoring.inputs",
            {
                "BUCKET": names.bucket(self.account),
                "ENDPOINT": names.ENDPOINT,
                "VARIANT": names.VARIANT,
            },
            [
                list_objects(arns, "capture/", "ground-truth/"),
                write_objects(arns, "monitoring/inputs/"),
                *describe_endpoint(arns),
            ],
        )

    def _violations(self) -> Function:
        """The function that counts what a monitor has found."""
        return Function(
            self,
            "monitoring.violations",
            {"METRIC_NAMESPACE": names.METRIC_NAMESPACE},
            [
                *read_objects(Arns(self), "monitoring/"),
                Allow(
                    ["cloudwatch:PutMetricData"],
                    ["*"],
                    "CloudWatch knows no resources here; the condition limits the namespace",
                    conditions={"StringEquals": {"cloudwatch:namespace": names.METRIC_NAMESPACE}},
                ),
            ],
        )

    def _alarm(self, monitor: str) -> None:
        """The alarm on a monitor's violations.

        It is over after one period without a violation, and so goes off again for each run of the
        monitor that finds one.
        """
        name = names.violations_alarm(monitor)
        cloudwatch.Alarm(
            self,
            name,
            alarm_name=name,
            alarm_description=(
                f"The monitor {monitor} has found violations. The report is below "
                f"s3://{names.bucket(self.account)}/monitoring/{monitor}/ and "
                "`uv run ops monitor` shows those of the last hours."
            ),
            metric=cloudwatch.Metric(
                namespace=names.METRIC_NAMESPACE,
                metric_name="Violations",
                dimensions_map={"Monitor": monitor},
                statistic=cloudwatch.Stats.MAXIMUM,
                period=Duration.minutes(5),
            ),
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
