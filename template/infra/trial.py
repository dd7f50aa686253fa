"""What SageMaker does not do for serverless endpoints: trials of new versions, and a log."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.permissions import Allow, Arns, names_of, read_objects, write_objects
from usecase import inference_log
from workflows import keys


def try_versions(arns: Arns) -> list[Allow]:
    """Trying a version on an endpoint of its own, with what its schema allows."""
    trial = arns.sagemaker(f"endpoint/{arns.names.trial}")
    configs = arns.sagemaker(f"endpoint-config/{arns.names.prefix}-*")
    reason = "The names are made of the version and the time of its approval"
    return [
        Allow(["sagemaker:CreateEndpoint"], [trial, configs], reason, arns.ours),
        Allow(
            ["sagemaker:DeleteEndpoint", "sagemaker:DescribeEndpoint", "sagemaker:InvokeEndpoint"],
            [trial],
        ),
        Allow(["sagemaker:DeleteModel"], [f"{arns.models}-trial"], reason, arns.ours),
        *read_objects(arns, keys.DEPLOYMENTS, keys.TRAINING),
        write_objects(arns, keys.DEPLOYMENTS),
    ]


def alarm_on_log(scope: Construct) -> None:
    """The alarm on predictions that the endpoint could not log."""
    names = names_of(scope)
    cloudwatch.Alarm(
        scope,
        "LogAlarm",
        alarm_name=names.log_alarm,
        alarm_description=(
            f"Predictions of the endpoint {names.endpoint} could not be logged: no "
            "monitor sees them. Its log /aws/sagemaker/Endpoints/"
            f"{names.endpoint} says why."
        ),
        metric=cloudwatch.Metric(
            namespace=names.metric_namespace,
            metric_name=inference_log.METRIC,
            statistic=cloudwatch.Stats.SUM,
            period=Duration.minutes(5),
        ),
        threshold=1,
        evaluation_periods=1,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
    )
