"""Two local AWSs on one machine, with equal names in both, do not meet."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from cli_process import Cli, children_of, fresh_cli, is_zombie, listening_addresses
from conftest import REGION, ROLE, processing_request, until
from model_server import SERVER, SERVER_IMAGE

from local_aws.images.containers import start_time
from local_aws.images.images import Image, Images

SLEEP = "import os, time; print('it is', os.getpid(), flush=True); time.sleep(600)"


class Side:
    """One of the two: a bucket, a model behind an endpoint, a job that runs."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.programs = cli.folder / "programs"
        self.programs.mkdir(parents=True)
        self.request = processing_request(self.programs, "same", SLEEP)
        (self.programs / "server.py").write_text(SERVER)
        python = str(Path(sys.executable).parent)
        server = Image(self.programs, python, {}, ["python", "server.py"], [])
        job = Image(root=self.programs, path=python)
        images = Images(cli.data_dir)
        images.register(SERVER_IMAGE, server)
        images.register(self.request["AppSpecification"]["ImageUri"], job)
        self.pid: int = cli.start(f"--region={REGION}")["pid"]
        self.clients = {
            name: cli.client(name) for name in ("s3", "sagemaker", "sagemaker-runtime", "sqs")
        }

    @property
    def log(self) -> Path:
        return self.cli.data_dir / "jobs" / "processing-same" / "log.txt"

    def fill(self) -> None:
        s3, sagemaker = self.clients["s3"], self.clients["sagemaker"]
        s3.create_bucket(Bucket="same", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket="same", Key="model/name", Body=self.cli.folder.name.encode())
        source = {"S3DataType": "S3Prefix", "CompressionType": "None", "S3Uri": "s3://same/model/"}
        container = {"Image": SERVER_IMAGE, "ModelDataSource": {"S3DataSource": source}}
        sagemaker.create_model(ModelName="same", ExecutionRoleArn=ROLE, PrimaryContainer=container)
        variant = {"VariantName": "v", "ModelName": "same", "InstanceType": "ml.m5.large"}
        sagemaker.create_endpoint_config(
            EndpointConfigName="same", ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
        )
        sagemaker.create_endpoint(EndpointName="same", EndpointConfigName="same")
        sagemaker.create_processing_job(**self.request)
        self.in_service()
        until(lambda: self.log.exists() and "it is" in self.log.read_text())

    def in_service(self) -> None:
        waiter = self.clients["sagemaker"].get_waiter("endpoint_in_service")
        waiter.wait(EndpointName="same", WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})

    def model(self) -> str:
        answer = self.clients["sagemaker-runtime"].invoke_endpoint(EndpointName="same", Body=b"x")
        name: str = json.loads(answer["Body"].read())["model"]
        return name

    def job(self) -> str:
        described = self.clients["sagemaker"].describe_processing_job(ProcessingJobName="same")
        status: str = described["ProcessingJobStatus"]
        return status


def written_files(pids: set[int]) -> set[Path]:
    """The files on disk that processes have open for writing."""
    found = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                file = entry.readlink()
                flags = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text().split("flags:")[1]
            except OSError:
                continue
            writes = int(flags.split()[0], 8) & (os.O_WRONLY | os.O_RDWR)
            if writes and file.is_absolute() and not file.is_relative_to("/dev"):
                found.add(file)
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's /proc")
def test_two_with_equal_names_do_not_meet(tmp_path: Path) -> None:
    with fresh_cli(tmp_path / "one") as first, fresh_cli(tmp_path / "two") as second:
        sides = one, two = Side(first), Side(second)
        for side in sides:
            side.fill()
        assert (one.model(), two.model()) == ("one", "two")
        families = [children_of(side.pid) for side in sides]
        assert not families[0] & families[1]
        open_to = [listening_addresses(family) for family in families]
        for addresses, family, side in zip(open_to, families, sides, strict=True):
            assert len(addresses) >= 2  # the service's and the model server's
            assert {address for address, _ in addresses} == {"0100007F"}
            files = written_files(family)
            assert files
            assert {f for f in files if not f.is_relative_to(side.cli.data_dir)} == set()
        assert not open_to[0] & open_to[1]

        before, alive = ({pid: start_time(pid) for pid in family} for family in families)
        one.cli.kill()
        one.cli.start(f"--region={REGION}")
        one.clients = {name: one.cli.client(name) for name in one.clients}
        until(lambda: one.job() == "Failed")
        assert two.job() == "InProgress"
        assert {pid: start_time(pid) for pid in alive} == alive
        left = {pid for pid, began in before.items() if start_time(pid) == began}
        assert {pid for pid in left if not is_zombie(pid)} == set()
        one.in_service()
        assert (one.model(), two.model()) == ("one", "two")
        one.cli.run("reset")
        assert two.model() == "two"
        assert two.clients["s3"].list_buckets()["Buckets"][0]["Name"] == "same"
