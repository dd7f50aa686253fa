"""The environment that runs the DAGs: Amazon Managed Workflows for Apache Airflow (MWAA)."""

import hashlib
import os
from collections.abc import Mapping, Sequence

from aws_cdk import (
    Acknowledgment,
    DefaultStackSynthesizer,
    Duration,
    Fn,
    IgnoreMode,
    RemovalPolicy,
    Stack,
    Validations,
)
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_mwaa as mwaa
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from infra.base import ROOT, BaseStack
from infra.permissions import Allow, Arns, list_objects, role, service_role
from workflows import keys
from workflows.airflow import AIRFLOW_VERSION

ENVIRONMENT_CLASS = "mw1.small"
"""How large it is; what it costs, day and night, is in docs/operations.md."""
MIN_WORKERS, MAX_WORKERS = 1, 5
LOGS = ("DAGProcessing", "Scheduler", "Task", "WebServer", "Worker")


class AirflowStack(Stack):
    """The environment, its network, its role, and the alarm on its health."""

    def __init__(self, scope: Construct, base: BaseStack) -> None:
        names = base.names
        super().__init__(scope, names.of("airflow"), env=base.target_env)
        self.add_stack_dependency(base)
        arns = Arns(self)
        execution_role = self._role(arns)
        text = (ROOT / "dags" / "requirements.txt").read_text()
        # The environment takes another file when its key is another one.
        folder = f"{keys.REQUIREMENTS}{hashlib.sha256(text.encode()).hexdigest()[:8]}/"
        files = Upload(
            self,
            "Upload",
            {
                f"{keys.DAGS}usecase_dags/": [code("usecase_dags/*.py")],
                folder: [code("requirements.txt")],
            },
        )
        vpc = self._network()
        group = ec2.SecurityGroup(
            self, "SecurityGroup", vpc=vpc, description="The parts of the environment"
        )
        group.add_ingress_rule(group, ec2.Port.all_traffic(), "The parts talk to each other")
        log = mwaa.CfnEnvironment.ModuleLoggingConfigurationProperty(
            enabled=True, log_level="WARNING"
        )
        tasks = mwaa.CfnEnvironment.ModuleLoggingConfigurationProperty(
            enabled=True, log_level="INFO"
        )
        environment = mwaa.CfnEnvironment(
            self,
            "Environment",
            name=names.airflow,
            airflow_version=AIRFLOW_VERSION,
            environment_class=ENVIRONMENT_CLASS,
            min_workers=MIN_WORKERS,
            max_workers=MAX_WORKERS,
            source_bucket_arn=arns.bucket,
            dag_s3_path=keys.DAGS.rstrip("/"),
            requirements_s3_path=f"{folder}requirements.txt",
            execution_role_arn=execution_role.role_arn,
            network_configuration=mwaa.CfnEnvironment.NetworkConfigurationProperty(
                subnet_ids=vpc.select_subnets(
                    subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS
                ).subnet_ids,
                security_group_ids=[group.security_group_id],
            ),
            # People who may use it sign in with IAM; who else finds the page gets no further.
            webserver_access_mode="PUBLIC_ONLY",
            airflow_configuration_options=options(),
            logging_configuration=mwaa.CfnEnvironment.LoggingConfigurationProperty(
                dag_processing_logs=log,
                scheduler_logs=log,
                task_logs=tasks,
                webserver_logs=log,
                worker_logs=log,
            ),
        )
        environment.node.add_dependency(files, execution_role, vpc)
        self._alarm(names.airflow, names.airflow_alarm)

    @property
    def availability_zones(self) -> list[str]:
        """The first two zones of the region: CDK itself would ask the account for all."""
        return [Fn.select(i, Fn.get_azs()) for i in range(2)]

    def _network(self) -> ec2.Vpc:
        """Two private subnets, as MWAA asks for, and the way out of them to AWS's services."""
        vpc = ec2.Vpc(self, "Network", max_azs=2, nat_gateways=1)
        reason = "What leaves the network goes to AWS, whose CloudTrail records it"
        Validations.of(vpc).acknowledge(Acknowledgment(id="AwsSolutions-VPC7", reason=reason))
        return vpc

    def _role(self, arns: Arns) -> iam.Role:
        """The role of the environment; the stacks of the workflows add what these need.

        See "Amazon MWAA execution role" in the user guide of MWAA.
        """
        names = arns.names
        services = [f"airflow{part}.amazonaws.com" for part in ("", "-env")]
        queues = f"arn:{self.partition}:sqs:{self.region}:*:airflow-celery-*"
        sqs = f"sqs.{self.region}.amazonaws.com"
        return role(
            self,
            "Role",
            iam.CompositePrincipal(*(iam.ServicePrincipal(service) for service in services)),
            [
                Allow(
                    ["airflow:PublishMetrics"], [arns.of("airflow", f"environment/{names.airflow}")]
                ),
                # The operators ask for the bucket of a job's inputs, too.
                Allow(["s3:ListBucket", "s3:GetBucketPublicAccessBlock"], [arns.bucket]),
                Allow(
                    ["s3:GetObject", "s3:GetObjectVersion"],
                    [arns.objects(f"{keys.AIRFLOW}*")],
                    "The files are those of the folder dags, whatever their names",
                ),
                Allow(["s3:GetAccountPublicAccessBlock"], ["*"], "It is a setting of the account"),
                Allow(
                    [
                        *("logs:CreateLogGroup", "logs:CreateLogStream", "logs:GetLogEvents"),
                        *("logs:GetLogGroupFields", "logs:GetLogRecord", "logs:GetQueryResults"),
                        "logs:PutLogEvents",
                    ],
                    [arns.log_groups(f"airflow-{names.airflow}-{part}:") for part in LOGS],
                    "MWAA names the streams of its logs",
                ),
                Allow(["logs:DescribeLogGroups"], ["*"], "CloudWatch lists all log groups"),
                Allow(
                    ["cloudwatch:PutMetricData"],
                    ["*"],
                    "CloudWatch knows no resources here; the condition limits the namespace",
                    conditions={
                        "StringEquals": {"cloudwatch:namespace": ["AmazonMWAA", "AWS/MWAA"]}
                    },
                ),
                Allow(
                    [
                        *("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:SendMessage"),
                        *("sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"),
                    ],
                    [queues],
                    "The queue of the tasks is in an account of MWAA, with a name that MWAA makes",
                ),
                Allow(
                    ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"],
                    [f"arn:{self.partition}:kms:{self.region}:*:key/*"],
                    "The key of that queue is MWAA's own, too; the condition limits it to SQS",
                    conditions={"StringEquals": {"kms:ViaService": sqs}},
                ),
            ],
            names.airflow_role,
        )

    def _alarm(self, environment: str, name: str) -> None:
        """The alarm on a quarter of an hour without a sign of life of the scheduler."""
        cloudwatch.Alarm(
            self,
            "Health",
            alarm_name=name,
            alarm_description=(
                f"The scheduler of the environment {environment} of MWAA gives no sign of life: no "
                "workflow runs. Its page in the console of MWAA shows its state, the log "
                f"airflow-{environment}-Scheduler what it says."
            ),
            metric=cloudwatch.Metric(
                namespace="AmazonMWAA",
                metric_name="SchedulerHeartbeat",
                dimensions_map={"Environment": environment, "Function": "Scheduler"},
                statistic=cloudwatch.Stats.SUM,
                period=Duration.minutes(5),
            ),
            threshold=1,
            evaluation_periods=3,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.BREACHING,
        )


