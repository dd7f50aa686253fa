"""The API that LitServe's processes import."""

import sys
from typing import Any

import litserve
from peers import predict


class Api(litserve.LitAPI):
    """A model, which is loaded when `peers` is."""

    def setup(self, device: str) -> None:
        """Nothing is left to do."""

    def predict(self, rows: dict[str, Any]) -> dict[str, list[float]]:
        """The probabilities of rows."""
        return {"predictions": predict(rows["rows"])}


if __name__ == "__main__":
    server = litserve.LitServer(Api(api_path="/invocations"), accelerator="cpu")
    port = int(sys.argv[1])
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error")
