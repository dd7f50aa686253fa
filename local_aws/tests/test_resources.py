from __future__ import annotations

import re
import time
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import IMAGE, ROLE, Aws

from local_aws.images.images import OCI_MANIFEST
from local_aws.sagemaker.core.kinds import KINDS
from local_aws.sagemaker.core.protocol import input_shape, service_model

ACCOUNT_ARN = "arn:aws:sagemaker:eu-west-1:000000000000"


def create_model(aws: Aws, name: str, **more: Any) -> str:
    container = {"Image": IMAGE, "ModelDataUrl": "s3://b/model.tar.gz"}
    made = aws.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container, **more
    )
    arn: str = made["ModelArn"]
    return arn


def variant(model: str) -> dict[str, Any]:
    return {
        "VariantName": "AllTraffic",
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }


def refused(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_model_and_its_endpoint_config_live_and_end(aws: Aws) -> None:
    arn = create_model(aws, "m1")
    assert arn == f"{ACCOUNT_ARN}:model/m1"
    described = aws.sagemaker.describe_model(ModelName="m1")
    assert described["PrimaryContainer"]["Image"] == IMAGE
    assert described["CreationTime"].timestamp() == pytest.approx(time.time(), abs=30)
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName="c1", ProductionVariants=[variant("m1")]
    )
    config = aws.sagemaker.describe_endpoint_config(EndpointConfigName="c1")
    assert config["EndpointConfigArn"] == f"{ACCOUNT_ARN}:endpoint-config/c1"
    aws.sagemaker.delete_endpoint_config(EndpointConfigName="c1")
    aws.sagemaker.delete_model(ModelName="m1")
    assert refused(aws.sagemaker.describe_model, ModelName="m1") == (
        "ValidationException",
        f'Could not find model "{arn}".',
    )


def test_errors_read_as_at_aws(aws: Aws) -> None:
    sagemaker = aws.sagemaker
    create_model(aws, "m1")
    assert refused(
        sagemaker.create_model,
        ModelName="m1",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": IMAGE},
    ) == (
        "ValidationException",
        f'Cannot create already existing model "{ACCOUNT_ARN}:model/m1".',
    )
    assert refused(sagemaker.describe_endpoint_config, EndpointConfigName="c") == (
        "ValidationException",
        f'Could not find endpoint configuration "{ACCOUNT_ARN}:endpoint-config/c".',
    )
    assert refused(
        sagemaker.create_endpoint_config,
        EndpointConfigName="c",
        ProductionVariants=[variant("missing")],
    ) == ("ValidationException", f'Could not find model "{ACCOUNT_ARN}:model/missing".')
    assert refused(sagemaker.describe_training_job, TrainingJobName="t") == (
        "ValidationException",
        "Could not find requested job with name: t",
    )
    assert refused(sagemaker.delete_model, ModelName="m2")[0] == "ValidationException"


def test_a_model_needs_an_image_with_docker_s_manifest(aws: Aws) -> None:
    """The error is that of aws/amazon-sagemaker-feedback#180."""
    uri = IMAGE.replace(":1", ":oci")
    image = aws.service.images.resolve(IMAGE)
    aws.service.images.register(uri, replace(image, media_type=OCI_MANIFEST))
    aws.sagemaker.create_model_package_group(ModelPackageGroupName="g")
    specification = {"Containers": [{"Image": uri, "ModelDataUrl": "s3://b/model.tar.gz"}]}
    package = aws.sagemaker.create_model_package(
        ModelPackageGroupName="g", InferenceSpecification=specification
    )["ModelPackageArn"]

    text = (
        "Unsupported manifest media type application/vnd.oci.image.manifest.v1+json for image "
        f"{uri}. Ensure that valid manifest media type is used for specified image."
    )
    told = ("ValidationException", text)
    create = partial(aws.sagemaker.create_model, ModelName="m", ExecutionRoleArn=ROLE)
    assert refused(create, PrimaryContainer={"Image": uri}) == told
    assert refused(create, PrimaryContainer={"ModelPackageName": package}) == told
    assert refused(create, Containers=[{"Image": IMAGE}, {"Image": uri}]) == told
    assert aws.sagemaker.list_models()["Models"] == []

    aws.service.images.register(uri, image)
    create(PrimaryContainer={"Image": uri})


def test_a_model_needs_one_way_to_its_containers(aws: Aws) -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {},
        {"PrimaryContainer": {"Image": IMAGE}, "Containers": [{"Image": IMAGE}]},
        {"PrimaryContainer": {}},
        {"PrimaryContainer": {"Image": IMAGE, "ModelPackageName": "g"}},
        {"PrimaryContainer": {"ModelPackageName": "missing"}},
    )
    for containers in wrong:
        code, message = refused(
            aws.sagemaker.create_model, ModelName="m", ExecutionRoleArn=ROLE, **containers
        )
        assert code == "ValidationException"
        assert re.search("PrimaryContainer|ModelPackage", message)