def options() -> dict[str, str]:
    """The configuration of Airflow, as far as it is not the default.

    On AWS a job takes minutes, so a task that waits for one is deferred and needs no worker. On a
    local AWS, which `AWS_ENDPOINT_URL` names, it takes a second, and a deferral three.
    """
    if "AWS_ENDPOINT_URL" in os.environ:
        return {"operators.default_deferrable": "False", "usecase.check_interval": "0.2"}
    return {"operators.default_deferrable": "True", "usecase.check_interval": "30"}


def code(pattern: str) -> s3_deployment.ISource:
    """Files of the folder dags, by a pattern."""
    *above, _ = pattern.split("/")
    return s3_deployment.Source.asset(
        str(ROOT / "dags" / "/".join(above)),
        exclude=["*", f"!{pattern.rpartition('/')[2]}"],
        ignore_mode=IgnoreMode.GIT,
    )


class Upload(Construct):
    """Files that the deployment writes to the data bucket, and takes away with the stack."""

    def __init__(
        self, scope: Construct, name: str, files: Mapping[str, Sequence[s3_deployment.ISource]]
    ) -> None:
        """Write the files. A stack has one of these, as CDK's function has one role in a stack.

        Args:
            scope: Where it belongs.
            name: The construct's id.
            files: The files, by what their keys begin with; nothing else is there.
        """
        super().__init__(scope, name)
        arns, stack = Arns(self), Stack.of(self)
        log_group = logs.LogGroup(
            self,
            "Log",
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=RemovalPolicy.DESTROY,
        )
        qualifier = (
            stack.node.try_get_context("@aws-cdk/core:bootstrapQualifier")
            or DefaultStackSynthesizer.DEFAULT_QUALIFIER
        )
        cdk = f"cdk-{qualifier}-assets-{stack.account}-{stack.region}"
        assets = f"arn:{stack.partition}:s3:::{cdk}"
        uploading = service_role(
            self,
            "Role",
            "lambda.amazonaws.com",
            [
                Allow(["logs:CreateLogStream", "logs:PutLogEvents"], [log_group.log_group_arn]),
                Allow(["s3:GetObject"], [f"{assets}/*"], "CDK names its files after their content"),
                Allow(["s3:ListBucket"], [assets]),
                list_objects(arns, *files),
                Allow(
                    ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
                    [arns.objects(f"{prefix}*") for prefix in files],
                    "The files are those of the folder dags, whatever their names",
                ),
            ],
        )
        bucket = s3.Bucket.from_bucket_name(self, "Bucket", arns.data)
        for number, (prefix, sources) in enumerate(files.items()):
            s3_deployment.BucketDeployment(
                self,
                f"Files{number}",
                sources=list(sources),
                destination_bucket=bucket,
                destination_key_prefix=prefix,
                retain_on_delete=False,
                role=uploading.without_policy_updates(),
                log_group=log_group,
            )
        reason = "It is CDK's own function, with the Python that CDK tests it with"
        rule = Acknowledgment(id="AwsSolutions-L1", reason=reason)
        for child in stack.node.children:
            if child.node.id.startswith("Custom::CDKBucketDeployment"):
                Validations.of(child).acknowledge(rule)
