"""Jobs on several hosts: processes of this machine that find each other by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Aws, make_service, processing_request, training_request, until
from job_requests import LIST_INPUTS, channel, outputs, process, refused, s3_input, s3_output, train
from test_training import archive

from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.jobs import hosts, jobs


@pytest.fixture(autouse=True)
def _names(isolation: str) -> None:
    if isolation == "environment":
        pytest.skip("hosts have no names on this machine")


def cluster(count: int) -> dict[str, Any]:
    return {"InstanceCount": count, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}


def on(count: int) -> dict[str, Any]:
    return {"ResourceConfig": cluster(count)}


def streams(aws: Aws, group: str, job: str) -> dict[str, list[str]]:
    """Return the log lines of each of a job's hosts."""
    logs = aws.service.client("logs")
    found = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")
    lines = {}
    for stream in found["logStreams"]:
        name = stream["logStreamName"]
        events = logs.get_log_events(logGroupName=group, logStreamName=name, startFromHead=True)
        job_name, _, rest = name.partition("/")
        host, _, epoch = rest.rpartition("-")
        assert job_name == job
        assert epoch.isdecimal()
        lines[host] = [event["message"] for event in events["events"]]
    return lines


# All hosts listen on the same port of their own name; the first asks each of the others.
TALK = (
    "import json, socket, sys, time\n"
    "config = json.load(open('/opt/ml/input/config/resourceconfig.json'))\n"
    "me, hosts = config['current_host'], config['hosts']\n"
    "json.dump(config, open(f'/opt/ml/output/data/{me}.json', 'w'))\n"
    "open(f'/opt/ml/model/{me}', 'w').write(me)\n"
    "if me == hosts[0]:\n"
    "    for host in hosts[1:]:\n"
    "        while True:\n"
    "            try:\n"
    "                peer = socket.create_connection((host, 7777), timeout=30)\n"
    "                break\n"
    "            except ConnectionRefusedError:\n"
    "                time.sleep(0.01)\n"
    "        print('heard of', peer.recv(100).decode(), flush=True)\n"
    "else:\n"
    "    server = socket.create_server((me, 7777))\n"
    "    server.settimeout(30)\n"
    "    server.accept()[0].sendall(me.encode())\n"
    "    print('answered')\n"
)


def test_hosts_of_training_jobs_find_each_other(aws: Aws) -> None:
    output = f"s3://{aws.bucket}/models"
    for name in ("one", "two"):  # at the same time, on the same port
        request = training_request(aws.folder, name, TALK, output, **on(3))
        aws.sagemaker.create_training_job(**request)
    for name in ("one", "two"):
        done = aws.wait("Training", name)
        assert done["TrainingJobStatus"] == "Completed", done
        assert streams(aws, "/aws/sagemaker/TrainingJobs", name) == {
            "algo-1": ["heard of algo-2", "heard of algo-3"],
            "algo-2": ["answered"],
            "algo-3": ["answered"],
        }
        model = archive(aws, f"models/{name}/output/model.tar.gz")
        assert model == {f"algo-{n}": f"algo-{n}".encode() for n in (1, 2, 3)}
    log = aws.folder / "jobs" / "training-one" / "log-algo-3.txt"
    assert log.read_text() == "answered\n"
    until(lambda: {path.suffix for path in log.parent.iterdir()} == {".txt"})
    data = archive(aws, "models/one/output/output.tar.gz")
    config = json.loads(data["algo-2.json"])
    assert config == {
        "current_host": "algo-2",
        "current_instance_type": "ml.m5.large",
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1", "algo-2", "algo-3"],
        "instance_groups": [
            {
                "instance_group_name": "homogeneousCluster",
                "instance_type": "ml.m5.large",
                "hosts": ["algo-1", "algo-2", "algo-3"],
            }
        ],
        "network_interface_name": "lo",
    }


def test_a_host_that_fails_ends_the_others_and_is_the_reason(aws: Aws) -> None:
    code = (
        "import json, sys, time\n"
        "me = json.load(open('/opt/ml/input/config/resourceconfig.json'))['current_host']\n"
        "print('I am', me, flush=True)\n"
        "if me == 'algo-2':\n"
        "    open('/opt/ml/output/failure', 'w').write('algo-2 has had enough')\n"
        "    sys.exit(7)\n"
        "time.sleep(600)\n"
    )
    done = train(aws, code, **on(3))
    assert done["TrainingJobStatus"] == "Failed"
    assert done["FailureReason"] == "AlgorithmError: algo-2 has had enough, exit code: 7"
    assert aws.service.store.list(jobs.PROCESS) == []
    log = aws.folder / "jobs" / "training-job" / "log-algo-2.txt"
    assert log.read_text() == "I am algo-2\n"


