"""The request body of every SageMaker job and function, as `boto3` takes it, with placeholders.

These are plain functions of their arguments; nothing here calls AWS. A body holds no job name, that
is for the orchestrator to give. `workflows.placeholders` lists the placeholders.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from usecase.monitors import MONITORS, QUALITY
from workflows import keys
from workflows.names import CONTENT_TYPES, QUALITY_METRICS, SUPPORTED_INSTANCE_TYPES, Names
from workflows.placeholders import EXECUTION, model, output, parameter, result

if TYPE_CHECKING:
    from types_boto3_sagemaker.literals import ProcessingS3DataTypeType
    from types_boto3_sagemaker.type_defs import (
        ChannelTypeDef,
        ModelPackageContainerDefinitionTypeDef,
        ProcessingInputTypeDef,
        ProcessingOutputTypeDef,
    )

    from usecase.config import UseCase

Body = dict[str, Any]

#: The steps of the training workflow, which hand each other outputs of these names.
PREPARE, TRAIN, EVALUATE, BASELINE = "Prepare", "Train", "Evaluate", "Baseline"
GATE, REGISTER, NOT_GOOD_ENOUGH = "Gate", "Register", "NotGoodEnough"
EVALUATION = "evaluation"
#: The steps of the monitoring workflow.
INPUTS, DUE, MONITOR, RESULTS = "Inputs", "Due", "Monitor", "Results"

VOLUME_GB = 30
MAX_RUNTIME_SECONDS = 4 * 3600
PROCESSING = "/opt/ml/processing"

#: The parameters of the monitoring workflow. `auto` is the version that serves, the time now, and
#: the window that usecase.toml gives each monitor.
MONITORING_PARAMETERS = {
    "Trigger": "manual",
    "Version": "auto",
    "Time": "auto",
    "WindowStart": "auto",
    "WindowEnd": "auto",
}


@dataclass(frozen=True)
class Settings:
    """What the request bodies need to know of where they run.

    Attributes:
        use_case: The use case, from usecase.toml.
        names: The names of the environment.
        image: URI of the image with `usecase` in it.
        role: ARN of the role that the jobs run with.
        bucket: Name of the data bucket.
        commit: The commit of this repository that the image was built from.
    """

    use_case: "UseCase"
    names: Names
    image: str
    role: str
    bucket: str
    commit: str

    def uri(self, *parts: str) -> str:
        """The S3 URI of a key of the data bucket."""
        return "/".join((f"s3://{self.bucket}", *parts))

    def of_training(self, *parts: str) -> str:
        """The S3 URI of what an execution of the training workflow writes."""
        return self.uri(f"{keys.TRAINING}{EXECUTION}", *parts)


@dataclass(frozen=True)
class Gate:
    """What lets a model be registered: its metric on the test data, against a threshold.

    Attributes:
        metric: The metric.
        threshold: What the parameter Threshold is unless it is given.
        higher_is_better: Whether the metric must be at least the threshold; else at most.
    """

    metric: str
    threshold: float
    higher_is_better: bool

    #: The file in the output EVALUATION of the step EVALUATE that has the metric.
    file = "statistics.json"

    @property
    def path(self) -> str:
        """Where that file has it."""
        return f"{QUALITY_METRICS}.{self.metric}.value"

    def missed(self, value: str = "") -> str:
        """What is said of a model that does not get through.

        Args:
            value: Stands for the metric's value, where the orchestrator can tell it.
        """
        told = f"{value}, " if value else ""
        side = "below" if self.higher_is_better else "above"
        threshold = parameter("Threshold")
        return f"{self.metric} on the test data is {told}{side} the threshold {threshold}"


def gate(settings: Settings) -> Gate:
    """The gate of the training workflow."""
    approval = settings.use_case.approval
    return Gate(approval.metric, approval.threshold, approval.higher_is_better)


def training_parameters(settings: Settings) -> dict[str, str | float]:
    """The parameters of the training workflow, with what they are unless they are given."""
    return {"Trigger": "manual", "Threshold": gate(settings).threshold}


def prepare(settings: Settings) -> Body:
    """Make train, validation and test data of the data mart."""
    tables = settings.use_case.data.tables
    return processing(
        settings,
        "prepare",
        # The slash at the end keeps `flights` from taking in `flights_archive` as well.
        inputs=[folder(table, settings.uri(f"{keys.MART}{table}/")) for table in tables],
        outputs={name: settings.of_training(name) for name in (*channels(settings), "test")},
    )


def channels(settings: Settings) -> list[str]:
    """What the training job gets of what `prepare` makes."""
    return ["train", "validation", *(["lookups"] if settings.use_case.request else [])]


def train(settings: Settings) -> Body:
    """Train a model."""
    use_case = settings.use_case
    inputs: list[ChannelTypeDef] = [
        {
            "ChannelName": name,
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": output(PREPARE, name),
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
        }
        for name in channels(settings)
    ]
    return {
        "RoleArn": settings.role,
        "AlgorithmSpecification": {
            "TrainingImage": settings.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {
                    "Name": f"validation:{use_case.approval.metric}",
                    "Regex": f"validation:{use_case.approval.metric}=([0-9.eE+-]+);",
                }
            ],
        },
        "HyperParameters": {k: str(v) for k, v in use_case.training.hyperparameters.items()},
        "InputDataConfig": inputs,
        "OutputDataConfig": {"S3OutputPath": settings.of_training("model")},
        "ResourceConfig": {
            "InstanceCount": 1,
            "InstanceType": use_case.instances.training,
            "VolumeSizeInGB": VOLUME_GB,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": MAX_RUNTIME_SECONDS},
        "EnableNetworkIsolation": True,
    }


def evaluate(settings: Settings) -> Body:
    """Measure the model on the test data; also the baseline of the model's quality."""
    return processing(
        settings,
        "evaluate",
        inputs=[folder("model", model(TRAIN)), folder("test", output(PREPARE, "test"))],
        outputs={EVALUATION: settings.of_training(EVALUATION)},
    )


