"""`poe dashboard`: the dashboard against the current AWS, for this machine alone."""

import getpass
import os
import sys
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from dashboard.identity import LOCAL
from ops import OpsError, aws
from usecase.errors import UseCaseError

APP = Path(__file__).with_name("app.py")


def main() -> None:
    """Start it where the project is deployed; what a person can fix ends in one line."""
    try:
        aws.require_stacks()
        where = os.environ.get("AWS_ENDPOINT_URL", f"AWS account {aws.account()}")
    except (ClientError, BotoCoreError) as error:
        sys.exit(f"error: {aws.explain(error)}")
    except (OpsError, UseCaseError) as error:
        sys.exit(f"error: {error}")
    print(f"The dashboard of {where}; Ctrl-C ends it.", flush=True)
    os.environ[LOCAL] = getpass.getuser()
    # Where it listens is in .streamlit/config.toml; options such as --server.port=8600 go there.
    command = [sys.executable, "-m", "streamlit", "run", str(APP), *sys.argv[1:]]
    os.execv(command[0], command)  # noqa: S606 - it takes this process's place


if __name__ == "__main__":
    main()
