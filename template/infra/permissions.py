"""Roles that may do what is written down for them, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aws_cdk import (
    Acknowledgment,
    App,
    DefaultStackSynthesizer,
    Stack,
    Token,
    Validations,
)
from aws_cdk import aws_iam as iam
from constructs import Construct

from workflows.names import Names


@dataclass(frozen=True)
class Allow:
    """A permission.

    Attributes:
        actions: What is allowed; no wildcards.
        resources: ARNs of what it is allowed on.
        reason: Why an ARN has a wildcard in it. Without a reason none may have.
        conditions: When it is allowed.
    """

    actions: Sequence[str]
    resources: Sequence[str]
    reason: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)


ECR_LOGIN = Allow(
    ["ecr:GetAuthorizationToken"], ["*"], "ECR gives the token for the whole registry"
)


def service_role(
    scope: Construct,
    name: str,
    service: str,
    permissions: Sequence[Allow],
    role_name: str | None = None,
) -> iam.Role:
    """Create a role for an AWS service, for example `sagemaker.amazonaws.com`; see `role`."""
    return role(scope, name, iam.ServicePrincipal(service), permissions, role_name)


def role(
    scope: Construct,
    name: str,
    principal: iam.IPrincipal,
    permissions: Sequence[Allow],
    role_name: str | None = None,
) -> iam.Role:
    """Create a role.

    Args:
        scope: Where the role belongs.
        name: The construct's id.
        principal: Who may take the role.
        permissions: What it may do. CDK's own `grant_*` would add to them with wildcards.
        role_name: Its name; one that CloudFormation makes unless given.

    Raises:
        ValueError: When there is a wildcard without a reason.
    """
    created = iam.Role(
        scope,
        name,
        assumed_by=principal,
        role_name=role_name,
        inline_policies={"permissions": document(permissions)},
    )
    acknowledge(created, permissions)
    return created


def document(permissions: Sequence[Allow]) -> iam.PolicyDocument:
    """Permissions as a policy."""
    return iam.PolicyDocument(
        statements=[
            iam.PolicyStatement(
                actions=list(allow.actions),
                resources=list(allow.resources),
                conditions=dict(allow.conditions) or None,
            )
            for allow in permissions
        ]
    )


def acknowledge(created: Construct, permissions: Sequence[Allow]) -> None:
    """Give the reasons for the wildcards in the policy of a role.

    Raises:
        ValueError: When there is a wildcard without a reason.
    """
    where = created.node.path
    for allow in permissions:
        if any("*" in action for action in allow.actions):
            raise ValueError(f"{where}: name the actions instead of {allow.actions}")
        for resource in allow.resources:
            if "*" in resource:
                if not allow.reason:
                    raise ValueError(f"{where}: {resource} needs a reason")
                rule = f"AwsSolutions-IAM5[Resource::{readable(created, resource)}]"
                Validations.of(created).acknowledge(Acknowledgment(id=rule, reason=allow.reason))


def readable(scope: Construct, arn: str) -> str:
    """An ARN as cdk-nag writes it: without an account, CloudFormation's parameters stand in it."""
    stack = Stack.of(scope)
    for value, parameter in ((stack.account, "AccountId"), (stack.partition, "Partition")):
        if Token.is_unresolved(value):
            arn = arn.replace(value, f"<AWS::{parameter}>")
    return arn


CONTEXT = "usecase:names"
"""Where CDK's context holds the names of the app's environment."""


def set_names(app: App, names: Names) -> None:
    """Choose the names of all that will be put into an app."""
    app.node.set_context(CONTEXT, asdict(names))


def names_of(scope: Construct) -> Names:
    """The names of the environment that a construct is for."""
    return Names(**scope.node.get_context(CONTEXT))


