"""A CDK application with what stacks around a model have: what runs here, and what is inert."""

from __future__ import annotations

import json

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_ecs_patterns as patterns
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_quicksight as quicksight
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as deployment
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs

PIPELINE = {
    "Version": "2020-12-01",
    "Steps": [{"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}],
}

app = cdk.App()
stack = cdk.Stack(app, "around", env=cdk.Environment(account="000000000000", region="eu-west-1"))
account = cdk.Aws.ACCOUNT_ID

# The model's own
key = kms.Key(stack, "Key", removal_policy=cdk.RemovalPolicy.DESTROY)
bucket = s3.Bucket(stack, "Bucket", encryption_key=key, removal_policy=cdk.RemovalPolicy.DESTROY)
deployment.BucketDeployment(
    stack,
    "Files",
    sources=[deployment.Source.data("said.txt", f"of {bucket.bucket_arn}")],
    destination_bucket=bucket,
    destination_key_prefix="files",
    retain_on_delete=False,
)
role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"))
group = sagemaker.CfnModelPackageGroup(stack, "Models", model_package_group_name="around")
pipeline = sagemaker.CfnPipeline(
    stack,
    "Pipeline",
    pipeline_name="around",
    pipeline_definition={"PipelineDefinitionBody": json.dumps(PIPELINE)},
    role_arn=role.role_arn,
)
letters = sqs.Queue(stack, "Letters")
nightly = scheduler.Schedule(
    stack,
    "Nightly",
    schedule=scheduler.ScheduleExpression.cron(
        hour="3", minute="0", time_zone=cdk.TimeZone.EUROPE_BERLIN
    ),
    target=targets.Universal(
        service="sagemaker",
        action="startPipelineExecution",
        input=scheduler.ScheduleTargetInput.from_object({"PipelineName": "around"}),
        dead_letter_queue=letters,
    ),
)

# Alarms
errors = cloudwatch.Metric(namespace="Around", metric_name="Errors", statistic="Sum")
calls = cloudwatch.Metric(namespace="Around", metric_name="Calls", statistic="Sum")
rate = cloudwatch.MathExpression(
    expression="IF(calls > 0, errors / calls, 0)", using_metrics={"errors": errors, "calls": calls}
)
alarm = rate.create_alarm(stack, "Rate", threshold=0.1, evaluation_periods=1)
cloudwatch.CompositeAlarm(
    stack, "Any", alarm_rule=cloudwatch.AlarmRule.any_of(alarm), composite_alarm_name="around"
)
topic = sns.Topic(stack, "Topic")

# A dashboard on Fargate behind a load balancer, with people who sign in
vpc = ec2.Vpc(stack, "Vpc", max_azs=2, nat_gateways=1, restrict_default_security_group=False)
service = patterns.ApplicationLoadBalancedFargateService(
    stack,
    "Dashboard",
    vpc=vpc,
    task_image_options=patterns.ApplicationLoadBalancedTaskImageOptions(
        image=ecs.ContainerImage.from_registry("public.ecr.aws/docker/library/nginx:1")
    ),
)
service.service.auto_scale_task_count(max_capacity=2).scale_on_cpu_utilization(
    "Cpu", target_utilization_percent=50
)
pool = cognito.UserPool(
    stack, "People", self_sign_up_enabled=False, removal_policy=cdk.RemovalPolicy.DESTROY
)
pool.add_client("Client", generate_secret=True)
pool.add_domain("Domain", cognito_domain=cognito.CognitoDomainOptions(domain_prefix="around"))

# QuickSight and Studio
source = quicksight.CfnDataSource(
    stack, "Source", aws_account_id=account, data_source_id="around", name="around", type="ATHENA"
)
data = quicksight.CfnDataSet(
    stack,
    "Data",
    aws_account_id=account,
    data_set_id="around",
    name="around",
    import_mode="DIRECT_QUERY",
    physical_table_map={
        "t": {
            "customSql": {
                "dataSourceArn": source.attr_arn,
                "name": "t",
                "sqlQuery": "select 1",
                "columns": [{"name": "a", "type": "INTEGER"}],
            }
        }
    },
)
domain = sagemaker.CfnDomain(
    stack,
    "Studio",
    auth_mode="IAM",
    domain_name="around",
    default_user_settings={"executionRole": role.role_arn},
)
profile = sagemaker.CfnUserProfile(
    stack, "Person", domain_id=domain.ref, user_profile_name="person"
)

cdk.CfnOutput(stack, "BucketName", value=bucket.bucket_name)
cdk.CfnOutput(stack, "DataSetArn", value=data.attr_arn)
cdk.CfnOutput(stack, "ProfileArn", value=profile.attr_user_profile_arn)
cdk.CfnOutput(stack, "ModelsArn", value=group.attr_model_package_group_arn)
app.synth()
