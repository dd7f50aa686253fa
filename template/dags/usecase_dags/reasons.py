"""Why a task has failed, for people to read: in its log, in XCom, in the mail, in `ops`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import ClientError

REASON = "reason"
"""The key of XCom that holds it."""
MAY_PASS = ("Throttl", "TooManyRequests", "LimitExceeded", "ServiceUnavailable", "Internal")
"""How the codes of errors begin, or what is in them, that another try can be without."""


def fail(context: Mapping[str, Any], reason: str) -> NoReturn:
    """Fail a task for good, with a reason.

    Raises:
        AirflowFailException: Always: Airflow does not try the task again.
    """
    keep(context, reason)
    raise AirflowFailException(reason)


def keep(context: Mapping[str, Any], reason: str) -> None:
    """Leave the reason where the task `End` finds it, should no other try be better."""
    context["ti"].xcom_push(key=REASON, value=reason)


@contextmanager
def told(context: Mapping[str, Any]) -> Iterator[None]:
    """Keep the reason of what fails within; what AWS refuses for good is not tried again.

    Raises:
        AirflowFailException: When AWS has refused a request that it would refuse again.
    """
    try:
        yield
    except AirflowFailException:
        raise
    except ClientError as error:
        told_by_aws = error.response["Error"]
        reason = f"{context['ti'].task_id}: {told_by_aws['Message']}"
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        if status < 500 and not any(part in told_by_aws["Code"] for part in MAY_PASS):
            fail(context, reason)
        keep(context, reason)
        raise
    except Exception as error:
        keep(context, f"{context['ti'].task_id}: {error}")
        raise
