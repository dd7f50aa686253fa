"""What SageMaker's operations need, against the Service Authorization Reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conftest import ROLE, Aws
from generated_requests import fuzz, valid
from hypothesis import given

from local_aws.sagemaker.core import permissions
from local_aws.sagemaker.core.kinds import KINDS
from local_aws.sagemaker.core.operations import OPERATIONS
from local_aws.sagemaker.core.protocol import input_shape

# Of "Actions, resources, and condition keys for Amazon SageMaker AI": the types of resources that
# each action needs or may name, and whether it passes a role. AddTags and its like take any type.
REFERENCE: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "golden" / "permissions.json").read_text()
)
ANY_TYPE = ("AddTags", "ListTags", "DeleteTags")


def resource_type(arn: str) -> str:
    """The type of a resource, as the reference calls it."""
    path = arn.split(":", 5)[5] if arn != "*" else ""
    return "pipeline-execution" if "/execution/" in path else path.partition("/")[0]


def check(aws: Aws, operation: str, request: dict[str, Any]) -> None:
    stated = REFERENCE[operation]
    needs = permissions.needs(aws.service, operation, request)
    own = [need for need in needs if need.action == f"sagemaker:{operation}"]
    named = [{resource_type(arn) for arn in need.resources} for need in own if not need.doubt]
    if stated["required"]:
        assert sorted(map(sorted, named)) == [[kind] for kind in stated["required"]], operation
    else:
        assert set.union(*named) <= {*stated["optional"], ""}, operation
    passed = [need for need in needs if need.action == "iam:PassRole"]
    services = {need.context["iam:PassedToService"] for need in passed}
    assert services <= {"sagemaker.amazonaws.com"}
    assert bool(passed) <= stated["passes"], operation


def check_generated(aws: Aws, operation: str) -> None:
    @fuzz(5)
    @given(valid(input_shape(operation)))
    def generated(request: dict[str, Any]) -> None:
        for member in ("PipelineExecutionArn", "ReferencePipelineExecutionArn"):
            if member in request:
                request[member] = f"{aws.service.arn('Pipeline', 'p')}/execution/abc"
        check(aws, operation, request)

    generated()


def test_an_operation_needs_what_the_reference_says(aws: Aws) -> None:
    for operation in sorted(OPERATIONS.keys() - {*ANY_TYPE}):
        check_generated(aws, operation)


def test_roles_are_passed_by_every_operation_that_takes_one() -> None:
    for operation in OPERATIONS:
        members = input_shape(operation).members
        request = {name: ROLE for name in ("RoleArn", "ExecutionRoleArn") if name in members}
        assert permissions.roles(operation, request) == ([ROLE] if request else []), operation


def test_tags_need_their_permission_on_what_is_tagged(aws: Aws) -> None:
    arn = aws.service.arn("Model", "m")
    for operation in ANY_TYPE:
        (need,) = permissions.needs(aws.service, operation, {"ResourceArn": arn})
        assert (need.action, need.resources) == (f"sagemaker:{operation}", (arn,))


def test_every_kind_is_one_of_the_reference_s_types() -> None:
    types = {kind for entry in REFERENCE.values() for kind in entry["required"]}
    internal = {"PipelineExecution"}  # whose ARN continues that of its pipeline
    for name, kind in KINDS.items():
        if f"Describe{name}" in OPERATIONS and name not in internal:
            assert kind.arn_path in types, name


def test_a_version_is_registered_and_approved_by_its_approval(aws: Aws) -> None:
    """The reference lists the condition key for both, and for no other operation on versions."""
    arn = aws.service.arn("ModelPackage", "group/1")
    for operation, request, approval in (
        ("CreateModelPackage", {"ModelPackageGroupName": "group"}, None),
        (
            "CreateModelPackage",
            {"ModelPackageGroupName": "group", "ModelApprovalStatus": "Approved"},
            "Approved",
        ),
        (
            "UpdateModelPackage",
            {"ModelPackageArn": arn, "ModelApprovalStatus": "Rejected"},
            "Rejected",
        ),
    ):
        (need,) = permissions.needs(aws.service, operation, request)
        assert need.context == {"sagemaker:ModelApprovalStatus": approval}
    (need,) = permissions.needs(aws.service, "DescribeModelPackage", {"ModelPackageName": arn})
    assert need.context == {}
