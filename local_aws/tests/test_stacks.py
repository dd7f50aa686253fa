"""Stacks with our resource types in a running local AWS: updates, rollbacks, what is retained."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import REGION, until
from host_process import ACCOUNT, DEFINITION, ROLE, HostProcess
from transform_requests import TRANSFORM_IMAGE

ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    kept: str = request.node.name.removeprefix("test_").replace("_", "-")[:40].rstrip("-")
    return kept


def pipeline(name: str, **more: Any) -> dict[str, Any]:
    properties = {
        "PipelineName": name,
        "RoleArn": ROLE,
        "PipelineDefinition": {"PipelineDefinitionBody": json.dumps(DEFINITION)},
        **more,
    }
    return {"Type": "AWS::SageMaker::Pipeline", "Properties": properties}


def group(name: str, **more: Any) -> dict[str, Any]:
    properties = {"ModelPackageGroupName": name, **more}
    return {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": properties}


def deploy(host: HostProcess, stack: str, resources: dict[str, Any], **more: Any) -> str:
    """Create or update a stack; the status that it ends in."""
    stacks = host.client("cloudformation")
    template = json.dumps({"Resources": resources, "Outputs": more.pop("outputs", {})})
    request = {"StackName": stack, "TemplateBody": template, **more}
    try:
        stacks.describe_stacks(StackName=stack)
    except ClientError:
        stacks.create_stack(**request)
    else:
        stacks.update_stack(**request)
    return ended(host, stack)


def ended(host: HostProcess, stack: str) -> str:
    stacks = host.client("cloudformation")

    def status() -> str:
        found: str = stacks.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        return found

    until(lambda: not status().endswith("_IN_PROGRESS"))
    for event in stacks.describe_stack_events(StackName=stack)["StackEvents"]:
        print(event["LogicalResourceId"], event["ResourceStatus"], event["ResourceStatusReason"])
    return status()


def destroy(host: HostProcess, stack: str) -> None:
    stacks = host.client("cloudformation")
    stacks.delete_stack(StackName=stack)
    stacks.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 0.1})


def events(host: HostProcess, stack: str, status: str) -> list[dict[str, Any]]:
    found = host.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    return [event for event in reversed(found) if event["ResourceStatus"] == status]


def groups(host: HostProcess, part: str) -> list[str]:
    found = host.client("sagemaker").list_model_package_groups(NameContains=part)
    return [item["ModelPackageGroupName"] for item in found["ModelPackageGroupSummaryList"]]


def test_outputs_and_tags_alone_can_be_updated(host: HostProcess, name: str) -> None:
    resources = {"Models": group(name)}
    assert deploy(host, name, resources) == "CREATE_COMPLETE"
    with pytest.raises(ClientError, match="No updates are to be performed"):
        deploy(host, name, resources)
    outputs = {"Arn": {"Value": {"Ref": "Models"}}}
    assert deploy(host, name, resources, outputs=outputs) == "UPDATE_COMPLETE"
    described = host.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    arn = f"{ARN}:model-package-group/{name}"
    assert described["Outputs"][0]["OutputValue"] == arn
    tags = [{"Key": "cost", "Value": "7"}]
    assert deploy(host, name, resources, outputs=outputs, Tags=tags) == "UPDATE_COMPLETE"
    found = host.client("sagemaker").list_tags(ResourceArn=arn)["Tags"]
    assert {"Key": "cost", "Value": "7"} in found
    assert {"Key": "aws:cloudformation:stack-name", "Value": name} in found
    destroy(host, name)
    assert groups(host, name) == []


def test_a_replacement_comes_before_what_it_replaces_goes(host: HostProcess, name: str) -> None:
    assert deploy(host, name, {"Models": group(f"{name}-1")}) == "CREATE_COMPLETE"
    assert deploy(host, name, {"Models": group(f"{name}-2")}) == "UPDATE_COMPLETE"
    assert groups(host, name) == [f"{name}-2"]
    # A resource with a name of its own cannot be replaced under it.
    named = {"Models": group(f"{name}-2", ModelPackageGroupDescription="new")}
    assert deploy(host, name, named) == "UPDATE_ROLLBACK_COMPLETE"
    (failed,) = events(host, name, "UPDATE_FAILED")
    assert "Rename" in failed["ResourceStatusReason"]
    assert groups(host, name) == [f"{name}-2"]
    destroy(host, name)


def test_a_failed_creation_leaves_nothing(host: HostProcess, name: str) -> None:
    resources = {
        "Models": group(name),
        "Pipeline": {**pipeline(name, RolArn=ROLE), "DependsOn": "Models"},
    }
    assert deploy(host, name, resources) == "ROLLBACK_COMPLETE"
    (failed,) = [e for e in events(host, name, "CREATE_FAILED") if e["LogicalResourceId"] != name]
    assert "extraneous key [RolArn] is not permitted" in failed["ResourceStatusReason"]
    assert groups(host, name) == []


def test_a_failed_update_takes_back_what_it_changed(host: HostProcess, name: str) -> None:
    before = {"Pipeline": pipeline(name, PipelineDescription="old")}
    assert deploy(host, name, before) == "CREATE_COMPLETE"
    after = {
        "Pipeline": pipeline(name, PipelineDescription="new"),
        "Models": {**group("not a name"), "DependsOn": "Pipeline"},
    }
    assert deploy(host, name, after) == "UPDATE_ROLLBACK_COMPLETE"
    found = host.client("sagemaker").describe_pipeline(PipelineName=name)
    assert found["PipelineDescription"] == "old"
    destroy(host, name)


def test_dependents_are_deleted_first_and_the_retained_stay(host: HostProcess, name: str) -> None:
    resources = {
        "Kept": {**group(f"{name}-kept"), "DeletionPolicy": "Retain"},
        "Models": {**group(f"{name}-gone"), "DependsOn": "Kept"},
        "Last": {**group(f"{name}-last"), "DependsOn": "Models"},
    }
    assert deploy(host, name, resources) == "CREATE_COMPLETE"
    stack = host.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["StackId"]
    destroy(host, name)
    gone = [e["LogicalResourceId"] for e in events(host, stack, "DELETE_COMPLETE")]
    assert gone[:2] == ["Last", "Models"]
    assert groups(host, name) == [f"{name}-kept"]


def test_a_stack_with_inert_types_deploys_and_says_so(host: HostProcess, name: str) -> None:
    resources = {
        "Data": {
            "Type": "AWS::QuickSight::DataSource",
            "Properties": {
                "AwsAccountId": {"Ref": "AWS::AccountId"},
                "DataSourceId": name,
                "Name": "Athena",
                "Type": "ATHENA",
            },
        },
        "Studio": {
            "Type": "AWS::SageMaker::Domain",
            "Properties": {"AuthMode": "IAM", "DefaultUserSettings": {}, "DomainName": name},
        },
        "Delivery": {
            "Type": "AWS::CodePipeline::Pipeline",
            "Properties": {"Name": name, "RoleArn": ROLE, "Stages": []},
        },
        "Packages": {
            "Type": "AWS::CodeArtifact::Repository",
            "Properties": {"DomainName": "team", "RepositoryName": name},
        },
        "Person": {
            "Type": "AWS::SageMaker::UserProfile",
            "Properties": {"DomainId": {"Ref": "Studio"}, "UserProfileName": "p"},
        },
    }
    outputs = {
        "Data": {"Value": {"Fn::GetAtt": ["Data", "Arn"]}},
        "Delivery": {"Value": {"Fn::GetAtt": ["Delivery", "Arn"]}},
        "Owner": {"Value": {"Fn::GetAtt": ["Packages", "DomainOwner"]}},
        "Person": {"Value": {"Fn::GetAtt": ["Person", "UserProfileArn"]}},
        "Studio": {"Value": {"Ref": "Studio"}},
    }
    assert deploy(host, name, resources, outputs=outputs) == "CREATE_COMPLETE"
    described = host.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    found = {item["OutputKey"]: item["OutputValue"] for item in described["Outputs"]}
    assert found["Data"] == f"arn:aws:quicksight:{REGION}:{ACCOUNT}:datasource/{name}"
    assert found["Delivery"] == f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:{name}"
    assert found["Owner"] == ACCOUNT
    assert found["Person"] == f"{ARN}:user-profile/{found['Studio']}/p"
    assert f"AWS::SageMaker::Domain {found['Studio']}: stored" in host.log.read_text()
    resources["Data"]["Properties"]["Name"] = "Renamed"
    assert deploy(host, name, resources, outputs=outputs) == "UPDATE_COMPLETE"
    destroy(host, name)
    assert deploy(host, name, resources, outputs=outputs) == "CREATE_COMPLETE"


def test_an_unknown_type_is_refused_by_name(host: HostProcess, name: str) -> None:
    resources = {"Hub": {"Type": "AWS::SageMaker::Hub", "Properties": {}}}
    with pytest.raises(ClientError, match=r"Unrecognized resource types: \[AWS::SageMaker::Hub\]"):
        deploy(host, name, resources)


def test_alarms_on_metric_math_and_on_other_alarms(host: HostProcess, name: str) -> None:
    stat = {"Metric": {"Namespace": "T", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}
    resources = {
        "Math": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "Metrics": [
                    {"Id": "m1", "MetricStat": stat, "ReturnData": False},
                    {"Id": "e", "Expression": "FILL(m1, 5)"},
                ],
                "ComparisonOperator": "GreaterThanThreshold",
                "Threshold": 4,
                "EvaluationPeriods": 1,
            },
        },
        "Either": {
            "Type": "AWS::CloudWatch::CompositeAlarm",
            "Properties": {
                "AlarmName": name,
                "AlarmRule": {"Fn::Sub": 'ALARM("${Math}")'},
            },
        },
    }
    assert deploy(host, name, resources) == "CREATE_COMPLETE"
    cloudwatch = host.client("cloudwatch")
    (found,) = cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])[
        "CompositeAlarms"
    ]
    assert found["StateValue"] == "ALARM"
    destroy(host, name)
    left = cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])
    assert left["CompositeAlarms"] == []


def test_only_endpoint_variants_are_scaled(host: HostProcess, name: str) -> None:
    def target(resource: str, dimension: str, namespace: str) -> dict[str, Any]:
        properties = {
            "ResourceId": resource,
            "ScalableDimension": dimension,
            "ServiceNamespace": namespace,
            "MinCapacity": "1",
            "MaxCapacity": "2",
        }
        return {"Type": "AWS::ApplicationAutoScaling::ScalableTarget", "Properties": properties}

    service = ("service/c/s", "ecs:service:DesiredCount", "ecs")
    policy = {
        "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
        "Properties": {
            "PolicyName": "p",
            "PolicyType": "TargetTrackingScaling",
            "ScalingTargetId": {"Ref": "Tasks"},
            "TargetTrackingScalingPolicyConfiguration": {"TargetValue": 50},
        },
    }
    assert deploy(host, name, {"Tasks": target(*service), "Policy": policy}) == "CREATE_COMPLETE"
    destroy(host, name)
    variant = ("endpoint/absent/variant/all", "sagemaker:variant:DesiredInstanceCount", "sagemaker")
    assert deploy(host, name, {"Variant": target(*variant)}) == "ROLLBACK_COMPLETE"
    (failed,) = [e for e in events(host, name, "CREATE_FAILED") if e["LogicalResourceId"] != name]
    assert "absent" in failed["ResourceStatusReason"]


def test_an_endpoint_its_configuration_and_its_scaling(host: HostProcess, name: str) -> None:
    def resources(weight: float, most: int) -> dict[str, Any]:
        model = {"ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": TRANSFORM_IMAGE}}
        variant = {
            "VariantName": "all",
            "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
            "InitialVariantWeight": weight,
        }
        configuration = {"Fn::GetAtt": ["Config", "EndpointConfigName"]}
        target = {
            "ResourceId": {"Fn::Sub": "endpoint/${Endpoint.EndpointName}/variant/all"},
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
            "ServiceNamespace": "sagemaker",
            "MinCapacity": 1,
            "MaxCapacity": most,
        }
        policy = {
            "PolicyName": "p",
            "PolicyType": "TargetTrackingScaling",
            "ScalingTargetId": {"Ref": "Target"},
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 100.0,
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                },
            },
        }
        sagemaker, scaling = "AWS::SageMaker::", "AWS::ApplicationAutoScaling::"
        return {
            kind: {"Type": space + type_name, "Properties": properties}
            for kind, space, type_name, properties in (
                (
                    "Model",
                    sagemaker,
                    "Model",
                    model,
                ),
                ("Config", sagemaker, "EndpointConfig", {"ProductionVariants": [variant]}),
                (
                    "Endpoint",
                    sagemaker,
                    "Endpoint",
                    {"EndpointName": name, "EndpointConfigName": configuration},
                ),
                ("Target", scaling, "ScalableTarget", target),
                ("Policy", scaling, "ScalingPolicy", policy),
            )
        }

    sagemaker = host.client("sagemaker")
    assert deploy(host, name, resources(1.0, 2)) == "CREATE_COMPLETE"
    before = sagemaker.describe_endpoint(EndpointName=name)
    assert before["EndpointStatus"] == "InService"  # the stack has waited
    assert deploy(host, name, resources(0.5, 3)) == "UPDATE_COMPLETE"
    after = sagemaker.describe_endpoint(EndpointName=name)
    assert after["EndpointConfigName"] != before["EndpointConfigName"]
    configs = sagemaker.list_endpoint_configs(NameContains=name)["EndpointConfigs"]
    assert [item["EndpointConfigName"] for item in configs] == [after["EndpointConfigName"]]
    scaling = host.client("application-autoscaling")
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert target["MaxCapacity"] == 3
    destroy(host, name)
    assert sagemaker.list_endpoints(NameContains=name)["Endpoints"] == []
    assert sagemaker.list_models(NameContains=name)["Models"] == []
    targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")
    assert targets["ScalableTargets"] == []
