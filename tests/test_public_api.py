"""An API in front of the endpoint, after a life: called as its documentation says.

Where policies are enforced, by a role that has the policy of callers, and by one that has not.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session

from tests import conftest, life, matrix, template

ROW = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "IAH",
    "scheduled_departure": "2026-07-01T10:15:00",
    "distance": 1400,
}
ROWS = json.dumps({"instances": [ROW]})


@pytest.mark.parametrize("api", ["iam", "api_key"])
@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"inference_mode": "async"}, "An asynchronous endpoint takes requests through S3"),
        ({"inference_mode": "batch"}, "Batch transform answers no requests: choose none"),
        ({"max_payload_mb": "5"}, "The API takes requests of up to 4 MB, not 5"),
    ],
)
def test_api_that_cannot_work_is_refused(
    source: Path, tmp_path: Path, api: str, answers: matrix.Answers, reason: str
) -> None:
    with pytest.raises(ValueError, match="public_api") as error:
        template.render(source, tmp_path / "project", answers | {"public_api": api})
    assert reason in " ".join(str(error.value).split())
    assert not (tmp_path / "project").exists()


@pytest.fixture(
    scope="module",
    params=[pytest.param(one, marks=pytest.mark.exhaustive) for one in ("iam", "api_key")],
)
def lived(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[life.Life]:
    mode = {"iam": "realtime", "api_key": "serverless"}[request.param]
    answers = {
        "public_api": request.param,
        "inference_mode": mode,
        "monitors": ["data_quality"],
        "triggers": [],
    }
    folder = tmp_path_factory.mktemp(request.param) / "project"
    project = conftest.make_project(repository, folder, answers)
    try:
        yield life.live(project)
    finally:
        life.end(project)


@pytest.fixture(scope="module")
def caller(lived: life.Life) -> dict[str, str]:
    """The environment variables of a caller: the role's keys, or the key that was given out."""
    if lived.result["answers"]["public_api"] == "api_key":
        prefix = f"{lived.slug}-api-"
        keys = lived.client("apigateway").get_api_keys(nameQuery=prefix, includeValues=True)
        (key,) = keys["items"]
        assert key["name"] == f"{prefix}first"
        return {"API_KEY": key["value"]}
    region = lived.result["answers"]["aws_region"]
    (policy,) = [
        one["Arn"]
        for one in lived.client("iam").list_policies(Scope="Local")["Policies"]
        if one["PolicyName"] == f"{lived.slug}-api-callers-{region}"
    ]
    return role(lived, "caller", policy)


def role(lived: life.Life, name: str, *policies: str) -> dict[str, str]:
    """The keys of a new role with some managed policies."""
    iam = lived.client("iam")
    principal = {"AWS": "arn:aws:iam::000000000000:root"}
    trust = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    for policy in policies:
        iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    taken = lived.client("sts").assume_role(RoleArn=arn, RoleSessionName="tests")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": taken["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": taken["SecretAccessKey"],
        "AWS_SESSION_TOKEN": taken["SessionToken"],
    }


def documented(lived: life.Life, name: str, language: str) -> str:
    """The one example of a language in a document that calls something."""
    text = (lived.project / "docs" / name).read_text()
    blocks = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    (found,) = [block for block in blocks if "predict" in block or "curl" in block]
    return str(found)


def curl(
    lived: life.Life, name: str, keys: Mapping[str, str], rows: str, folder: Path
) -> tuple[int, Any]:
    """Run a document's call with curl; the status and the answer."""
    address = lived.result["api_url"]
    lines = documented(lived, name, "bash")
    script = lines[lines.index("curl ") :].replace("curl ", 'curl --write-out "\\n%{http_code}" ')
    on_aws = r"https://runtime\.sagemaker\.[a-z0-9-]+\.amazonaws\.com"
    script = re.sub(on_aws, lived.environment["AWS_ENDPOINT_URL"], script)
    (folder / "rows.json").write_text(rows)
    own = {"URL": address, "AWS_SESSION_TOKEN": "", **lived.environment, **keys}
    printed = template.run(["bash", "-euc", f"{script.rstrip()} --silent"], folder, own)
    answer, _, status = printed.rpartition("\n")
    return int(status), json.loads(answer)


def test_call_with_curl(lived: life.Life, caller: dict[str, str], tmp_path: Path) -> None:
    status, answer = curl(lived, "api.md", caller, ROWS, tmp_path)
    assert status == 200, answer
    assert 0 < answer["predictions"][0]["probability"] < 1
    status, answer = curl(lived, "api.md", caller, '{"instances": [{"carrier": 1.5}]}', tmp_path)
    assert (status, list(answer)) == (400, ["error"])
    assert "OpenAPI" in answer["error"]
    late = json.dumps({"instances": [ROW | {"scheduled_departure": "2026-13-01"}]})
    status, answer = curl(lived, "api.md", caller, late, tmp_path)
    assert status == 400
    assert answer["error"].startswith("row 1, field scheduled_departure: ")


