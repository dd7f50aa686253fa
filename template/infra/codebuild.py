"""Builds in CodeBuild, of a repository, and where their artifacts are."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import (
    Acknowledgment,
    Duration,
    RemovalPolicy,
    Stack,
    Validations,
)
from aws_cdk import (
    aws_codebuild as codebuild,
)
from aws_cdk import (
    aws_logs as logs,
)
from aws_cdk import (
    aws_s3 as s3,
)
from constructs import Construct

from infra.permissions import Allow, Arns, service_role
from workflows.names import REGION

SERVICES = ("codeconnections", "codestar-connections")
"""The service of connections, and what it was called until 2024."""
CONNECTION = re.compile(
    rf"arn:[a-z-]+:({'|'.join(SERVICES)}):[a-z0-9-]+:[0-9]{{12}}:connection/[0-9a-f-]+"
)
REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)+", re.ASCII)
EXAMPLES = {
    "connection": f"arn:aws:codeconnections:{REGION}:123456789012:connection/ID",
    "repository": "OWNER/NAME",
}
IMAGE = "aws/codebuild/standard:7.0"


@dataclass(frozen=True)
class Source:
    """The repository.

    Attributes:
        connection: ARN of the connection to where it lives.
        repository: Its owner, or its groups, and its name.

    Raises:
        ValueError: When one of them is not written so.
    """

    connection: str
    repository: str

    def __post_init__(self) -> None:
        for name, pattern in (("connection", CONNECTION), ("repository", REPOSITORY)):
            if not pattern.fullmatch(getattr(self, name)):
                raise ValueError(
                    f"{name} {getattr(self, name)!r}: give it as "
                    f"--context {name}={EXAMPLES[name]}, see docs/ci.md"
                )

    @property
    def read(self) -> list[Allow]:
        """Reading this repository, of all that the connection reaches; no writing."""
        return [
            Allow(
                [f"{service}:UseConnection"],
                [self.connection],
                conditions={
                    "StringEquals": {
                        f"{service}:FullRepositoryId": self.repository,
                        f"{service}:ProviderPermissionsRequired": "read_only",
                    }
                },
            )
            for service in SERVICES
        ]


class Room(Construct):
    """What the builds of some pipelines share, and no others: their artifacts and their cache.

    Pull requests have a room of their own, so that none can change what is deployed.

    Attributes:
        bucket: Name of the bucket.
        store: The bucket, after which is made what is told its name.
        objects: Permission to read and write what is in it.
    """

    def __init__(self, scope: Construct, name: str) -> None:
        super().__init__(scope, name.title())
        arns = Arns(self)
        # As long as a name may be, for a project with the longest name in the longest region.
        self.bucket = arns.names.bucket(f"{name}-{Stack.of(self).account}")
        self.store = s3.Bucket(
            self,
            "Artifacts",
            bucket_name=self.bucket,
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            removal_policy=RemovalPolicy.RETAIN,
            lifecycle_rules=[
                s3.LifecycleRule(
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                    expiration=Duration.days(30),
                )
            ],
        )
        reason = "It holds what builds have made for 30 days; the pipelines record each execution"
        Validations.of(self.store).acknowledge(Acknowledgment(id="AwsSolutions-S1", reason=reason))
        self.objects = Allow(
            ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"],
            [f"arn:{Stack.of(self).partition}:s3:::{self.bucket}/*"],
            "CodePipeline names the artifacts of each execution",
        )


class Build(Construct):
    """A project of CodeBuild, with its own role and log.

    Attributes:
        name: Its name.
        makes: Its artifacts: what the checks leave behind.
        run: Permission to run it.
    """

    def __init__(
        self,
        room: Room,
        name: str,
        source: Source,
        takes: tuple[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Create the project.

        Args:
            room: Where its artifacts are.
            name: Its name.
            source: What it builds.
            takes: What it deploys with, the name of its role and the ARN of the one that it takes;
                unless given, it checks.
            variables: Its environment variables.
        """
        super().__init__(room, name)
        self.name = name
        self.makes = [] if takes else ["Reports"]
        arns = Arns(self)
        own, taken = takes or (None, "")
        log = logs.LogGroup(
            self,
            "Log",
            log_group_name=f"/aws/codebuild/{name}",
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=RemovalPolicy.DESTROY,
        )
        permissions = [
            Allow(
                ["logs:CreateLogStream", "logs:PutLogEvents"],
                [arns.log_groups(f"/aws/codebuild/{name}:")],
                "CodeBuild names the streams of a project's log",
            ),
            room.objects,
            *source.read,
        ]
        if takes:
            permissions.append(Allow(["sts:AssumeRole"], [taken]))
        else:
            reports = arns.of("codebuild", f"report-group/{name}-tests")
            actions = ("BatchPutTestCases", "CreateReport", "CreateReportGroup", "UpdateReport")
            permissions.append(Allow([f"codebuild:{one}" for one in actions], [reports]))
        role = service_role(self, "Role", "codebuild.amazonaws.com", permissions, own)
        project = codebuild.CfnProject(
            self,
            "Project",
            name=name,
            service_role=role.role_arn,
            source=codebuild.CfnProject.SourceProperty(
                type="CODEPIPELINE",
                build_spec=f"buildspecs/{'deploy' if takes else 'verify'}.yml",
            ),
            artifacts=codebuild.CfnProject.ArtifactsProperty(type="CODEPIPELINE"),
            # What is deployed is made of nothing that another build has left behind.
            cache=None
            if takes
            else codebuild.CfnProject.ProjectCacheProperty(
                type="S3", location=f"{room.bucket}/cache"
            ),
            encryption_key="alias/aws/s3",
            environment=codebuild.CfnProject.EnvironmentProperty(
                type="LINUX_CONTAINER",
                image=IMAGE,
                compute_type="BUILD_GENERAL1_MEDIUM",
                privileged_mode=takes is not None,
                environment_variables=[
                    codebuild.CfnProject.EnvironmentVariableProperty(name=key, value=value)
                    for key, value in (variables or {}).items()
                ],
            ),
            logs_config=codebuild.CfnProject.LogsConfigProperty(
                cloud_watch_logs=codebuild.CfnProject.CloudWatchLogsConfigProperty(
                    status="ENABLED", group_name=log.log_group_name
                )
            ),
            timeout_in_minutes=60 if takes else 45,
        )
        project.node.add_dependency(room.store)
        reasons = {"CB4": "AWS's own key for S3 encrypts artifacts, as it does the data"}
        if takes:
            reasons["CB3"] = "Docker, which builds the image, runs in the build's own container"
        for rule, reason in reasons.items():
            acknowledgment = Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason)
            Validations.of(project).acknowledge(acknowledgment)
        self.run = Allow(
            ["codebuild:BatchGetBuilds", "codebuild:StartBuild"],
            [arns.of("codebuild", f"project/{name}")],
        )
