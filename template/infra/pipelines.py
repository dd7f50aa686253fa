"""A workflow in SageMaker Pipelines."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from infra.permissions import Allow, Arns, service_role


class Pipeline(Construct):
    """A pipeline and the role it runs its steps with.

    Attributes:
        arn: ARN of the pipeline.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        definition: Mapping[str, Any],
        jobs_role: iam.Role,
        permissions: Sequence[Allow],
    ) -> None:
        """Create the pipeline.

        Args:
            scope: Where it belongs.
            name: Its name.
            definition: Its definition.
            jobs_role: The role of the jobs that it starts.
            permissions: What it may do besides starting jobs.
        """
        super().__init__(scope, "Pipeline")
        arns = Arns(self)
        role = service_role(
            self,
            "Role",
            "sagemaker.amazonaws.com",
            [
                *(start_jobs(arns, kind) for kind in ("Processing", "Training")),
                Allow(
                    ["iam:PassRole"],
                    [jobs_role.role_arn],
                    conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
                ),
                *permissions,
            ],
        )
        sagemaker.CfnPipeline(
            self,
            "Pipeline",
            pipeline_name=name,
            pipeline_definition={
                "PipelineDefinitionBody": Stack.of(self).to_json_string(definition)
            },
            role_arn=role.role_arn,
        )
        self.arn = arns.pipeline(name)


def start_jobs(arns: Arns, kind: str) -> Allow:
    """Starting, following and stopping the jobs of a pipeline."""
    return Allow(
        [
            *(f"sagemaker:{verb}{kind}Job" for verb in ("Create", "Describe", "Stop")),
            "sagemaker:AddTags",
        ],
        [arns.jobs(f"{kind.lower()}-job")],
        "SageMaker Pipelines makes the names of its jobs, all of them with this prefix",
    )


def register_models(arns: Arns) -> Allow:
    """Registering versions of the model."""
    return Allow(
        ["sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackage", "sagemaker:AddTags"],
        [arns.package_group, arns.packages],
        "The registry numbers the versions",
    )
