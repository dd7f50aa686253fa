"""APIs of API Gateway that stacks make, called over HTTP: who gets in, and with what."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session
from conftest import REGION, until
from host_process import ACCOUNT, HostProcess
from iam_roles import Acting, allow, role

ECHO = """
def handler(event, context):
    return {"statusCode": 200, "body": event["body"] or ""}
"""
SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "number"}}}
ERRORS = {"application/json": '{"error": $context.error.messageString}'}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_AWS_IAM", "enforce")
        with HostProcess(tmp_path_factory.mktemp("host")) as host:
            yield host


@pytest.fixture(scope="module")
def function(host: HostProcess) -> str:
    """A function that answers what it is sent."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("echo.py", ECHO)
    trusted = role(host, trusts="lambda.amazonaws.com")
    arn: str = host.client("lambda").create_function(
        FunctionName="echo",
        Runtime="python3.11",
        Handler="echo.handler",
        Role=trusted,
        Code={"ZipFile": archive.getvalue()},
    )["FunctionArn"]
    return arn


class Api:
    """An API with the one method `POST /say`."""

    def __init__(self, host: HostProcess, function: str, **method: Any) -> None:
        self._host, self.stack = host, f"api-{uuid.uuid4().hex[:8]}"
        self._function, self._method = function, method
        self.models: dict[str, Any] = {"application/json": {"Ref": "Model"}}
        self.checked = True
        self._settled("create_stack")
        (found,) = [
            one
            for one in host.client("apigateway").get_rest_apis()["items"]
            if one["name"] == self.stack
        ]
        self.id: str = found["id"]

    def update(self) -> None:
        self._settled("update_stack")

    def ask(self, body: str, keys: Credentials | None = None, **headers: str) -> tuple[int, str]:
        """Send a request, signed with some keys; its status, and its body."""
        url = f"http://127.0.0.1:{self._host.port}/_aws/execute-api/{self.id}/v1/say"
        sent = {"Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = AWSRequest("POST", url, sent, body.encode())
        if keys:
            SigV4Auth(keys, "execute-api", REGION).add_auth(request)
        answer = URLLib3Session().send(request.prepare())
        return answer.status_code, answer.text

    def _settled(self, operation: str) -> None:
        stacks = self._host.client("cloudformation")
        getattr(stacks, operation)(StackName=self.stack, TemplateBody=json.dumps(self._template()))

        def status() -> str:
            found: str = stacks.describe_stacks(StackName=self.stack)["Stacks"][0]["StackStatus"]
            return found

        until(lambda: not status().endswith("_IN_PROGRESS"))
        assert status() in ("CREATE_COMPLETE", "UPDATE_COMPLETE")

    def _template(self) -> dict[str, Any]:
        api = {"RestApiId": {"Ref": "Api"}}
        path = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions"
        resources: dict[str, tuple[str, dict[str, Any]]] = {
            "Api": ("RestApi", {"Name": self.stack}),
            "Model": ("Model", {**api, "Name": "Said", "Schema": SCHEMA}),
            "Checks": (
                "RequestValidator",
                {**api, "Name": "checks", "ValidateRequestBody": self.checked},
            ),
            "Say": (
                "Resource",
                {**api, "PathPart": "say", "ParentId": {"Fn::GetAtt": ["Api", "RootResourceId"]}},
            ),
            "Post": (
                "Method",
                {
                    **api,
                    "ResourceId": {"Ref": "Say"},
                    "HttpMethod": "POST",
                    "AuthorizationType": "NONE",
                    "RequestModels": self.models,
                    "RequestValidatorId": {"Ref": "Checks"},
                    "Integration": {
                        "Type": "AWS_PROXY",
                        "IntegrationHttpMethod": "POST",
                        "Uri": f"{path}/{self._function}/invocations",
                    },
                    **self._method,
                },
            ),
            "Errors": (
                "GatewayResponse",
                {**api, "ResponseType": "DEFAULT_4XX", "ResponseTemplates": ERRORS},
            ),
            "Deployed": ("Deployment", api),
            "Stage": (
                "Stage",
                {**api, "StageName": "v1", "DeploymentId": {"Ref": "Deployed"}},
            ),
        }
        made = {
            name: {"Type": f"AWS::ApiGateway::{kind}", "Properties": properties}
            for name, (kind, properties) in resources.items()
        }
        made["Deployed"]["DependsOn"] = ["Post", "Errors"]
        return {"Resources": made}


def keys(caller: Acting) -> Credentials:
    """The credentials of a role."""
    given = caller.keys
    return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def test_stack_validates_bodies_by_their_model(host: HostProcess, function: str) -> None:
    api = Api(host, function)
    assert api.ask('{"a": 1}') == (200, '{"a": 1}')
    for wrong in ("{}", '{"a": "1"}', "no JSON"):
        status, body = api.ask(wrong)
        assert (status, json.loads(body)) == (400, {"error": "Invalid request body"})


def test_content_without_a_model_is_not_validated_unless_there_is_a_default(
    host: HostProcess, function: str
) -> None:
    api = Api(host, function)
    assert api.ask("1,2", Content_Type="text/csv") == (200, "1,2")
    assert api.ask("{}", Content_Type="application/json; charset=utf-8")[0] == 400
    api.models = {"$default": {"Ref": "Model"}}
    api.update()
    assert api.ask("1,2", Content_Type="text/csv")[0] == 400
    assert api.ask("{}")[0] == 400


def test_update_of_a_stack_changes_its_validator(host: HostProcess, function: str) -> None:
    api = Api(host, function)
    api.checked = False
    api.update()
    assert api.ask("{}") == (200, "{}")
    api.checked = True
    api.update()
    assert api.ask("{}")[0] == 400


def test_validator_goes_with_its_stack(host: HostProcess, function: str) -> None:
    api = Api(host, function)
    gateway = host.client("apigateway")
    (validator,) = gateway.get_request_validators(restApiId=api.id)["items"]
    assert validator["validateRequestBody"]
    stacks = host.client("cloudformation")
    stacks.delete_stack(StackName=api.stack)
    stacks.get_waiter("stack_delete_complete").wait(
        StackName=api.stack, WaiterConfig={"Delay": 0.1}
    )
    assert api.id not in [one["id"] for one in gateway.get_rest_apis()["items"]]


def test_role_needs_a_policy_for_the_method(host: HostProcess, function: str) -> None:
    api = Api(host, function, AuthorizationType="AWS_IAM")
    arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api.id}/v1"
    caller = Acting(host, role(host, allow("execute-api:Invoke", on=f"{arn}/POST/say")))
    assert api.ask('{"a": 1}', keys(caller)) == (200, '{"a": 1}')
    assert caller.calls() == [("execute-api:Invoke", f"{arn}/POST/say", True)]
    others = [
        Acting(host, role(host)),
        Acting(host, role(host, allow("execute-api:Invoke", on=f"{arn}/GET/say"))),
    ]
    for stranger in others:
        status, body = api.ask('{"a": 1}', keys(stranger))
        assert status == 403
        assert "not authorized to perform: execute-api:Invoke" in json.loads(body)["error"]
    assert api.ask('{"a": 1}') == (403, '{"error": "Missing Authentication Token"}')


def test_method_without_iam_reads_no_signature(host: HostProcess, function: str) -> None:
    api = Api(host, function)
    stranger = Acting(host, role(host))
    assert api.ask('{"a": 1}', keys(stranger)) == (200, '{"a": 1}')
    assert stranger.calls() == []
