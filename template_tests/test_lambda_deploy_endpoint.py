"""Deploy again: what was approved before, and what could not be deployed the first time."""

from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from support.fake_sagemaker import RefusalError, Request
from support.inference_endpoint import SageMaker, approve, serve

from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account"]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STATUS = "ModelApprovalStatus"


@pytest.fixture
def first(sagemaker: SageMaker) -> str:
    """A version that `ops models approve` has approved at noon, and that serves."""
    package = sagemaker.add_package(1, ApprovedAt=NOON.isoformat())
    serve(sagemaker, package, NOON)
    return package


def test_version_that_is_approved_again_in_studio_is_deployed(
    sagemaker: SageMaker, first: str
) -> None:
    """Studio leaves the time on record that `ops models approve` has written."""
    second = sagemaker.add_package(2, ApprovedAt=(NOON + HOUR).isoformat())
    serve(sagemaker, second, NOON + HOUR)
    later = NOON + 2 * HOUR
    assert approve(first, later, STATUS) == "updated the endpoint"
    sagemaker.finish()
    assert sagemaker.serving() == first
    # Another event for the same approval has another time.
    again = approve(first, later + timedelta(seconds=3), STATUS)
    assert again == "ignored, this version is deployed"
    assert approve(second, NOON + HOUR, STATUS) == f"ignored, {first} was approved later"


def test_version_that_was_rolled_back_is_deployed_when_it_is_approved_again_in_studio(
    sagemaker: SageMaker, first: str
) -> None:
    second = sagemaker.add_package(2, ApprovedAt=(NOON + HOUR).isoformat())
    approve(second, NOON + HOUR, STATUS)
    sagemaker.roll_back("an alarm is in the state ALARM")
    assert sagemaker.serving() == first
    seconds_later = NOON + HOUR + timedelta(seconds=3)
    rolled_back = "ignored, this approval was deployed and rolled back"
    assert approve(second, seconds_later, STATUS) == rolled_back
    assert approve(second, NOON + 2 * HOUR, STATUS) == "updated the endpoint"
    assert approve(second, NOON + 2 * HOUR, STATUS).startswith("ignored")


@pytest.mark.parametrize(
    "error",
    [RefusalError("Rate exceeded", "ThrottlingException"), ReadTimeoutError(endpoint_url="https")],
)
def test_version_that_could_not_be_deployed_is_not_taken_for_one_that_was_rolled_back(
    sagemaker: SageMaker, first: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The update is refused, and another version is deployed before Lambda tries again."""

    def refuse(_: Request) -> Request:
        raise error

    second = sagemaker.add_package(2, ApprovedAt=(NOON + HOUR).isoformat())
    with monkeypatch.context() as refusing:
        refusing.setitem(sagemaker.operations, "UpdateEndpoint", refuse)
        with pytest.raises((ClientError, BotoCoreError)):
            approve(second, NOON + HOUR)
    assert sagemaker.serving() == first
    older = NOON + HOUR / 2
    assert approve(sagemaker.add_package(3), older) == "updated the endpoint"
    sagemaker.finish()
    assert approve(second, NOON + HOUR) == "updated the endpoint"
    sagemaker.finish()
    assert sagemaker.serving() == second


def test_update_whose_answer_was_lost_keeps_its_configuration(
    sagemaker: SageMaker, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = sagemaker.operations["UpdateEndpoint"]

    def lose(request: Request) -> Request:
        update(request)
        raise ReadTimeoutError(endpoint_url="https")

    second = sagemaker.add_package(2, ApprovedAt=(NOON + HOUR).isoformat())
    monkeypatch.setitem(sagemaker.operations, "UpdateEndpoint", lose)
    with pytest.raises(ReadTimeoutError):
        approve(second, NOON + HOUR)
    assert sagemaker.serving() == first
    assert approve(second, NOON + HOUR) == "ignored, this approval is deployed"
    sagemaker.finish()
    assert sagemaker.serving() == second
    assert f"{NAMES.endpoint}-2-20260131130000000" in sagemaker.configs
