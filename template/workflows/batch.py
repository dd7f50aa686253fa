"""The request bodies of the batch workflow.

    BatchInputs ─► Select ─► Transform ─► Collect ─► Rejections

Every job runs in the image of the version that predicts, so that the features are built by the
code, and in the order, that the model was trained with.
"""

from dataclasses import replace

from workflows import keys
from workflows.jobs import PROCESSING, Body, Settings, folder, processing
from workflows.placeholders import EXECUTION, output, parameter, result

INPUTS, SELECT, TRANSFORM, COLLECT = "BatchInputs", "Select", "Transform", "Collect"


def inputs(_settings: Settings) -> Body:
    """What the function that finds the version and the days is called with."""
    return {"start": parameter("Start"), "end": parameter("End")}


def select(settings: Settings) -> Body:
    """Write the records of the days as lines to be sent to the model.

    Its output `selection` has a file selection.json, which counts them in `records`. Where there
    are none, the other outputs hold the results of the days: there is nothing to collect.

    The tables are those that the version was trained with, and only its image knows them: today's
    usecase.toml may name others. So the job gets the whole data mart.
    """
    return processing(
        _of_version(settings),
        "select",
        # Each table where an input of its name would be; files of no table lie beside them.
        inputs=[folder("mart", settings.uri(keys.MART), f"{PROCESSING}/input")],
        outputs={
            "records": _of_batch(settings, "records"),
            "selection": _of_batch(settings, "selection"),
            **_results(settings),
        },
        environment={
            "DAYS_START": result(INPUTS, "start"),
            "DAYS_END": result(INPUTS, "end"),
            "MODEL_VERSION": result(INPUTS, "version"),
        },
    )


def transform(settings: Settings) -> Body:
    """Let the model answer each line."""
    instances = settings.use_case.instances
    return {
        "ModelName": result(INPUTS, "model"),
        # Many rows a request, as the model computes them all at once, and yet several requests a
        # file, for all processors: how many at a time, the container says in
        # /execution-parameters. SageMaker allows for 100 MB of them at a time.
        "BatchStrategy": "MultiRecord",
        "MaxPayloadInMB": 6,
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": output(SELECT, "records")}
            },
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "TransformOutput": {
            "S3OutputPath": _of_batch(settings, "transformed"),
            "Accept": "text/csv",
            "AssembleWith": "Line",
        },
        # The model gets the features; the id and the time before them come back with its answer.
        "DataProcessing": {"InputFilter": "$[2:]", "JoinSource": "Input"},
        "TransformResources": {
            "InstanceType": instances.inference,
            "InstanceCount": instances.inference_count,
        },
    }


def collect(settings: Settings) -> Body:
    """Write the answers day by day."""
    # `usecase.predictions.parquet` looks for the key there.
    place = f"{PROCESSING}/input/files/log-key"
    key = [folder("log-key", settings.uri(keys.LOG_KEY), place)]
    return processing(
        _of_version(settings),
        "collect",
        inputs=[
            folder("selection", output(SELECT, "selection")),
            folder("transformed", _of_batch(settings, "transformed")),
            *(key if settings.use_case.log.hash else []),
        ],
        outputs=_results(settings),
        environment={"MODEL_VERSION": result(INPUTS, "version")},
    )


def rejections(settings: Settings) -> Body:
    """What the function that counts predictions and rejected records is called with."""
    return {"report": _of_batch(settings, "report"), "version": result(INPUTS, "version")}


def _of_version(settings: Settings) -> Settings:
    """Settings with the image of the version that predicts."""
    return replace(settings, image=result(INPUTS, "image"))


def _of_batch(settings: Settings, name: str) -> str:
    """The S3 URI of what an execution of the batch workflow writes."""
    return settings.uri(f"{keys.BATCH}{EXECUTION}", name)


def _results(settings: Settings) -> dict[str, str]:
    """Where the results go: both tables, and the report of this execution."""
    return {
        "predictions": settings.uri(keys.PREDICTIONS.rstrip("/")),
        "rejected": settings.uri(keys.REJECTED.rstrip("/")),
        "report": _of_batch(settings, "report"),
    }