def baseline(settings: Settings) -> Body:
    """Describe the training data, as the baseline of the data's quality."""
    return processing(
        settings,
        "baseline",
        inputs=[folder("train", output(PREPARE, "train"))],
        outputs={"baseline": settings.of_training("baseline")},
    )


def register(settings: Settings) -> Body:
    """Register the model as a version that awaits approval."""
    instances = settings.use_case.instances
    container: ModelPackageContainerDefinitionTypeDef = {
        "Image": settings.image,
        "ModelDataUrl": model(TRAIN),
    }
    return {
        "ModelPackageGroupName": settings.names.model_package_group,
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": [*CONTENT_TYPES],
            "SupportedResponseMIMETypes": [*CONTENT_TYPES],
            SUPPORTED_INSTANCE_TYPES: [instances.inference],
        },
        "ModelMetrics": {
            "ModelQuality": _sources(output(EVALUATE, EVALUATION), QUALITY),
            "ModelDataQuality": _sources(output(BASELINE, "baseline"), QUALITY),
            **{m.registered: _sources(output(*m.written), m.metrics) for m in MONITORS},
        },
        # What the monitors compare with as long as this version serves.
        "DriftCheckBaselines": {
            m.registered: _sources(output(*m.written), m.baselines) for m in MONITORS
        },
        "MetadataProperties": {"CommitId": settings.commit},
        "CustomerMetadataProperties": {
            "Execution": EXECUTION,
            # Those that the command `monitor` of the image runs.
            "Monitors": " ".join(monitor.name for monitor in MONITORS),
            "TestData": output(PREPARE, "test"),
            "Schema": f"{output(EVALUATE, EVALUATION)}/schema.json",
            # What was asked of such a version has to be looked up once more, to be monitored.
            **({"Request": "true"} if settings.use_case.request else {}),
            "Trigger": parameter("Trigger"),
        },
    }


def compare(settings: Settings, inputs: Mapping[str, str], tables: Sequence[str], to: str) -> Body:
    """Measure a version on the test data of another one, in its own image.

    Args:
        settings: With the image of the version.
        inputs: S3 URIs: `model`, the version's model.tar.gz; `test`, the test data of the other
            one; `other`, the other one's evaluation, which holds its schema. Without the latter the
            image need not know the command `compare`: the test data is taken as the version's own.
        tables: The tables of the data mart that the version's features are built of; none when the
            test data has them.
        to: S3 URI of the folder to write statistics.json to.
    """
    return processing(
        settings,
        "compare" if "other" in inputs else "evaluate",
        inputs=[
            *(folder(name, uri) for name, uri in inputs.items()),
            *(folder(table, settings.uri(f"{keys.MART}{table}/")) for table in tables),
        ],
        outputs={"evaluation": to},
    )


