"""What belongs to this project on AWS and no deployment takes away.

The functions that deploy create endpoints, their configurations and models; CloudFormation knows
nothing of them, so neither a deployment nor its deletion takes them away. They carry the tags
`project` and `made-by`; those that were made before there were tags are known by their names.
Stacks that other answers have brought stay, too, as does the data of other inference modes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Literal

import boto3
from botocore.exceptions import ClientError

from lambdas import approval_in
from ops import aws
from workflows import names

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient

MODE: str = names.INFERENCE_MODE
ENDPOINTS = {"realtime": "", "serverless": "-serverless", "async": "-async"}
"""How the name of the endpoint ends, by inference mode; batch transform has none."""
TRIAL = "-trial"
"""How that of the endpoint ends which a version is tried on before it is made serverless."""
DATA = {
    "realtime": ("capture/",),
    "serverless": ("capture/", "deployments/"),
    "async": ("capture/", "async/"),
    "batch": ("batch/", "scored/"),
}
"""The prefixes of the data bucket that each mode writes, and nothing else but modes does."""
FUNCTIONS = {
    "realtime": ("deploy",),
    "serverless": ("deploy",),
    "async": ("deploy", "exchanges"),
    "batch": ("batch-deploy", "batch-inputs", "batch-rejections", "batch-start"),
}
"""The functions that each mode has, and others need not have."""
MAKERS = {"endpoint": "lambdas/deploy.py", "batch": "lambdas/batch.py"}
"""The tag `made-by` of what deployments to an endpoint have made, and those of batch inference."""
POLICY = "requests-"
"""How an endpoint's own policy of the models' role begins; the inference mode follows."""
ALARM = "backlog-without-capacity"
"""The alarm that starts the first instance of an asynchronous endpoint."""

STACKS = ("airflow", "api", "dashboard")
"""How the names of the stacks end that some answers bring."""
COUNTED = 1000


@dataclass(frozen=True)
class Outside:
    """Resources by name.

    Attributes:
        endpoints: Endpoints, which cost money as long as they are there.
        configs: Endpoint configurations.
        models: Models. The versions in the registry are something else.
        alarms: Alarms that scale an endpoint.
        policies: Inline policies that the role of models has kept from another inference mode.
        stacks: Stacks that other answers have brought.
    """

    endpoints: list[str] = field(default_factory=list)
    configs: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    policies: list[str] = field(default_factory=list)
    stacks: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """A line for each kind of which there is one."""
        kinds = {
            "endpoint": (self.endpoints, "costs money as long as it is there"),
            "endpoint configuration": (self.configs, "costs nothing"),
            "model": (self.models, "costs nothing"),
            "alarm": (self.alarms, "ten cents a month"),
            "policy": (self.policies, "of the models' role; costs nothing"),
            "stack": (self.stacks, "what is in it may cost money"),
        }
        return [
            f"{kind if len(found) == 1 else plural(kind)} {', '.join(found)} ({cost})"
            for kind, (found, cost) in kinds.items()
            if found
        ]


def plural(noun: str) -> str:
    """Several of a kind."""
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def prefix() -> str:
    """What the names are made of, and the tag `project`."""
    return names.current().prefix


def endpoints() -> Iterator[tuple[str, str]]:
    """Name and ARN of all endpoints of the account that are named after this project."""
    pages = aws.sagemaker().get_paginator("list_endpoints").paginate(NameContains=prefix())
    return ((e["EndpointName"], e["EndpointArn"]) for page in pages for e in page["Endpoints"])


def configs() -> Iterator[tuple[str, str]]:
    """Name and ARN of all endpoint configurations that are named after this project."""
    lists = aws.sagemaker().get_paginator("list_endpoint_configs")
    return (
        (config["EndpointConfigName"], config["EndpointConfigArn"])
        for page in lists.paginate(NameContains=prefix())
        for config in page["EndpointConfigs"]
    )


def models() -> Iterator[tuple[str, str]]:
    """Name and ARN of all models that are named after this project."""
    pages = aws.sagemaker().get_paginator("list_models").paginate(NameContains=prefix())
    return ((model["ModelName"], model["ModelArn"]) for page in pages for model in page["Models"])


def everything() -> Outside:
    """All that belongs to this project and no deployment takes away."""
    return Outside(
        sorted(name for name, arn in endpoints() if is_ours(arn, named=name == endpoint())),
        sorted(name for name, arn in configs() if is_ours(arn, named=is_deployment(name))),
        sorted(name for name, arn in models() if is_ours(arn, named=is_deployment(name))),
        alarms(),
        [name for name in policies() if name != f"{POLICY}{MODE}"],
        old_stacks(),
    )


def left_over(found: Outside) -> Outside:
    """The part of it that today's answers do not bring: another inference mode has made it."""
    others = [name for name in found.endpoints if name not in own_endpoints()]
    unused = [name for name in found.configs if mode_of(name) != MODE]
    # A deployment's configuration and model have the same name.
    models = [n for n in found.models if n in unused or n not in found.configs]
    if MODE == "batch":
        # The newest approval predicts, whatever has made its model.
        last = max(filter(is_deployment, found.models), key=approval, default=None)
        models = [n for n in models if n != last and maker(n) == MAKERS["endpoint"]]
    else:
        models = [n for n in models if n in unused or maker(n) != MAKERS["endpoint"]]
    alarms = [] if MODE == "async" else found.alarms
    return replace(found, endpoints=others, configs=unused, models=models, alarms=alarms)


