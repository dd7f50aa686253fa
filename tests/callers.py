"""Who asks the endpoint of a project, whatever its mode is."""

from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from tests.scenarios import Scene, until

REALTIME, SERVERLESS, ASYNC, BATCH = MODES = ("realtime", "serverless", "async", "batch")

#: How the names of the endpoints end.
ENDPOINTS = {REALTIME: "", SERVERLESS: "-serverless", ASYNC: "-async"}
JSON = "application/json"


class Client:
    """A caller of the endpoint of a mode.

    Args:
        scene: The project.
        mode: Its mode.
    """

    def __init__(self, scene: Scene, mode: str) -> None:
        self._runtime = scene.life.client("sagemaker-runtime")
        self._s3 = scene.life.client("s3")
        self._bucket, self._async = scene.bucket, mode == ASYNC
        self.endpoint = f"{scene.life.slug}{ENDPOINTS[mode]}"

    def ask(self, body: bytes, inference_id: str, content_type: str = JSON) -> str:
        """The answer to a request.

        Raises:
            ClientError: When the endpoint refuses the request.
            AssertionError: When an asynchronous one has failed at it, or does not answer.
        """
        kind = {"EndpointName": self.endpoint, "ContentType": content_type}
        if self._async:
            return self._queue(body, inference_id, content_type)
        answer = self._runtime.invoke_endpoint(
            Body=body,
            InferenceId=inference_id,
            CustomAttributes=f"inference_id={inference_id}",
            **kind,
        )
        return str(answer["Body"].read().decode())

    def _queue(self, body: bytes, inference_id: str, content_type: str) -> str:
        key = f"async/requests/{inference_id}.json"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body)
        return self.queued(key, inference_id, content_type)

    def queued(self, key: str, inference_id: str, content_type: str = JSON) -> str:
        """The answer of an asynchronous endpoint to what is in the data bucket; see `ask`."""
        kind = {"EndpointName": self.endpoint, "ContentType": content_type}
        queued = self._runtime.invoke_endpoint_async(
            InputLocation=f"s3://{self._bucket}/{key}", InferenceId=inference_id, **kind
        )
        answer = until(f"an answer to {inference_id}", lambda: self._found(queued))
        return answer.decode()

    def _found(self, queued: dict[str, Any]) -> bytes | None:
        if (answer := self._read(queued["OutputLocation"])) is not None:
            return answer
        if (failure := self._read(queued["FailureLocation"])) is not None:
            raise AssertionError(f"{queued['InferenceId']}: {failure.decode()}")
        return None

    def _read(self, uri: str) -> bytes | None:
        place = urlsplit(uri)
        try:
            found = self._s3.get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None
        body: bytes = found["Body"].read()
        return body
