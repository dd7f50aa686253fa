"""What tests ask of Amazon MWAA: environments, and what they need."""

from __future__ import annotations

import json
import time
from typing import Any

from host_process import ACCOUNT, HostProcess

NETWORK = {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": ["airflow.amazonaws.com", "airflow-env.amazonaws.com"]},
            "Action": "sts:AssumeRole",
        }
    ],
}


def bucket(host: HostProcess, name: str, *, versioned: bool = True) -> str:
    """Make a bucket and return its ARN."""
    s3 = host.client("s3")
    s3.create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name}
    )
    if versioned:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return f"arn:aws:s3:::{name}"


def role(host: HostProcess, name: str, bucket_arn: str) -> str:
    """Make an execution role that may read a bucket and write logs, and return its ARN."""
    iam = host.client("iam")
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"][
        "Arn"
    ]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject*", "s3:GetBucket*", "s3:List*"],
                "Resource": [bucket_arn, f"{bucket_arn}/*"],
            },
            {
                "Effect": "Allow",
                "Action": "cloudwatch:PutMetricData",
                "Resource": "*",
                "Condition": {"StringEquals": {"cloudwatch:namespace": "AmazonMWAA"}},
            },
            {
                "Effect": "Allow",
                "Action": "logs:*",
                "Resource": f"arn:aws:logs:*:{ACCOUNT}:log-group:airflow-*",
            },
        ],
    }
    iam.put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=json.dumps(policy))
    return arn


def request(name: str, bucket_arn: str, role_arn: str, **more: Any) -> dict[str, Any]:
    """Return a CreateEnvironment request."""
    return {
        "Name": name,
        "DagS3Path": "dags",
        "ExecutionRoleArn": role_arn,
        "NetworkConfiguration": NETWORK,
        "SourceBucketArn": bucket_arn,
        **more,
    }


def settled(host: HostProcess, name: str, *pending: str, seconds: float = 600.0) -> dict[str, Any]:
    """Wait until an environment has none of some statuses, and return it."""
    mwaa = host.client("mwaa")
    deadline = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = mwaa.get_environment(Name=name)["Environment"]
        if found["Status"] not in (pending or ("CREATING", "MAINTENANCE", "UPDATING")):
            return found
        assert time.monotonic() < deadline, host.log.read_text()[-3000:]
        time.sleep(0.1)