class Arns:
    """The ARNs of this use case's resources, made of their names: no stack has to import them.

    Attributes:
        names: The names.
        ours: The condition that a resource, if there is one and it has tags, is this environment's.
            A pattern of names that begin with the project's is also that of `<project>-dev`.
    """

    def __init__(self, scope: Construct) -> None:
        self._stack = Stack.of(scope)
        self.names = names = names_of(scope)
        self.ours = {"StringEqualsIfExists": {"aws:ResourceTag/project": names.prefix}}
        self.data = names.bucket(self._stack.account)
        self.bucket = f"arn:{self._stack.partition}:s3:::{self.data}"
        self.dead_letters = self.of("sqs", names.dead_letters)
        self.models = self.of("sagemaker", f"model/{names.prefix}-*")
        self.package_group = self.of(
            "sagemaker", f"model-package-group/{names.model_package_group}"
        )
        self.topic = self.of("sns", names.topic)
        qualifier = self._stack.node.try_get_context("@aws-cdk/core:bootstrapQualifier")
        self.bootstrap_images = self.of(
            "ecr",
            f"repository/cdk-{qualifier or DefaultStackSynthesizer.DEFAULT_QUALIFIER}"
            f"-container-assets-{self._stack.account}-{self._stack.region}",
        )
        self.packages = self.of("sagemaker", f"model-package/{names.model_package_group}/*")

    def alarm(self, name: str) -> str:
        """An alarm."""
        return self.of("cloudwatch", f"alarm:{name}")

    def log_groups(self, prefix: str) -> str:
        """All log groups whose names begin alike, with their streams."""
        return self.of("logs", f"log-group:{prefix}*")

    def objects(self, pattern: str) -> str:
        """Objects of the data bucket."""
        return f"{self.bucket}/{pattern}"

    def sagemaker(self, resource: str) -> str:
        """A resource of SageMaker, or several by a pattern."""
        return self.of("sagemaker", resource)

    def of(self, service: str, resource: str) -> str:
        """A resource of a service, or several by a pattern."""
        stack = self._stack
        return f"arn:{stack.partition}:{service}:{stack.region}:{stack.account}:{resource}"


def list_objects(arns: Arns, *prefixes: str) -> Allow:
    """Listing the data bucket's keys that begin in one of some ways."""
    return Allow(
        ["s3:ListBucket"],
        [arns.bucket],
        conditions={"StringLike": {"s3:prefix": [f"{prefix}*" for prefix in prefixes]}},
    )


def read_objects(arns: Arns, *prefixes: str) -> list[Allow]:
    """Reading and listing what is below some prefixes of the data bucket."""
    keys = [arns.objects(f"{prefix}*") for prefix in prefixes]
    reason = "The keys below these prefixes are made while the workflows run"
    return [Allow(["s3:GetObject"], keys, reason), list_objects(arns, *prefixes)]


def write_objects(arns: Arns, *prefixes: str) -> Allow:
    """Writing below some prefixes of the data bucket."""
    keys = [arns.objects(f"{prefix}*") for prefix in prefixes]
    reason = "The keys below these prefixes are made while the workflows run"
    return Allow(["s3:PutObject", "s3:AbortMultipartUpload"], keys, reason)


def put_metrics(arns: Arns) -> Allow:
    """Writing metrics of this use case."""
    return Allow(
        ["cloudwatch:PutMetricData"],
        ["*"],
        "CloudWatch knows no resources here; the condition limits the namespace",
        conditions={"StringEquals": {"cloudwatch:namespace": arns.names.metric_namespace}},
    )


def pull_image(*repository_arns: str) -> list[Allow]:
    """Pulling images of some repositories."""
    return [
        Allow(
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
            ],
            repository_arns,
        ),
        ECR_LOGIN,
    ]


def run_container(arns: Arns, repository_arn: str) -> list[Allow]:
    """What SageMaker needs for every container: pull the image, write logs and metrics.

    See "SageMaker AI execution roles" in the developer guide.
    """
    return [
        # Versions from before the project had a repository of its own are in CDK's.
        *pull_image(repository_arn, arns.bootstrap_images),
        Allow(
            [
                "logs:CreateLogGroup",
                "logs:CreateLogStream",
                "logs:DescribeLogStreams",
                "logs:PutLogEvents",
            ],
            [arns.log_groups("/aws/sagemaker/")],
            "SageMaker names log groups and streams after the kind and the name of the job",
        ),
        Allow(
            ["cloudwatch:PutMetricData"],
            ["*"],
            "CloudWatch knows no resources here; the condition limits the namespace",
            conditions={"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}},
        ),
    ]


def register_models(arns: Arns) -> Allow:
    """Registering versions of the model."""
    return Allow(
        ["sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackage", "sagemaker:AddTags"],
        [arns.package_group, arns.packages],
        "The registry numbers the versions",
    )
