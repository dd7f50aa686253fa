"""Who brings versions from one environment to another, and what of each they may touch.

An environment whose file has `models_from` has a role for it, which reads the other environment,
writes here, and registers versions that await approval. Another account takes part by its own
policies on its bucket and its repository, and lets in that role alone.
"""

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from infra.base import BaseStack
from infra.permissions import Allow, Arns, pull_image, read_objects, role
from workflows import keys, overlays
from workflows.promotion import CONTRACT_OUTPUT, FOLDERS, Place, contract, place

PULL = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
MADE = "The keys below these prefixes are made while the workflows run"


def promote(base: BaseStack) -> None:
    """Let versions come from and to an environment, where environments/*.toml say so."""
    here = base.names.environment
    if source := overlays.load(here).models_from:
        _bring(base, place(source, base.account), place(here, base.account))
    for environment in overlays.known():
        if here and overlays.load(environment).models_from == here:
            _let_in(base, place(environment, base.account))


def _bring(base: BaseStack, source: Place, here: Place) -> None:
    """The role that brings versions from another environment.

    Who may take it is for the policies of the people there. It cannot approve: that is for people
    of this environment.
    """
    arns = Arns(base)
    partition = Stack.of(base).partition
    theirs = f"arn:{partition}:s3:::{source.bucket}"
    images = (
        f"arn:{partition}:ecr:{source.region}:{source.account}:repository/{source.names.prefix}"
    )
    role(
        base,
        "Promotion",
        iam.AccountPrincipal(source.account),
        [
            Allow(["s3:GetObject"], [f"{theirs}/{keys.TRAINING}*"], MADE),
            Allow(
                ["s3:ListBucket"],
                [theirs],
                conditions={"StringLike": {"s3:prefix": f"{keys.TRAINING}*"}},
            ),
            Allow(PULL, [images]),
            # What was brought is compared with what is there, and the registry looks at it.
            *read_objects(arns, FOLDERS),
            Allow(["s3:PutObject"], [arns.objects(f"{FOLDERS}*")], MADE),
            *pull_image(base.repository_arn),
            Allow(
                [
                    "ecr:CompleteLayerUpload",
                    "ecr:DescribeImages",
                    "ecr:InitiateLayerUpload",
                    "ecr:PutImage",
                    "ecr:UploadLayerPart",
                ],
                [base.repository_arn],
            ),
            Allow(
                ["sagemaker:CreateModelPackage"],
                [arns.package_group, arns.packages],
                "The registry numbers the versions",
                {"StringEquals": {"sagemaker:ModelApprovalStatus": "PendingManualApproval"}},
            ),
            Allow(
                ["sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages"],
                [arns.package_group, arns.packages],
                "The registry numbers the versions",
            ),
            Allow(
                ["cloudformation:DescribeStacks"],
                [arns.of("cloudformation", f"stack/{name}/*") for name in base.names.stacks],
                "CloudFormation ends the ARN of a stack with an id",
            ),
        ],
        here.role,
    )
    CfnOutput(base, CONTRACT_OUTPUT, value=contract(base.use_case))


def _let_in(base: BaseStack, other: Place) -> None:
    """Let the role of another account read what belongs to the versions of this environment.

    Within an account the role's own policy is enough. The role need not be there yet, so that the
    environments can be deployed one after the other: a policy names no principal that is not there.
    """
    if other.account == base.account:
        return
    partition = Stack.of(base).partition
    principal = iam.AccountPrincipal(other.account).with_conditions(
        {
            "ArnEquals": {
                "aws:PrincipalArn": f"arn:{partition}:iam::{other.account}:role/{other.role}"
            }
        }
    )
    bucket, repository = base.node.find_child("Data"), base.node.find_child("Images")
    if isinstance(bucket, s3.Bucket) and isinstance(repository, ecr.Repository):
        bucket.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[principal],
                actions=["s3:GetObject"],
                resources=[bucket.arn_for_objects(f"{keys.TRAINING}*")],
            )
        )
        bucket.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[principal],
                actions=["s3:ListBucket"],
                resources=[bucket.bucket_arn],
                conditions={"StringLike": {"s3:prefix": f"{keys.TRAINING}*"}},
            )
        )
        repository.add_to_resource_policy(iam.PolicyStatement(principals=[principal], actions=PULL))