def test_call_with_python(lived: life.Life, caller: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    key = f", {caller['API_KEY']!r}" if "API_KEY" in caller else ""
    called = f"print(json.dumps(predict({lived.result['api_url']!r}{key}, [{ROW!r}])))"
    script.write_text(f"{documented(lived, 'api.md', 'python')}\n{called}\n")
    own = {**lived.environment, **caller}
    (answer,) = json.loads(template.run(["uv", "run", "python", str(script)], lived.project, own))
    assert 0 < answer["probability"] < 1


def test_strangers_are_refused(lived: life.Life, tmp_path: Path) -> None:
    if lived.result["answers"]["public_api"] == "api_key":
        strangers = [{"API_KEY": "x" * 40}, {"API_KEY": ""}]
    else:
        strangers = [role(lived, "stranger")]
    for keys in strangers:
        status, answer = curl(lived, "api.md", keys, ROWS, tmp_path)
        assert (status, list(answer)) == (403, ["error"])
    status, answer = ask(lived, {})
    assert (status, list(answer)) == (403, ["error"])


def ask(
    lived: life.Life,
    keys: Mapping[str, str],
    body: str = ROWS,
    method: str = "POST",
    **headers: str,
) -> tuple[int, Any]:
    """Send a request as who has some keys, or none; the status and the answer."""
    sent = {"Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method, lived.result["api_url"], sent, body.encode())
    if "API_KEY" in keys:
        request.headers["x-api-key"] = keys["API_KEY"]
    elif keys:
        region = lived.result["answers"]["aws_region"]
        SigV4Auth(Credentials(*keys.values()), "execute-api", region).add_auth(request)
    answer = URLLib3Session().send(request.prepare())
    return answer.status_code, json.loads(answer.text)


def test_calls_of_the_endpoint_itself(lived: life.Life, tmp_path: Path) -> None:
    status, answer = curl(lived, "operations.md", {}, ROWS, tmp_path)
    assert status == 200, answer
    text = (lived.project / "docs" / "operations.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    command = ["uv", "run", "--project", str(lived.project), "python", "-c", script]
    printed = template.run(command, tmp_path, lived.environment)
    assert 0 < json.loads(printed)["predictions"][0]["probability"] < 1


def test_what_is_asked_wrong_is_refused(lived: life.Life, caller: dict[str, str]) -> None:
    assert ask(lived, caller, Inference_Id="asked-by-the-api")[0] == 200
    refused = [
        (400, ask(lived, caller, Inference_Id="two words")),
        (415, ask(lived, caller, "UA,EWR", Content_Type="text/csv")),
        (400, ask(lived, caller, "{}")),
        (400, ask(lived, caller, "no JSON")),
        (413, ask(lived, caller, json.dumps({"instances": [ROW] * 40_000}))),
        (403, ask(lived, caller, method="PUT")),
    ]
    for expected, (status, answer) in refused:
        assert (status, list(answer)) == (expected, ["error"])


def test_too_many_requests_are_refused(lived: life.Life, caller: dict[str, str]) -> None:
    gateway = lived.client("apigateway")
    (api,) = gateway.get_rest_apis()["items"]
    limits = {"rateLimit": "0.1", "burstLimit": "2"}
    gateway.update_stage(
        restApiId=api["id"],
        stageName="v1",
        patchOperations=[
            {"op": "replace", "path": f"/*/*/throttling/{name}", "value": value}
            for name, value in limits.items()
        ],
    )
    answers = [ask(lived, caller) for _ in range(6)]
    assert {status for status, _ in answers} == {200, 429}
    assert next(list(answer) for status, answer in answers if status == 429) == ["error"]


def test_document_of_what_is_deployed(lived: life.Life, tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    lived.ops("openapi", str(file))
    document = json.loads(file.read_text())
    (server,) = document["servers"]
    assert urlsplit(server["url"]).path == "/v1"
    (api,) = lived.client("apigateway").get_rest_apis()["items"]
    assert urlsplit(server["url"]).netloc.startswith(f"{api['id']}.execute-api.")
    (model,) = lived.client("apigateway").get_models(restApiId=api["id"])["items"]
    schema = json.loads(model["schema"])
    assert schema["properties"] == document["components"]["schemas"]["Request"]["properties"]


def test_everything_goes(lived: life.Life) -> None:
    """The last test: `poe destroy` takes the API along, and the role for logs stays."""
    template.run(["uv", "run", "poe", "destroy", "--yes"], lived.project, lived.environment)
    assert lived.client("apigateway").get_rest_apis()["items"] == []
    roles = [role["RoleName"] for role in lived.client("iam").list_roles()["Roles"]]
    assert [name for name in roles if "LogRole" in name]


@pytest.mark.exhaustive
def test_curl_is_there() -> None:
    """Signing takes curl 7.83: before, it left the session's token out of the signature."""
    said = subprocess.run(["curl", "--version"], check=True, capture_output=True, text=True).stdout
    version = tuple(int(part) for part in said.split()[1].split(".")[:2])
    assert version >= (7, 83)