def test_objects_are_shared_out_by_key(aws: Aws) -> None:
    keys = {f"in/{n}.csv" for n in range(5)}
    for key in keys:
        aws.put(key)
    code = (
        "import json, os\n"
        "me = json.load(open('/opt/ml/input/config/resourceconfig.json'))['current_host']\n"
        "for name in ('shared', 'whole'):\n"
        "    found = sorted(os.listdir(f'/opt/ml/input/data/{name}'))\n"
        "    open(f'/opt/ml/model/{me}-{name}', 'w').write(' '.join(found))\n"
    )
    uri = f"s3://{aws.bucket}/in/"
    channels = [
        channel("shared", uri, S3DataDistributionType="ShardedByS3Key"),
        channel("whole", uri),
    ]
    done = train(aws, code, InputDataConfig=channels, **on(2))
    assert done["TrainingJobStatus"] == "Completed", done
    found = archive(aws, "models/job/output/model.tar.gz")
    assert found["algo-1-shared"] == b"0.csv 2.csv 4.csv"
    assert found["algo-2-shared"] == b"1.csv 3.csv"
    assert found["algo-1-whole"] == found["algo-2-whole"] == b"0.csv 1.csv 2.csv 3.csv 4.csv"


def test_a_processing_job_on_two_hosts(aws: Aws) -> None:
    for number in range(3):
        aws.put(f"in/{number}")
    code = (
        "import json\n"
        "config = json.load(open('/opt/ml/config/resourceconfig.json'))\n"
        "assert config['hosts'] == ['algo-1', 'algo-2']\n"
        "me = config['current_host']\n"
    ) + LIST_INPUTS.replace("out/found'", "out/' + me")
    done = process(
        aws,
        code,
        ProcessingResources={"ClusterConfig": cluster(2)},
        ProcessingInputs=[
            s3_input(f"s3://{aws.bucket}/in/", S3DataDistributionType="ShardedByS3Key")
        ],
        **outputs(s3_output(f"s3://{aws.bucket}/result")),
    )
    assert done["ProcessingJobStatus"] == "Completed", done
    assert aws.get("result/algo-1") == "0 2"
    assert aws.get("result/algo-2") == "1"


def test_hosts_without_names_are_refused(tmp_path: Path, emulator_port: int) -> None:
    service = make_service(tmp_path, emulator_port, "environment", lambda *_: None)
    request = processing_request(tmp_path, "job", "pass")
    request["ProcessingResources"] = {"ClusterConfig": cluster(2)}
    with pytest.raises(ApiError, match="start the local AWS with --isolation namespace"):
        service.call("CreateProcessingJob", request)
    service.close()


def test_no_two_jobs_get_the_same_address(aws: Aws) -> None:
    code = "import time; print('up', flush=True); time.sleep(600)"
    for name in ("one", "two"):
        request = training_request(aws.folder, name, code, f"s3://{aws.bucket}/m", **on(2))
        aws.sagemaker.create_training_job(**request)
        aws.wait("Training", name, "InProgress")
    runs = list(aws.service.runs.values())
    until(lambda: sum(len(run.addresses) for run in runs) == 4)
    addresses = [address for run in runs for address in run.addresses]
    port = aws.service.settings.port
    assert sorted(addresses) == [f"127.{port >> 8}.{port & 255}.{n}" for n in (1, 2, 3, 4)]
    with pytest.raises(OSError, match="255 hosts are wanted, but of 254 only 252 are free"):
        hosts.assign_addresses(runs[0], 255)


def test_groups_of_instances_are_refused(aws: Aws) -> None:
    group = {"InstanceGroupName": "g", "InstanceCount": 1, "InstanceType": "ml.m5.large"}
    config = {"InstanceGroups": [group], "VolumeSizeInGB": 1}
    request = training_request(aws.folder, "job", "pass", "s3://b/m", ResourceConfig=config)
    code, message = refused(aws.sagemaker.create_training_job, request)
    assert code == "ValidationException"
    assert "InstanceGroups" in message
