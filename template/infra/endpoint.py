"""The deployment of approved versions to the real-time endpoint.

Models, endpoint configurations and the endpoint itself belong to the function `deploy`: were they
part of a stack, `cdk deploy` would turn the model back.
"""

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk.aws_events import EventPattern
from constructs import Construct

from infra.base import BaseStack
from infra.functions import Function
from infra.permissions import (
    Allow,
    Arns,
    read_objects,
    run_container,
    service_role,
    write_objects,
)
from workflows import names

PREDICTIONS = "capture/"
"""Where in the data bucket the predictions are."""

SETTINGS = {"ENDPOINT": names.ENDPOINT, "VARIANT": names.VARIANT}
"""What functions that look at the endpoint and its predictions are told of it."""

ALARMS = (names.ENDPOINT_ALARM,)
ERRORS_A_MINUTE = 5
BAKE = Duration.minutes(5)
"""How long a new version is watched before the instances of the old one go."""


class ServingStack(Stack):
    """The function `deploy`, what it works with, and what calls it."""

    def __init__(self, scope: Construct, base: BaseStack) -> None:
        super().__init__(scope, f"{names.PROJECT}-serving", env=base.environment_of_all)
        self.add_stack_dependency(base)
        model_role = self._model_role(base)
        self._alarm()
        instances = base.use_case.instances
        deploy = Function(
            self,
            "deploy.handler",
            {
                "ALARM": names.ENDPOINT_ALARM,
                "BAKE_SECONDS": str(BAKE.to_seconds()),
                "CAPTURE_URI": f"s3://{names.bucket(self.account)}/{PREDICTIONS.rstrip('/')}",
                "INSTANCE_COUNT": str(instances.inference_count),
                "INSTANCE_TYPE": instances.inference,
                "MODEL_ROLE": model_role.role_arn,
                **SETTINGS,
            },
            self._deploy_permissions(model_role),
            # It waits for a deployment that is going on; Lambda allows no more.
            timeout=Duration.minutes(15),
        )
        deploy.on(
            "package-approved",
            EventPattern(
                source=["aws.sagemaker"],
                detail_type=["SageMaker Model Package State Change"],
                detail={
                    "ModelPackageGroupName": [names.MODEL_PACKAGE_GROUP],
                    "ModelPackageStatus": ["Completed"],
                    "ModelApprovalStatus": ["Approved"],
                },
            ),
        )

    def _model_role(self, base: BaseStack) -> iam.Role:
        """The role of the endpoint's instances."""
        arns = Arns(self)
        return service_role(
            self,
            "ModelRole",
            "sagemaker.amazonaws.com",
            [
                *run_container(arns, base.repository_arn),
                *read_objects(arns, "training/"),
                write_objects(arns, PREDICTIONS),
                Allow(["cloudwatch:DescribeAlarms"], [arns.alarm(names.ENDPOINT_ALARM)]),
            ],
        )

    def _alarm(self) -> None:
        """The alarm that turns a deployment back: a bad request gets 4xx, not 5xx."""
        cloudwatch.Alarm(
            self,
            "Alarm",
            alarm_name=names.ENDPOINT_ALARM,
            alarm_description=(
                f"The endpoint {names.ENDPOINT} answers with errors. During a deployment SageMaker "
                "turns back to the version before. Look at the endpoint's log in CloudWatch."
            ),
            metric=cloudwatch.Metric(
                namespace="AWS/SageMaker",
                metric_name="Invocation5XXErrors",
                dimensions_map={"EndpointName": names.ENDPOINT, "VariantName": names.VARIANT},
                statistic=cloudwatch.Stats.SUM,
                period=Duration.minutes(1),
            ),
            threshold=ERRORS_A_MINUTE,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

    def _deploy_permissions(self, model_role: iam.Role) -> list[Allow]:
        arns = Arns(self)
        endpoint, configs = endpoint_arns(arns)
        reason = "The names are made of the version and the time of its approval"
        return [
            *describe_serving(arns),
            Allow(["sagemaker:CreateModel"], [arns.models], reason),
            Allow(["sagemaker:CreateEndpointConfig"], [configs], reason),
            Allow(
                ["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"],
                [endpoint, configs],
                reason,
            ),
            Allow(["sagemaker:DeleteEndpoint"], [endpoint]),
            Allow(["cloudwatch:DescribeAlarms"], [arns.alarm(names.ENDPOINT_ALARM)]),
            Allow(
                ["iam:PassRole"],
                [model_role.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            ),
        ]


def endpoint_arns(arns: Arns) -> tuple[str, str]:
    """The ARNs of the endpoint and of its configurations."""
    endpoint = arns.sagemaker(f"endpoint/{names.ENDPOINT}")
    return endpoint, arns.sagemaker(f"endpoint-config/{names.ENDPOINT}-*")


def describe_serving(arns: Arns) -> list[Allow]:
    """Finding out which version the endpoint serves, and what is known of it."""
    endpoint, configs = endpoint_arns(arns)
    reason = "The names are made of the version and the time of its approval"
    return [
        Allow(["sagemaker:DescribeEndpoint"], [endpoint]),
        Allow(["sagemaker:DescribeEndpointConfig"], [configs], reason),
        Allow(["sagemaker:DescribeModel"], [arns.models], reason),
        Allow(["sagemaker:DescribeModelPackage"], [arns.packages], "The registry numbers them"),
    ]


def find_predictions(arns: Arns) -> list[Allow]:
    """Finding out which version serves, and what every version has predicted when."""
    return [*read_objects(arns, PREDICTIONS), *describe_serving(arns)]


def events() -> dict[str, EventPattern]:
    """What people are told of the endpoint."""
    return {
        "endpoint-deployed": EventPattern(
            source=["aws.sagemaker"],
            detail_type=["SageMaker Endpoint State Change"],
            detail={
                "EndpointName": [names.ENDPOINT],
                "EndpointStatus": ["IN_SERVICE", "FAILED", "UPDATE_ROLLBACK_FAILED"],
            },
        )
    }
