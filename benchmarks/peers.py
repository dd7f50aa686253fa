"""The same model behind other servers: `python peers.py PEER PORT`, in the peer's environment.

One process that answers, as its documentation has it, reads a row, encodes it and predicts with
XGBoost, and checks nothing. The folder that MODEL names has what a generated project's model saves.
Those that take CSV answer CSV; the others take and answer their own JSON.
"""

import csv
import io
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb

HERE = Path(__file__).parent
FOLDER = Path(os.environ["MODEL"])
BOOSTER = xgb.Booster({"nthread": 1}, model_file=FOLDER / "model.ubj")
CODES = [
    (place, {value: code for code, value in enumerate(known)})
    for place, known in enumerate(
        json.loads((FOLDER / "categories.json").read_text()).get(name)
        for name in BOOSTER.feature_names or []
    )
    if known is not None
]


def predict(rows: list[list[Any]]) -> list[float]:
    """The probabilities of rows, whose values are in the order of the features."""
    for row in rows:
        for place, codes in CODES:
            row[place] = codes.get(row[place], math.nan)
    matrix = np.array(rows, dtype=np.float32)
    answers: list[float] = BOOSTER.inplace_predict(matrix, validate_features=False).tolist()
    return answers


def predict_csv(body: bytes) -> str:
    """The answer to rows of CSV."""
    rows = list(csv.reader(io.StringIO(body.decode())))
    return "".join(f"{answer}\n" for answer in predict(rows))


def starlette(port: int) -> None:
    """Plain Starlette."""
    import uvicorn  # noqa: PLC0415 - each peer has its own
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import PlainTextResponse  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    async def invocations(request: Request) -> PlainTextResponse:
        return PlainTextResponse(predict_csv(await request.body()))

    app = Starlette(routes=[Route("/invocations", invocations, methods=["POST"])])
    uvicorn.run(app, port=port, access_log=False, log_level="warning")


def fastapi(port: int) -> None:
    """FastAPI."""
    import uvicorn  # noqa: PLC0415
    from fastapi import Body, FastAPI  # noqa: PLC0415
    from fastapi.responses import PlainTextResponse  # noqa: PLC0415

    app = FastAPI()
    body = Body(media_type="text/csv")

    @app.post("/invocations", response_class=PlainTextResponse)
    async def invocations(rows: bytes = body) -> str:
        return predict_csv(rows)

    uvicorn.run(app, port=port, access_log=False, log_level="warning")


def flask(port: int) -> None:
    """Flask with gunicorn and gevent, as in AWS's images."""
    command = ["gunicorn", "-w", "1", "-k", "gevent", "-b", f"127.0.0.1:{port}", "peers:wsgi()"]
    run_beside([*command, "--log-level", "error"])


def wsgi() -> Any:  # noqa: ANN401 - Flask is not installed where this is checked
    """The Flask application, which gunicorn calls for."""
    from flask import Flask, request  # noqa: PLC0415

    app = Flask(__name__)

    @app.post("/invocations")
    def invocations() -> tuple[str, dict[str, str]]:
        return predict_csv(request.get_data()), {"Content-Type": "text/csv"}

    return app


def litserve(port: int) -> None:
    """LitServe."""
    run_beside([sys.executable, str(HERE / "peers_litserve.py"), f"{port}"])


def bentoml(port: int) -> None:
    """BentoML."""
    os.environ |= {"BENTOML_DO_NOT_TRACK": "1"}
    run_beside(
        ["bentoml", "serve", "peers_bentoml:Service", "--host", "127.0.0.1", "--port", f"{port}"]
    )


def mlflow(port: int) -> None:
    """MLflow's `models serve`."""
    import mlflow  # noqa: PLC0415

    class Wrapped(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: list[list[Any]]) -> list[float]:
            from peers import predict as answer  # noqa: PLC0415

            return answer([list(row) for row in np.asarray(model_input, dtype=object)])

    folder = FOLDER / "mlflow"
    if not folder.exists():
        mlflow.pyfunc.save_model(folder, python_model=Wrapped(), pip_requirements=["xgboost-cpu"])
    command = ["mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local"]
    run_beside([*command, "-w", "1", "-h", "127.0.0.1", "-p", f"{port}"])


def run_beside(command: list[str]) -> None:
    """Become a program of this environment, which finds this module."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.environ |= {"PATH": path, "PYTHONPATH": str(HERE)}
    os.execvp(command[0], command)  # noqa: S606 - a program of the benchmark's


PEERS = (starlette, fastapi, flask, litserve, bentoml, mlflow)

if __name__ == "__main__":
    {peer.__name__: peer for peer in PEERS}[sys.argv[1]](int(sys.argv[2]))