def skew(settings: Settings, manifest: str, tables: Sequence[str], version: int, to: str) -> Body:
    """Compare the features of predictions with the data mart, in the image of their version.

    Args:
        settings: With the image of the version.
        manifest: S3 URI of the manifest of the predictions' files.
        tables: The tables of the data mart that the version's features are built of.
        version: Its number.
        to: S3 URI of the folder to write skew.json to.
    """
    return processing(
        settings,
        "skew",
        inputs=[
            _input("files", manifest, "ManifestFile"),
            *(folder(table, settings.uri(f"{keys.MART}{table}/")) for table in tables),
        ],
        outputs={"skew": to},
        environment={"MODEL_VERSION": str(version)},
    )


def monitor(settings: Settings) -> Body:
    """Compare the predictions of a version with its baselines, in the version's own image.

    So the rows are read by the code, and by the schema, that the version was trained with.
    """
    found = f"{keys.MONITOR_INPUTS}{EXECUTION}"
    return processing(
        replace(settings, image=result(INPUTS, "image")),
        "monitor",
        inputs=[
            folder("plan", settings.uri(found, "plan.json")),
            _input("files", settings.uri(found, "files.manifest"), "ManifestFile"),
        ],
        # The job writes `<monitor>/<execution>/…`, and `day=<day>/…` of tables.
        outputs={
            "report": settings.uri(keys.MONITORING.rstrip("/")),
            **{key.rstrip("/"): settings.uri(key.rstrip("/")) for key in keys.COLLECTED},
        },
    )


def monitor_inputs() -> Body:
    """What the function that finds what the monitors have to look at is called with."""
    return {
        "execution": EXECUTION,
        "version": parameter("Version"),
        "time": parameter("Time"),
        "start": parameter("WindowStart"),
        "end": parameter("WindowEnd"),
    }


def monitors(use_case: "UseCase") -> dict[str, Body]:
    """What the functions need to know of each monitor.

    Its `baseline` is a member of DriftCheckBaselines; its window is so many hours long, and ends so
    many hours ago.
    """
    found = {}
    for monitor in MONITORS:
        section = getattr(use_case.monitors, monitor.name)
        hours = {name: getattr(section, name) for name in ("window_hours", "delay_hours")}
        found[monitor.name] = {"baseline": monitor.registered, "labels": monitor.labels, **hours}
    return found


def processing(
    settings: Settings,
    command: str,
    inputs: "list[ProcessingInputTypeDef]",
    outputs: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
) -> Body:
    """A processing job that runs a command of the image."""
    written: list[ProcessingOutputTypeDef] = [
        {
            "OutputName": name,
            "S3Output": {
                "S3Uri": uri,
                "LocalPath": f"{PROCESSING}/output/{name}",
                "S3UploadMode": "EndOfJob",
            },
        }
        for name, uri in outputs.items()
    ]
    body: Body = {
        "RoleArn": settings.role,
        "AppSpecification": {"ImageUri": settings.image, "ContainerArguments": [command]},
        "ProcessingInputs": inputs,
        "ProcessingOutputConfig": {"Outputs": written},
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": settings.use_case.instances.processing,
                "VolumeSizeInGB": VOLUME_GB,
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": MAX_RUNTIME_SECONDS},
        # SageMaker brings the inputs and takes the outputs; the code itself needs no network.
        "NetworkConfig": {"EnableNetworkIsolation": True},
    }
    return body | ({"Environment": dict(environment)} if environment else {})


def folder(name: str, uri: str, path: str = "") -> "ProcessingInputTypeDef":
    """An input with all that an S3 URI is the prefix of, below a path of its name unless given."""
    return _input(name, uri, "S3Prefix", path)


def _input(
    name: str, uri: str, kind: "ProcessingS3DataTypeType", path: str = ""
) -> "ProcessingInputTypeDef":
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": path or f"{PROCESSING}/input/{name}",
            "S3DataType": kind,
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
        },
    }


def _sources(folder: str, files: Mapping[str, str]) -> Body:
    """Files of a folder, as a model package refers to them."""
    return {
        member: {"ContentType": "application/json", "S3Uri": f"{folder}/{file}"}
        for member, file in files.items()
    }
