"""The deployment of approved versions to the real-time endpoint.

Models, endpoint configurations and the endpoint itself belong to the function `deploy`: were they
part of a stack, `cdk deploy` would roll the model back.
"""

from aws_cdk import Aws, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk.aws_events import EventPattern
from constructs import Construct

from infra.base import BaseStack
from infra.functions import Function
from infra.permissions import (
    Allow,
    Arns,
    list_objects,
    read_objects,
    run_container,
    service_role,
    write_objects,
)
from infra.predictions import Tables
from usecase.hosting import Rollback
from workflows import keys
from workflows.names import VARIANT, Names

BAKE = Duration.minutes(5)
"""How long a new version is watched before the instances of the old one go."""


class ServingStack(Stack):
    """The function `deploy`, what it works with, and what calls it."""

    def __init__(self, scope: Construct, base: BaseStack) -> None:
        self._names = names = base.names
        super().__init__(scope, names.of("serving"), env=base.target_env)
        self.add_stack_dependency(base)
        Tables(self, base.use_case)
        model_role = self._model_role(base)
        self._alarms(base.use_case.rollback)
        arns = Arns(self)
        instances, inference = base.use_case.instances, base.use_case.inference
        most = inference.max_instances or instances.inference_count
        deploy = Function(
            self,
            "deploy.handler",
            {
                "ALARMS": " ".join(alarms(names)),
                "BAKE_SECONDS": str(BAKE.to_seconds()),
                "BUCKET": arns.data,
                "CAPTURE_URI": f"s3://{arns.data}/{keys.CAPTURE.rstrip('/')}",
                "INSTANCE_COUNT": str(instances.inference_count),
                "INSTANCE_TYPE": instances.inference,
                "MAX_INSTANCES": str(most),
                "MODEL_ROLE": model_role.role_arn,
                "PROJECT": names.prefix,
                "REQUESTS_PER_INSTANCE": str(inference.requests_per_instance),
                "SHIFT_PERCENT": str(inference.shift_percent),
                "SHIFT_WAIT_SECONDS": str(inference.shift_wait_seconds),
                "TRAFFIC_SHIFTING": inference.traffic_shifting.upper(),
                "TOPIC": arns.topic,
                **settings(names),
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
                    "ModelPackageGroupName": [names.model_package_group],
                    "ModelPackageStatus": ["Completed"],
                    "ModelApprovalStatus": ["Approved"],
                },
            ),
        )
        if most > instances.inference_count:
            deploy.on(
                "endpoint-in-service",
                EventPattern(
                    source=["aws.sagemaker"],
                    detail_type=["SageMaker Endpoint State Change"],
                    detail={"EndpointName": [names.endpoint], "EndpointStatus": ["IN_SERVICE"]},
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
                *read_objects(arns, keys.TRAINING),
                write_objects(arns, keys.CAPTURE),
                see_alarms(arns),
            ],
        )

    def _alarms(self, rollback: Rollback) -> None:
        """The alarms that roll a deployment back: on errors, and on slow answers.

        SageMaker sends 1 for each request that fails and 0 for each that does not, so the average
        is the error rate. A bad request gets 4xx and does not count.
        """
        errors, latency = self._names.rollback_alarms
        self._alarm(
            "Alarm",
            errors,
            "answers with errors",
            self._average("Invocation5XXErrors", Duration.minutes(5)),
            threshold=rollback.error_rate,
            evaluation_periods=1,
        )
        self._alarm(
            "LatencyAlarm",
            latency,
            "answers slowly",
            self._average("ModelLatency", Duration.minutes(1)),
            threshold=rollback.latency_ms * 1000,  # the metric is in microseconds
            evaluation_periods=5,
            datapoints_to_alarm=2,
        )

    def _alarm(
        self, identifier: str, name: str, complaint: str, metric: cloudwatch.Metric, **when: float
    ) -> None:
        endpoint = self._names.endpoint
        cloudwatch.Alarm(
            self,
            identifier,
            alarm_name=name,
            alarm_description=(
                f"The endpoint {endpoint} {complaint}: more than [rollback] of usecase.toml "
                "allows. A version that is being deployed is rolled back. Look at the log "
                f"/aws/sagemaker/Endpoints/{endpoint}; `uv run ops models list` shows which "
                "version serves."
            ),
            metric=metric,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            **when,
        )

    def _average(self, metric: str, period: Duration) -> cloudwatch.Metric:
        """The average over the endpoint's requests, the statistic that AWS documents for both."""
        return cloudwatch.Metric(
            namespace="AWS/SageMaker",
            metric_name=metric,
            dimensions_map={"EndpointName": self._names.endpoint, "VariantName": VARIANT},
            statistic=cloudwatch.Stats.AVERAGE,
            period=period,
        )

    def _deploy_permissions(self, model_role: iam.Role) -> list[Allow]:
        arns = Arns(self)
        endpoint, configs = endpoint_arns(arns)
        reason = "The names are made of the version and the time of its approval"
        log = f"/aws/sagemaker/Endpoints/{arns.names.endpoint}"
        return [
            *describe_serving(arns),
            # AWS's own policies allow it on what the model is made of, too.
            Allow(["sagemaker:CreateModel"], [arns.models, arns.packages], reason, arns.ours),
            Allow(
                ["sagemaker:CreateEndpointConfig", "sagemaker:DeleteEndpointConfig"],
                [configs],
                reason,
                arns.ours,
            ),
            Allow(
                ["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"],
                [endpoint, configs],
                reason,
                arns.ours,
            ),
            Allow(["sagemaker:DeleteEndpoint"], [endpoint]),
            Allow(["sagemaker:AddTags"], [endpoint, configs, arns.models], reason, arns.ours),
            see_alarms(arns),
            *scale_instances(arns),
            Allow(
                ["logs:CreateLogGroup", "logs:PutRetentionPolicy"],
                [arns.of("logs", f"log-group:{log}"), arns.log_groups(f"{log}:")],
                "CloudWatch Logs ends the ARN of a log group with a star",
            ),
            Allow(["sns:Publish"], [arns.topic]),
            *read_objects(arns, keys.NOTIFICATIONS),
            write_objects(arns, keys.NOTIFICATIONS),
            Allow(
                ["iam:PassRole"],
                [model_role.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            ),
        ]


def settings(names: Names) -> dict[str, str]:
    """What functions that look at the endpoint and its predictions are told of it."""
    return {"ENDPOINT": names.endpoint, "VARIANT": VARIANT}


def alarms(names: Names) -> tuple[str, ...]:
    """The alarms that people are told of."""
    return names.rollback_alarms


def see_alarms(arns: Arns) -> Allow:
    """Looking at the alarms that roll a deployment back."""
    return Allow(
        ["cloudwatch:DescribeAlarms"], [arns.alarm(name) for name in arns.names.rollback_alarms]
    )


def scale_instances(arns: Arns) -> list[Allow]:
    """Letting Application Auto Scaling change the number of the endpoint's instances, or ending it.

    It asks for what it does, and for its alarms, of who registers the endpoint, too.
    """
    service = "sagemaker.application-autoscaling.amazonaws.com"
    role = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
    endpoint, _ = endpoint_arns(arns)
    return [
        Allow(
            [
                "application-autoscaling:DeregisterScalableTarget",
                "application-autoscaling:PutScalingPolicy",
                "application-autoscaling:RegisterScalableTarget",
            ],
            [arns.of("application-autoscaling", "scalable-target/*")],
            "Application Auto Scaling numbers its targets",
            {"StringEquals": {"application-autoscaling:service-namespace": "sagemaker"}},
        ),
        Allow(["sagemaker:UpdateEndpointWeightsAndCapacities"], [endpoint]),
        Allow(
            ["cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm"],
            [arns.alarm(f"TargetTracking-endpoint/{arns.names.endpoint}/*")],
            "Application Auto Scaling names its alarms after the endpoint and a number",
        ),
        Allow(
            ["iam:CreateServiceLinkedRole"],
            [f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/aws-service-role/{service}/{role}"],
            conditions={"StringLike": {"iam:AWSServiceName": service}},
        ),
    ]


def endpoint_arns(arns: Arns) -> tuple[str, str]:
    """The ARNs of the endpoint and of its configurations."""
    endpoint = arns.sagemaker(f"endpoint/{arns.names.endpoint}")
    return endpoint, arns.sagemaker(f"endpoint-config/{arns.names.endpoint}-*")


def describe_serving(arns: Arns) -> list[Allow]:
    """Finding out which version the endpoint serves, and what is known of it."""
    endpoint, configs = endpoint_arns(arns)
    reason = "The names are made of the version and the time of its approval"
    return [
        Allow(["sagemaker:DescribeEndpoint"], [endpoint]),
        Allow(["sagemaker:DescribeEndpointConfig"], [configs], reason, arns.ours),
        Allow(["sagemaker:DescribeModel"], [arns.models], reason, arns.ours),
        Allow(["sagemaker:DescribeModelPackage"], [arns.packages], "The registry numbers them"),
    ]


def find_rollbacks() -> Allow:
    """Finding out whether what serves is the deployment that was tried last."""
    reason = "SageMaker lists the endpoint configurations of an account"
    return Allow(["sagemaker:ListEndpointConfigs"], ["*"], reason)


def find_predictions(arns: Arns) -> list[Allow]:
    """Finding out which version serves, and what every version has predicted when."""
    return [
        *read_objects(arns, keys.CAPTURE),
        list_objects(arns, *keys.COLLECTED),
        *describe_serving(arns),
    ]


def judge_predictions(arns: Arns) -> list[Allow]:
    """Reading what every version has predicted, and collecting what was captured of it."""
    return [
        *read_objects(arns, keys.CAPTURE, *keys.COLLECTED),
        write_objects(arns, *keys.COLLECTED),
    ]


def events(names: Names) -> dict[str, EventPattern]:
    """What people are told of the endpoint."""
    return {
        "endpoint-deployed": EventPattern(
            source=["aws.sagemaker"],
            detail_type=["SageMaker Endpoint State Change"],
            detail={
                "EndpointName": [names.endpoint],
                "EndpointStatus": ["IN_SERVICE", "FAILED", "UPDATE_ROLLBACK_FAILED"],
            },
        )
    }
