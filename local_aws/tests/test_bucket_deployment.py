"""Custom::CDKBucketDeployment: what is in assets gets into a bucket, and leaves it."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from conftest import until
from host_process import HostProcess, function
from mwaa_requests import bucket


class Deployment:
    """A stack with one deployment of two assets."""

    def __init__(self, host: HostProcess, name: str) -> None:
        self.host, self.name = host, name
        self.s3, self.stacks = host.client("s3"), host.client("cloudformation")
        bucket(host, name)
        bucket(host, f"{name}-assets")
        self.token = function(host, name, "def handler(event, context): return 1")

    def asset(self, key: str, **files: str) -> None:
        """Put an asset: a ZIP file of text files, `__` in their names standing for `/`."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for file, text in files.items():
                archive.writestr(f"{file.replace('__', '/')}.txt", text)
        self.s3.put_object(Bucket=f"{self.name}-assets", Key=key, Body=buffer.getvalue())

    def deploy(self, *keys: str, status: str = "COMPLETE", **properties: Any) -> dict[str, str]:
        """Create or update the stack, and return its outputs."""
        resource = {
            "ServiceToken": self.token,
            "SourceBucketNames": [f"{self.name}-assets"] * len(keys),
            "SourceObjectKeys": list(keys),
            "DestinationBucketName": self.name,
            "DestinationBucketKeyPrefix": "files/",
            **properties,
        }
        template = {
            "Resources": {"D": {"Type": "Custom::CDKBucketDeployment", "Properties": resource}},
            "Outputs": {
                "Keys": {"Value": {"Fn::Join": [",", {"Fn::GetAtt": ["D", "SourceObjectKeys"]}]}}
            },
        }
        body = json.dumps(template)
        exists = self.name in [
            stack["StackName"] for stack in self.stacks.describe_stacks()["Stacks"]
        ]
        change = self.stacks.update_stack if exists else self.stacks.create_stack
        change(StackName=self.name, TemplateBody=body)
        until(lambda: self._stack()["StackStatus"].endswith(status))
        outputs = self._stack().get("Outputs", [])
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def delete(self) -> None:
        self.stacks.delete_stack(StackName=self.name)
        until(
            lambda: (
                self.name
                not in [stack["StackName"] for stack in self.stacks.describe_stacks()["Stacks"]]
            )
        )

    def files(self) -> dict[str, str]:
        listed = self.s3.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {
            entry["Key"]: self.s3.get_object(Bucket=self.name, Key=entry["Key"])["Body"]
            .read()
            .decode()
            for entry in listed
        }

    def reasons(self) -> str:
        events = self.stacks.describe_stack_events(StackName=self.name)["StackEvents"]
        return " ".join(event.get("ResourceStatusReason", "") for event in events)

    def _stack(self) -> dict[str, Any]:
        found: dict[str, Any] = self.stacks.describe_stacks(StackName=self.name)["Stacks"][0]
        return found


def test_assets_are_extracted_and_what_is_gone_is_pruned(host: HostProcess, name: str) -> None:
    stack = Deployment(host, name)
    stack.s3.put_object(Bucket=name, Key="files/old.txt", Body=b"old")
    stack.s3.put_object(Bucket=name, Key="files-beside.txt", Body=b"beside")
    stack.asset("one.zip", a="1", sub__b="2")
    stack.asset("two.zip", a="later", c="at <TOKEN>")
    markers = [{}, {"<TOKEN>": "here"}]

    outputs = stack.deploy("one.zip", "two.zip", SourceMarkers=markers)

    assert outputs["Keys"] == "one.zip,two.zip"
    assert stack.files() == {
        "files-beside.txt": "beside",
        "files/a.txt": "later",
        "files/c.txt": "at here",
        "files/sub/b.txt": "2",
    }
    assert stack.s3.head_object(Bucket=name, Key="files/a.txt")["ContentType"] == "text/plain"

    stack.deploy("one.zip", Prune="false", Exclude=["a*"], UserMetadata={"By": "test"})
    assert set(stack.files()) == {
        "files-beside.txt",
        "files/a.txt",
        "files/c.txt",
        "files/sub/b.txt",
    }
    assert stack.files()["files/a.txt"] == "later"
    found = stack.s3.head_object(Bucket=name, Key="files/sub/b.txt")
    assert found["Metadata"] == {"by": "test"}

    stack.deploy("one.zip", Exclude=["a*"])
    assert set(stack.files()) == {"files-beside.txt", "files/a.txt", "files/sub/b.txt"}


def test_files_stay_or_go_with_their_stack_as_it_says(host: HostProcess, name: str) -> None:
    stack = Deployment(host, name)
    stack.asset("one.zip", a="1")
    stack.deploy("one.zip", RetainOnDelete="false")
    stack.deploy("one.zip", RetainOnDelete="false", DestinationBucketKeyPrefix="moved")
    assert stack.files() == {"moved/a.txt": "1"}
    stack.delete()
    assert stack.files() == {}

    stack.deploy("one.zip")
    stack.delete()
    assert stack.files() == {"files/a.txt": "1"}


def test_what_cannot_be_done_fails_the_stack_by_name(host: HostProcess, name: str) -> None:
    stack = Deployment(host, name)
    stack.asset("one.zip", a="1")
    stack.deploy("one.zip", DistributionId="E1", status="ROLLBACK_COMPLETE")
    assert "DistributionId: there is no CloudFront" in stack.reasons()
    assert stack.files() == {}
