"""What belongs to a project on AWS: all that there is, and what of it the stacks own."""

from collections import defaultdict

from tests.scenarios import Scene


def stacks(scene: Scene) -> dict[str, set[str]]:
    """What the stacks own: by type, the names, and ARNs, of resources."""
    cloudformation = scene.life.client("cloudformation")
    owned: defaultdict[str, set[str]] = defaultdict(set)
    for page in cloudformation.get_paginator("describe_stacks").paginate():
        for stack in page["Stacks"]:
            name = stack["StackName"]
            pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
            for one in (one for part in pages for one in part["StackResourceSummaries"]):
                identity = one["PhysicalResourceId"]
                # Tables and rules have what they belong to before their names.
                owned[one["ResourceType"]] |= {identity, identity.rpartition("|")[2]}
    return dict(owned)


def listing(scene: Scene) -> dict[str, set[str]]:
    """All of this kind that there is on AWS, by name."""

    def every(service: str, operation: str, member: str, key: str, **given: str) -> set[str]:
        pages = scene.life.client(service).get_paginator(operation).paginate(**given)
        return {str(one[key]) for page in pages for one in page.get(member, [])}

    slug = scene.life.slug
    roles = every("iam", "list_roles", "Roles", "RoleName")
    scaling = {"ServiceNamespace": "sagemaker"}
    database = slug.replace("-", "_")
    return {
        "endpoints": every("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
        "configs": every(
            "sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"
        ),
        "models": every("sagemaker", "list_models", "Models", "ModelName"),
        "scaling": every(
            "application-autoscaling",
            "describe_scalable_targets",
            "ScalableTargets",
            "ResourceId",
            **scaling,
        )
        | every(
            "application-autoscaling",
            "describe_scaling_policies",
            "ScalingPolicies",
            "ResourceId",
            **scaling,
        ),
        "alarms": every("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        "rules": every("events", "list_rules", "Rules", "Name"),
        "schedules": every("scheduler", "list_schedules", "Schedules", "Name"),
        "functions": every("lambda", "list_functions", "Functions", "FunctionName"),
        "logs": every("logs", "describe_log_groups", "logGroups", "logGroupName"),
        "roles": roles,
        "policies": {
            policy
            for role in roles
            if "ModelRole" in role
            for policy in scene.life.client("iam").list_role_policies(RoleName=role)["PolicyNames"]
        },
        "topics": every("sns", "list_topics", "Topics", "TopicArn"),
        # But for that of the inbox in which `poe local` counts the mails.
        "subscriptions": {
            one["SubscriptionArn"]
            for one in scene.life.client("sns").list_subscriptions()["Subscriptions"]
            if not one["Endpoint"].endswith(f":{slug}-inbox")
        },
        "tables": every("glue", "get_tables", "TableList", "Name", DatabaseName=database),
        "data": every(
            "s3", "list_objects_v2", "CommonPrefixes", "Prefix", Bucket=scene.bucket, Delimiter="/"
        ),
    }
