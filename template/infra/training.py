"""The training workflow."""

from aws_cdk import Stack
from constructs import Construct

from infra.base import BaseStack
from infra.permissions import (
    Arns,
    pull_image,
    read_objects,
    run_container,
    service_role,
    write_objects,
)
from infra.pipelines import Pipeline, register_models
from workflows import names
from workflows.jobs import Settings
from workflows.sagemaker_pipelines import training_definition


class TrainingStack(Stack):
    """The pipeline that trains the model and registers it for approval."""

    def __init__(self, scope: Construct, base: BaseStack) -> None:
        super().__init__(scope, f"{names.PROJECT}-training", env=base.environment_of_all)
        self.add_stack_dependency(base)
        arns = Arns(self)
        jobs_role = service_role(
            self,
            "JobsRole",
            "sagemaker.amazonaws.com",
            [
                *run_container(arns, base.repository_arn),
                *read_objects(arns, "mart/", "training/"),
                write_objects(arns, "training/"),
            ],
        )
        settings = Settings(
            use_case=base.use_case,
            image=base.image_uri,
            role=jobs_role.role_arn,
            bucket=names.bucket(self.account),
            commit=base.commit,
        )
        Pipeline(
            self,
            names.TRAINING,
            training_definition(settings),
            jobs_role,
            [
                register_models(arns),
                # The gate reads the evaluation; the registry looks at the model and at the image.
                *read_objects(arns, "training/"),
                *pull_image(base.repository_arn),
            ],
        )