def test_default_sort_orders_are_those_of_the_api_reference() -> None:
    checked = set()
    for kind, table in KINDS.items():
        operation = f"List{kind}s"
        order = input_shape(operation).members["SortOrder"]
        said = re.search(r"default is <code>(\w+)</code>", order.documentation)
        if said:
            assert said[1] == ("Ascending" if table.ascending else "Descending"), kind
            checked.add(kind)
        by = re.search(
            r"default is <code>(\w+)</code>",
            input_shape(operation).members["SortBy"].documentation,
        )
        if by:
            assert by[1].replace("CreatedTime", "CreationTime") == table.sort_by, kind
    assert checked >= {
        *("ProcessingJob", "TrainingJob", "Model", "EndpointConfig", "Endpoint"),
        *("ModelPackage", "ModelPackageGroup"),
    }
    assert "SageMaker" in service_model().metadata["serviceId"]


def names(found: dict[str, Any]) -> list[str]:
    return [model["ModelName"] for model in found["Models"]]


def test_lists_filter_and_sort(aws: Aws) -> None:
    for name in ("b-model", "a-model", "c-other"):
        create_model(aws, name)
    middle = aws.sagemaker.describe_model(ModelName="a-model")["CreationTime"]
    listing = aws.sagemaker.list_models
    assert names(listing()) == ["c-other", "a-model", "b-model"]
    assert names(listing(SortOrder="Ascending")) == ["b-model", "a-model", "c-other"]
    assert names(listing(SortBy="Name", SortOrder="Ascending")) == ["a-model", "b-model", "c-other"]
    assert names(listing(NameContains="model")) == ["a-model", "b-model"]
    assert listing(NameContains="zzz")["Models"] == []
    stamp = middle.timestamp()
    assert names(listing(CreationTimeAfter=stamp - 60)) == ["c-other", "a-model", "b-model"]
    assert names(listing(CreationTimeBefore=stamp - 60)) == []


def test_pages_hold_together_while_the_list_changes(aws: Aws) -> None:
    for number in range(25):
        create_model(aws, f"m{number:02}")
    first = aws.sagemaker.list_models()
    assert names(first) == [f"m{number:02}" for number in range(24, 14, -1)]
    create_model(aws, "newer")
    aws.sagemaker.delete_model(ModelName="m24")
    second = aws.sagemaker.list_models(NextToken=first["NextToken"])
    assert names(second) == [f"m{number:02}" for number in range(14, 4, -1)]
    last = aws.sagemaker.list_models(NextToken=second["NextToken"])
    assert names(last) == [f"m{number:02}" for number in range(4, -1, -1)]
    assert "NextToken" not in last
    pages = aws.sagemaker.get_paginator("list_models").paginate(PaginationConfig={"PageSize": 4})
    assert len([name for page in pages for name in names(page)]) == 25


@pytest.mark.parametrize("token", ["x", "MTIz", "WzEsIDJd", "eyJhIjogMX0=", "WyJhIiwgImEiXQ=="])
def test_a_token_of_elsewhere_is_refused(aws: Aws, token: str) -> None:
    create_model(aws, "m")
    code, message = refused(aws.sagemaker.list_models, NextToken=token)
    assert code == "ValidationException"
    assert "NextToken" in message


def test_tags(aws: Aws) -> None:
    arn = create_model(aws, "m", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    aws.sagemaker.add_tags(
        ResourceArn=arn, Tags=[{"Key": "b", "Value": "3"}, {"Key": "c", "Value": "4"}]
    )
    aws.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a"])
    tags = aws.sagemaker.list_tags(ResourceArn=arn)["Tags"]
    assert tags == [{"Key": "b", "Value": "3"}, {"Key": "c", "Value": "4"}]
    many = [{"Key": f"k{n}", "Value": ""} for n in range(49)]
    assert refused(aws.sagemaker.add_tags, ResourceArn=arn, Tags=many)[0] == "ResourceLimitExceeded"
    assert len(aws.sagemaker.list_tags(ResourceArn=arn)["Tags"]) == 2
    aws.sagemaker.delete_model(ModelName="m")
    assert refused(aws.sagemaker.list_tags, ResourceArn=arn)[0] == "ValidationException"
    create_model(aws, "m")
    assert aws.sagemaker.list_tags(ResourceArn=arn)["Tags"] == []
