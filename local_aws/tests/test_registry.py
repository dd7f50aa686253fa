from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import IMAGE, Aws

GROUP_ARN = "arn:aws:sagemaker:eu-west-1:000000000000:model-package-group/g"


@pytest.fixture
def group(aws: Aws) -> str:
    created = aws.sagemaker.create_model_package_group(
        ModelPackageGroupName="g", ModelPackageGroupDescription="d"
    )
    assert created["ModelPackageGroupArn"] == GROUP_ARN
    return "g"


def version(aws: Aws, group: str, **more: Any) -> str:
    created = aws.sagemaker.create_model_package(
        ModelPackageGroupName=group,
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://b/model.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
        **more,
    )
    arn: str = created["ModelPackageArn"]
    return arn


def refused(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_versions_are_numbered_and_wait_for_approval(aws: Aws, group: str) -> None:
    first, second = version(aws, group), version(aws, GROUP_ARN, ModelApprovalStatus="Approved")
    assert first == "arn:aws:sagemaker:eu-west-1:000000000000:model-package/g/1"
    described = aws.sagemaker.describe_model_package(ModelPackageName=first)
    assert described["ModelPackageVersion"] == 1
    assert described["ModelPackageGroupName"] == "g"
    assert described["ModelApprovalStatus"] == "PendingManualApproval"
    assert described["ModelPackageStatus"] == "Completed"
    assert described["InferenceSpecification"]["Containers"][0]["Image"] == IMAGE
    described = aws.sagemaker.describe_model_package(ModelPackageName=second)
    assert (described["ModelPackageVersion"], described["ModelApprovalStatus"]) == (2, "Approved")


def test_the_default_order_is_oldest_first(aws: Aws, group: str) -> None:
    for status in ("Approved", "PendingManualApproval", "Approved"):
        version(aws, group, ModelApprovalStatus=status)

    def numbers(**request: Any) -> list[int]:
        found = aws.sagemaker.list_model_packages(ModelPackageGroupName="g", **request)
        return [p["ModelPackageVersion"] for p in found["ModelPackageSummaryList"]]

    assert numbers() == [1, 2, 3]
    assert numbers(SortOrder="Descending") == [3, 2, 1]
    assert numbers(SortBy="CreationTime", SortOrder="Descending", MaxResults=1) == [3]
    assert numbers(ModelApprovalStatus="Approved", SortOrder="Descending") == [3, 1]
    code, message = refused(aws.sagemaker.list_model_packages, ModelPackageGroupName="none")
    assert code == "ValidationException"
    assert message == f"ModelPackageGroup {GROUP_ARN[:-1]}none does not exist."


def test_an_update_merges_metadata_and_replaces_the_rest(aws: Aws, group: str) -> None:
    arn = version(aws, group, CustomerMetadataProperties={"auc": "0.8", "rows": "10"})
    updated = aws.sagemaker.update_model_package(
        ModelPackageArn=arn,
        ModelApprovalStatus="Approved",
        ApprovalDescription="better than the champion",
        CustomerMetadataProperties={"auc": "0.9", "approver": "me"},
        CustomerMetadataPropertiesToRemove=["rows", "not there"],
    )
    assert updated["ModelPackageArn"] == arn
    described = aws.sagemaker.describe_model_package(ModelPackageName=arn)
    assert described["ModelApprovalStatus"] == "Approved"
    assert described["ApprovalDescription"] == "better than the champion"
    assert described["CustomerMetadataProperties"] == {"auc": "0.9", "approver": "me"}
    assert described["LastModifiedTime"] > described["CreationTime"]


def test_metadata_has_at_most_fifty_entries(aws: Aws, group: str) -> None:
    arn = version(aws, group, CustomerMetadataProperties={f"k{n}": "v" for n in range(50)})
    code, message = refused(
        aws.sagemaker.update_model_package,
        ModelPackageArn=arn,
        CustomerMetadataProperties={"one-more": "v"},
    )
    assert code == "ValidationException"
    assert "CustomerMetadataProperties" in message
    described = aws.sagemaker.describe_model_package(ModelPackageName=arn)
    assert "one-more" not in described["CustomerMetadataProperties"]


def test_versions_created_at_once_get_different_numbers(aws: Aws, group: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        arns = list(pool.map(lambda _: version(aws, group), range(24)))
    assert sorted(int(arn.rpartition("/")[2]) for arn in arns) == list(range(1, 25))


def test_a_number_is_not_given_twice(aws: Aws, group: str) -> None:
    version(aws, group)
    aws.sagemaker.delete_model_package(ModelPackageName=version(aws, group))
    assert version(aws, group).endswith("/3")


def test_a_group_with_versions_cannot_be_deleted(aws: Aws, group: str) -> None:
    arn = version(aws, group)
    delete = aws.sagemaker.delete_model_package_group
    assert refused(delete, ModelPackageGroupName=group)[0] == "ConflictException"
    aws.sagemaker.delete_model_package(ModelPackageName=arn)
    delete(ModelPackageGroupName=group)
    describe = aws.sagemaker.describe_model_package_group
    assert refused(describe, ModelPackageGroupName=group)[0] == "ValidationException"
    assert aws.sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []


def test_packages_without_versions_are_listed_apart(aws: Aws, group: str) -> None:
    version(aws, group)
    lone = aws.sagemaker.create_model_package(ModelPackageName="lone")["ModelPackageArn"]

    def arns(**request: Any) -> list[str]:
        found = aws.sagemaker.list_model_packages(**request)["ModelPackageSummaryList"]
        return [package["ModelPackageArn"] for package in found]

    assert arns() == [lone]
    assert arns(ModelPackageType="Both") == [f"{lone.rpartition('/')[0]}/g/1", lone]
    assert arns(ModelPackageType="Versioned") == [f"{lone.rpartition('/')[0]}/g/1"]
    code, message = refused(
        aws.sagemaker.update_model_package, ModelPackageArn=lone, ModelApprovalStatus="Approved"
    )
    assert code == "ValidationException"
    assert "ModelApprovalStatus" in message


def test_requests_that_name_nothing_or_too_much_are_refused(aws: Aws, group: str) -> None:
    create = aws.sagemaker.create_model_package
    assert "ModelPackageName" in refused(create, ModelPackageDescription="x")[1]
    assert (
        "ModelPackageName" in refused(create, ModelPackageGroupName=group, ModelPackageName="x")[1]
    )
    assert "does not exist" in refused(create, ModelPackageGroupName="none")[1]
    code, message = refused(aws.sagemaker.create_model_package_group, ModelPackageGroupName=group)
    assert (code, message) == (
        "ValidationException",
        f"Model Package Group already exists: {GROUP_ARN}",
    )


def test_many_are_described_at_once(aws: Aws, group: str) -> None:
    arn = version(aws, group)
    missing = arn[:-1] + "9"
    found = aws.sagemaker.batch_describe_model_package(ModelPackageArnList=[arn, missing])
    assert found["ModelPackageSummaries"][arn]["ModelPackageVersion"] == 1
    assert missing in found["BatchDescribeModelPackageErrorMap"]


def test_stages_are_kept_listed_and_told(aws: Aws, group: str) -> None:
    stage = {"Stage": "QA", "StageStatus": "PendingApproval"}
    arn = version(aws, group, ModelLifeCycle=stage)
    aws.sagemaker.update_model_package(
        ModelPackageArn=arn, ModelLifeCycle={**stage, "StageStatus": "Approved"}
    )
    (listed,) = aws.sagemaker.list_model_packages(ModelPackageGroupName=group)[
        "ModelPackageSummaryList"
    ]
    assert listed["ModelLifeCycle"]["StageStatus"] == "Approved"
    told = aws.wait_events(2)[-1][1]
    assert told["ModelLifeCycle"] == {"Stage": "QA", "StageStatus": "Approved"}
    assert told["UpdatedModelPackageFields"] == ["ModelLifeCycle"]


@pytest.mark.parametrize(
    ("update", "told"),
    [
        ({"SourceUri": "s3://b/source"}, ["sourceUri"]),
        ({"CustomerMetadataPropertiesToRemove": ["auc"]}, ["CustomerMetadataProperties"]),
        (
            {"ApprovalDescription": "again", "ModelApprovalStatus": "Approved"},
            ["ApprovalDescription", "ModelApprovalStatus"],
        ),
        # With the value that it has already.
        ({"ModelApprovalStatus": "Approved"}, ["ModelApprovalStatus"]),
    ],
)
def test_events_name_what_an_update_gives_as_the_guide_does(
    aws: Aws, group: str, update: dict[str, Any], told: list[str]
) -> None:
    arn = version(aws, group, ModelApprovalStatus="Approved")
    assert "UpdatedModelPackageFields" not in aws.wait_events(1)[-1][1]

    aws.sagemaker.update_model_package(ModelPackageArn=arn, **update)

    (_, detail, resources) = aws.wait_events(2)[-1]
    assert detail["ModelApprovalStatus"] == "Approved"
    assert sorted(detail["UpdatedModelPackageFields"]) == told
    assert resources == [arn]


def test_packages_are_listed_by_time_name_and_status(aws: Aws, group: str) -> None:
    for number, status in enumerate(("Approved", "Rejected", "Approved"), 1):
        arn = version(aws, group, ModelApprovalStatus=status)
        aws.service.store.update("ModelPackage", arn, CreationTime=100.0 * number)

    def numbers(**request: Any) -> list[int]:
        found = aws.sagemaker.list_model_packages(ModelPackageGroupName=group, **request)
        return [p["ModelPackageVersion"] for p in found["ModelPackageSummaryList"]]

    assert numbers(CreationTimeAfter=150) == [2, 3]
    assert numbers(CreationTimeBefore=250, SortOrder="Descending") == [2, 1]
    assert numbers(CreationTimeAfter=150, ModelApprovalStatus="Approved") == [3]
    assert numbers(NameContains="other") == []
    assert numbers(SortBy="Name", SortOrder="Descending") == [3, 2, 1]


def test_policies_of_groups_are_refused_by_name(aws: Aws, group: str) -> None:
    code, message = refused(
        aws.sagemaker.put_model_package_group_policy,
        ModelPackageGroupName=group,
        ResourcePolicy="{}",
    )
    assert (code, message) == (
        "NotImplemented",
        "The local AWS does not know SageMaker's PutModelPackageGroupPolicy",
    )