def old_stacks() -> list[str]:
    """The stacks that other answers have brought."""
    brought = {names.current().of(part) for part in STACKS}
    return sorted((brought - {*aws.own_stacks()}) & aws.deployed())


def all_left_over() -> list[str]:
    """A line for each kind, prefix and log that other answers have left."""
    return [*left_over(everything()).lines(), *old_lines(old_data(), old_logs())]


def endpoint() -> str:
    """The name of this inference mode's endpoint; the project's for batch transform."""
    return prefix() + ENDPOINTS.get(MODE, "")


def own_endpoints() -> set[str]:
    """The names of the endpoints that this inference mode makes."""
    if MODE == "batch":
        return set()
    return {endpoint(), *([prefix() + TRIAL] if MODE == "serverless" else [])}


def mode_of(config: str) -> str | None:
    """The inference mode that an endpoint configuration is for; `None` if it is gone meanwhile."""
    try:
        found = aws.sagemaker().describe_endpoint_config(EndpointConfigName=config)
    except ClientError as error:
        if aws.is_missing(error):
            return None
        raise
    if "AsyncInferenceConfig" in found:
        return "async"
    serverless = any("ServerlessConfig" in one for one in found.get("ProductionVariants", []))
    return "serverless" if serverless else "realtime"


def alarms() -> list[str]:
    """The alarm that starts the first instance, if there is one."""
    named = boto3.client("cloudwatch", region_name=names.REGION).describe_alarms(
        AlarmNames=[f"{prefix()}-{ALARM}"], AlarmTypes=["MetricAlarm"]
    )
    return [alarm["AlarmName"] for alarm in named["MetricAlarms"]]


def policies() -> list[str]:
    """The policies for requests that the models' role has, of any inference mode."""
    role = model_role()
    if role is None:
        return []
    pages = boto3.client("iam").get_paginator("list_role_policies").paginate(RoleName=role)
    return [name for page in pages for name in page["PolicyNames"] if name.startswith(POLICY)]


def model_role() -> str | None:
    """The name of the role that models run with; `None` where there is no stack with it."""
    cloudformation = boto3.client("cloudformation", region_name=names.REGION)
    lists = cloudformation.get_paginator("list_stack_resources")
    try:
        pages = list(lists.paginate(StackName=names.current().of("serving")))
    except ClientError as error:
        if aws.is_missing(error):
            return None
        raise
    found = (one for page in pages for one in page["StackResourceSummaries"])
    roles = (one for one in found if one["LogicalResourceId"].startswith("ModelRole"))
    return next((one.get("PhysicalResourceId") for one in roles), None)


def remove_policies(found: list[str]) -> None:
    """Delete policies of the models' role."""
    role = model_role() if found else None
    for name in found if role else []:
        _unless_missing(
            partial(boto3.client("iam").delete_role_policy, RoleName=role, PolicyName=name)
        )


def is_ours(arn: str, *, named: bool) -> bool:
    """Whether a resource belongs to this project: by its tag, and without one by its name."""
    project = tags(arn).get("project")
    return project == prefix() if project else named


def is_deployment(name: str) -> bool:
    """Whether a name is that of a deployment of this project."""
    return approval_in(prefix(), name) is not None


def approval(name: str) -> tuple[datetime, int]:
    """The time of the approval, UTC, and the version, in the name of a deployment.

    Raises:
        ValueError: When it is not the name of one.
    """
    found = approval_in(prefix(), name)
    if found is None:
        raise ValueError(f"{name} is not the name of a deployment of {prefix()}")
    return found


def maker(model: str) -> str | None:
    """What has made a model, if its tags tell."""
    return tags(aws.sagemaker().describe_model(ModelName=model)["ModelArn"]).get("made-by")


