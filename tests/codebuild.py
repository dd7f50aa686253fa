"""What CodeBuild gives its builds, for those that are run here."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import boto3


@contextmanager
def container_credentials(person: Mapping[str, str], role: str) -> Iterator[str]:
    """The address at which a build finds credentials of its role, as in CodeBuild's containers.

    CodeBuild alone may take the role; here it is the account that stands for it.
    """
    session = boto3.Session(
        aws_access_key_id=person["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=person["AWS_SECRET_ACCESS_KEY"],
        region_name=person["AWS_REGION"],
    )
    endpoint = person["AWS_ENDPOINT_URL"]
    iam, sts = (session.client(name, endpoint_url=endpoint) for name in ("iam", "sts"))
    trusted = iam.get_role(RoleName=role)["Role"]
    (statement,) = trusted["AssumeRolePolicyDocument"]["Statement"]
    if statement["Principal"] != {"Service": "codebuild.amazonaws.com"}:
        raise AssertionError(f"not CodeBuild's role: {statement}")
    account = {"Principal": {"AWS": sts.get_caller_identity()["Account"]}}
    document = {"Version": "2012-10-17", "Statement": [statement | account]}
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(document))
    found = sts.assume_role(RoleArn=trusted["Arn"], RoleSessionName="build")["Credentials"]
    answer = json.dumps(
        {
            "AccessKeyId": found["AccessKeyId"],
            "SecretAccessKey": found["SecretAccessKey"],
            "Token": found["SessionToken"],
            "Expiration": found["Expiration"].isoformat(),
        }
    ).encode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/credentials"
        server.shutdown()
