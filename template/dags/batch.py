"""Scores the records of some days with the version that was approved last."""

import json

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import get_current_context, task

from usecase_dags.reasons import told
from usecase_dags.workflows import load

WORKFLOW = load(__file__)
ANY_RECORDS = "AnyRecords"


# Without records the jobs that follow are skipped, and nothing else.
@task.short_circuit(task_id=ANY_RECORDS, ignore_downstream_trigger_rules=False)
def any_records(selected: dict[str, str]) -> bool:
    """Whether there are records to score.

    Args:
        selected: The S3 URIs of what Select has written, by name: `selection` is that of the
            folder with selection.json.
    """
    with told(get_current_context()):
        bucket, key = S3Hook.parse_s3_url(f"{selected['selection']}/selection.json")
        return bool(json.loads(S3Hook(aws_conn_id=None).read_key(key, bucket))["records"])


with WORKFLOW.start(__doc__) as dag:
    inputs = WORKFLOW.function("BatchInputs")
    select = WORKFLOW.processing("Select")
    transform = WORKFLOW.transform("Transform")
    collect = WORKFLOW.processing("Collect")
    rejections = WORKFLOW.function("Rejections", trigger_rule="none_failed")
    found = any_records(select.output)
    inputs >> select >> found >> transform >> collect >> rejections
    WORKFLOW.end(dag, decides=ANY_RECORDS)