def tags(arn: str) -> dict[str, str]:
    """The tags of a resource; none if it is gone meanwhile."""
    try:
        pages = list(aws.sagemaker().get_paginator("list_tags").paginate(ResourceArn=arn))
    except ClientError as error:
        if aws.is_missing(error):
            return {}
        raise
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def remove(found: Outside, progress: Callable[[str], None] = lambda _: None) -> None:
    """Delete resources; those that are gone already are as good.

    An endpoint that is being created or updated cannot be deleted: it is waited for, and so is its
    end, as what it uses must stay until then.

    Args:
        found: What to delete.
        progress: Called with what is waited for.

    Raises:
        OpsError: When an endpoint or a stack is not gone in an hour, or CloudFormation gives up.
    """
    sagemaker = aws.sagemaker()
    for name in found.stacks:
        aws.delete_stack(name, progress)
    if found.alarms:
        boto3.client("cloudwatch", region_name=names.REGION).delete_alarms(AlarmNames=found.alarms)
    for name in found.endpoints:
        _stop_scaling(name)
        aws.wait_for(
            f"the end of endpoint {name}, which SageMaker deletes once its deployment is over",
            partial(_delete_endpoint, name, progress),
            timeout=3600,
            interval=2,
        )
    remove_policies(found.policies)
    for name in found.configs:
        _unless_missing(partial(sagemaker.delete_endpoint_config, EndpointConfigName=name))
    for name in found.models:
        _unless_missing(partial(sagemaker.delete_model, ModelName=name))


def _delete_endpoint(name: str, progress: Callable[[str], None]) -> Literal[True] | None:
    """Try to delete an endpoint; `True` once it is gone."""
    try:
        status = aws.sagemaker().describe_endpoint(EndpointName=name)["EndpointStatus"]
        progress(f"endpoint {name} is {status}")
        if status != "Deleting":
            aws.sagemaker().delete_endpoint(EndpointName=name)
    except ClientError as error:
        if aws.is_missing(error):
            return True
        if "in-progress" not in str(error):
            raise
        progress(f"endpoint {name} is being changed, which can take half an hour; then it goes")
    return None


def _stop_scaling(name: str) -> None:
    """Deregister what is scaled of an endpoint: AWS does not say that this goes with it."""
    scaling = boto3.client("application-autoscaling", region_name=names.REGION)
    targets = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[f"endpoint/{name}/variant/AllTraffic"]
    )["ScalableTargets"]
    for target in targets:
        scaling.deregister_scalable_target(
            ServiceNamespace="sagemaker",
            ResourceId=target["ResourceId"],
            ScalableDimension=target["ScalableDimension"],
        )


def _unless_missing(delete: Callable[[], object]) -> None:
    try:
        delete()
    except ClientError as error:
        if not aws.is_missing(error):
            raise


def old_data() -> list[str]:
    """The prefixes of the data bucket with what another inference mode has written."""
    others = dict.fromkeys(p for prefixes in DATA.values() for p in prefixes)
    return [prefix for prefix in others if prefix not in DATA[MODE] and _some(prefix)]


def _some(prefix: str) -> list[str]:
    """The first keys below a prefix; none where there is no bucket."""
    try:
        return list(islice(aws.keys(prefix), COUNTED + 1))
    except ClientError as error:
        if aws.is_missing(error):
            return []
        raise


def old_logs() -> list[str]:
    """The log groups of other inference modes: of endpoints, and of functions that are gone.

    A call that comes late makes that of a function again, after its stack has deleted it.
    """
    endpoints = {prefix() + end for end in (*ENDPOINTS.values(), TRIAL)} - own_endpoints()
    functions = {f"{prefix()}-{name}" for names in FUNCTIONS.values() for name in names}
    functions -= {f"{prefix()}-{name}" for name in FUNCTIONS[MODE]}
    others = {f"/aws/sagemaker/Endpoints/{name}" for name in endpoints}
    others |= {f"/aws/lambda/{name}" for name in functions}
    lists = logs().get_paginator("describe_log_groups")
    begins = (f"/aws/{room}/{prefix()}" for room in ("sagemaker/Endpoints", "lambda"))
    pages = (page for begin in begins for page in lists.paginate(logGroupNamePrefix=begin))
    found = (group["logGroupName"] for page in pages for group in page["logGroups"])
    return sorted(others.intersection(found))


def logs() -> "CloudWatchLogsClient":
    """The CloudWatch Logs client."""
    return boto3.client("logs", region_name=names.REGION)


def delete_old(prefixes: list[str], groups: list[str]) -> None:
    """Delete what is below prefixes of the data bucket, and log groups."""
    for prefix in prefixes:
        aws.delete_objects(prefix)
    for group in groups:
        _unless_missing(partial(logs().delete_log_group, logGroupName=group))


def old_lines(prefixes: list[str], groups: list[str]) -> list[str]:
    """A line for each prefix with old data, and for each old log."""
    return [
        *(_described(prefix) for prefix in prefixes),
        *(f"log group {group} (its entries go after 90 days)" for group in groups),
    ]


def _described(prefix: str) -> str:
    count = len(_some(prefix))
    number = f"more than {COUNTED}" if count > COUNTED else count
    return f"data s3://{aws.bucket()}/{prefix} (objects: {number}; stored until they are deleted)"
