"""CodePipeline: tell people that a check or a deployment has failed, or waits for one of them."""

from collections.abc import Callable
from typing import Any

from lambdas.mail import Mail


def failed(detail: dict[str, Any]) -> Mail:
    """A check or a deployment of the main branch has failed, or a person has refused it."""
    name, execution = detail["pipeline"], detail["execution-id"]
    text = f"""\
Execution {execution} of {name} has failed.

What it has done, with what went wrong and where its log is:
  aws codepipeline list-action-executions --pipeline-name {name} \\
    --filter pipelineExecutionId={execution}

When the cause was not the code, run the failed stage again, in the console or by
  aws codepipeline retry-stage-execution --pipeline-name {name} \\
    --pipeline-execution-id {execution} --retry-mode FAILED_ACTIONS --stage-name STAGE
"""
    return Mail(f"{name} {execution} failed", f"{name} has failed", text)


def waits(detail: dict[str, Any]) -> Mail:
    """A commit waits for a person's approval."""
    name, execution, stage = detail["pipeline"], detail["execution-id"], detail["stage"]
    text = f"""\
A commit is checked and waits to be deployed to {stage}.

Look at what it is, and approve or reject it: in the console, CodePipeline, {name}, stage {stage}.
Newer commits wait behind it; of those, the newest is asked for next.

Execution {execution}
"""
    about = f"{name} {execution} waits {stage}"
    return Mail(about, f"{name}: a commit waits to be deployed to {stage}", text)


MAILS: dict[str, Callable[[dict[str, Any]], Mail | None]] = {
    "CodePipeline Action Execution State Change": waits,
    "CodePipeline Pipeline Execution State Change": failed,
}
