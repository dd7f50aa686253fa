"""Amazon SageMaker put together: its rooms, and the order in which they start and end.

The rooms know nothing of each other but what they import; what has to happen before what is said
here.
"""

from __future__ import annotations

from typing import ClassVar

from local_aws.sagemaker.core import search
from local_aws.sagemaker.core.service import Hook, Service
from local_aws.sagemaker.hosting import autoscaling, endpoints, models
from local_aws.sagemaker.jobs import jobs, processing, training, transform
from local_aws.sagemaker.monitoring import definitions, executions, schedules
from local_aws.sagemaker.pipelines import callback, execution, pipelines, runs, versions
from local_aws.sagemaker.registry import model_packages
from local_aws.sagemaker.tuning import tuning

WITH_OPERATIONS = (
    *(callback, definitions, endpoints, executions, model_packages, models, pipelines, processing),
    *(runs, schedules, search, training, transform, tuning, versions),
)
"""The modules that enter operations in the service's table, which they do when imported."""


class SageMaker(Service):
    """The service with all that it does."""

    at_start: ClassVar[tuple[Hook, ...]] = (
        jobs.end_lost,  # the processes of a killed local AWS, before any is started
        versions.add_first_versions,
        endpoints.resume,  # ends the model servers of transform jobs too
        processing.resume,
        training.resume,
        transform.resume,
        tuning.resume,  # its training jobs are failed, or go on, by now
        execution.fail_interrupted,
        executions.resume,
        schedules.resume,  # the clocks last: what they start finds all else in order
        autoscaling.resume,
    )
    at_end: ClassVar[tuple[Hook, ...]] = (
        jobs.abort_all,  # first, so that what waits for a job tells of its end
        endpoints.close,
        executions.close,
        schedules.close,
        execution.close,
    )
