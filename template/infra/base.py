"""What the other stacks build on and what outlives them: data, model registry, image."""

from collections.abc import Iterable
from pathlib import Path

from aws_cdk import (
    Acknowledgment,
    DefaultStackSynthesizer,
    Duration,
    Environment,
    RemovalPolicy,
    Stack,
    Validations,
)
from aws_cdk import (
    aws_ecr as ecr,
)
from aws_cdk import (
    aws_ecr_assets as ecr_assets,
)
from aws_cdk import (
    aws_events as events,
)
from aws_cdk import (
    aws_iam as iam,
)
from aws_cdk import (
    aws_s3 as s3,
)
from aws_cdk import (
    aws_sagemaker as sagemaker,
)
from aws_cdk import (
    aws_sqs as sqs,
)
from constructs import Construct

from infra.permissions import ECR_LOGIN, Allow, Arns, names_of, role
from usecase.config import UseCase
from usecase.hosting import MONITORED, needed_days
from workflows import keys
from workflows.jobs import Settings
from workflows.names import REGION

ROOT = Path(__file__).parents[1]


class BaseStack(Stack):
    """The data bucket, the registry, the dead-letter queue and the repository of the images.

    Attributes:
        names: The names of all resources.
        target_env: The account and region of all stacks.
        use_case: The use case.
        repository_arn: ARN of the repository that the images are in.
    """

    def __init__(
        self, scope: Construct, use_case: UseCase, commit: str, account: str | None
    ) -> None:
        self.names = names_of(scope)
        self.target_env = Environment(account=account, region=REGION)
        super().__init__(scope, self.names.of("base"), env=self.target_env)
        self.use_case = use_case
        self._commit = commit
        self._bucket()
        self._registry()
        self._dead_letters()
        self.repository_arn = Arns(self).of("ecr", f"repository/{self.names.repository}")
        self._repository()

    def synthesizer(self) -> DefaultStackSynthesizer:
        """How CDK deploys a stack whose jobs run in the image: it pushes it to the repository.

        CDK's own place for images is that of all projects which were bootstrapped alike. `cdk gc`
        deletes there what no stack refers to, and a registered version is in no stack.
        """
        role = f"role/{self.names.image_publishing_role}"
        return DefaultStackSynthesizer(
            image_assets_repository_name=self.names.repository,
            image_asset_publishing_role_arn=f"arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:{role}",
        )

    def settings(self, jobs_role: iam.Role) -> Settings:
        """What the request bodies of the jobs need to know, for jobs that run with a role.

        The image becomes an asset of the role's stack, which must have the `synthesizer` of this
        one, and is built and pushed before that stack is deployed.
        """
        image = ecr_assets.DockerImageAsset(
            Stack.of(jobs_role),
            "Image",
            directory=str(ROOT),
            platform=ecr_assets.Platform.LINUX_AMD64,  # whatever the machine that deploys
            # CreateModel refuses OCI manifests, which BuildKit makes unless it is told not to.
            outputs=["type=docker,oci-mediatypes=false"],
        )
        return Settings(
            use_case=self.use_case,
            names=self.names,
            image=image.image_uri,
            role=jobs_role.role_arn,
            bucket=self.names.bucket(self.account),
            commit=self._commit,
        )

    def _bucket(self) -> None:
        """The data bucket; it stays when the stack is destroyed."""
        needed = needed_days(self.use_case)
        # What the monitors read stays for as long as they need it, whatever their windows.
        expiring = {
            prefix: max(days, needed) if prefix.rstrip("/") in MONITORED else days
            for prefix, days in keys.EXPIRING.items()
        }
        expiring |= {f"{name}/": days for name, days in self.use_case.log.days.items()}
        bucket = s3.Bucket(
            self,
            "Data",
            bucket_name=self.names.bucket(self.account),
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            versioned=True,
            removal_policy=RemovalPolicy.RETAIN,
            lifecycle_rules=[
                s3.LifecycleRule(
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                    noncurrent_version_expiration=Duration.days(30),
                ),
                *(
                    s3.LifecycleRule(prefix=prefix, expiration=Duration.days(days))
                    for prefix, days in expiring.items()
                ),
            ],
        )
        # As a property of the bucket: CDK's own `event_bridge_enabled` takes a custom resource.
        resource = bucket.node.default_child
        if isinstance(resource, s3.CfnBucket):
            resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
                event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(
                    event_bridge_enabled=True
                )
            )
        reason = "Who reads the data is for the account's CloudTrail data events to record"
        Validations.of(bucket).acknowledge(Acknowledgment(id="AwsSolutions-S1", reason=reason))

    def _registry(self) -> None:
        """The group of all versions of the model; it stays when the stack is destroyed."""
        group = sagemaker.CfnModelPackageGroup(
            self,
            "Models",
            model_package_group_name=self.names.model_package_group,
            model_package_group_description=f"Versions of the model of {self.names.prefix}",
        )
        group.apply_removal_policy(RemovalPolicy.RETAIN)

    def _repository(self) -> None:
        """The repository of the images, which stays, and the role that CDK pushes with.

        Nothing in it expires, for a version of years ago may have to serve again.
        """
        repository = ecr.Repository(
            self,
            "Images",
            repository_name=self.names.repository,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            image_scan_on_push=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        role(
            self,
            "ImagePublishing",
            # Who may take it is for the policies of the people who deploy, as with CDK's own roles.
            iam.AccountRootPrincipal(),
            [
                Allow(
                    [
                        "ecr:BatchCheckLayerAvailability",
                        "ecr:BatchGetImage",
                        "ecr:CompleteLayerUpload",
                        "ecr:DescribeImages",
                        "ecr:DescribeRepositories",
                        "ecr:GetDownloadUrlForLayer",
                        "ecr:InitiateLayerUpload",
                        "ecr:PutImage",
                        "ecr:UploadLayerPart",
                    ],
                    [repository.repository_arn],
                ),
                ECR_LOGIN,
            ],
            self.names.image_publishing_role,
        )

    def _dead_letters(self) -> None:
        """The queue for events that could not be handled, for a person to look at."""
        self._queue = queue = sqs.Queue(
            self,
            "DeadLetters",
            queue_name=self.names.dead_letters,
            retention_period=Duration.days(14),
            enforce_ssl=True,
        )
        reason = "It is the dead-letter queue of the others"
        Validations.of(queue).acknowledge(Acknowledgment(id="AwsSolutions-SQS3", reason=reason))

    def keep_events_of(self, rules: Iterable[events.CfnRule]) -> None:
        """Let rules send the events that could not be handled to the queue, by their names.

        A pattern of names that begin with the project's would let another environment's in.
        """
        arns = Arns(self)
        self._queue.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self._queue.queue_arn],
                conditions={
                    "ArnLike": {
                        "aws:SourceArn": [arns.of("events", f"rule/{rule.name}") for rule in rules]
                    }
                },
            )
        )
