"""Stacks that CloudFormation was at work on when their process was killed.

They get the statuses of work that has failed for good, from which AWS lets them be deleted or, for
an update, continued (AWS CloudFormation User Guide, "Stack status codes").
"""

from __future__ import annotations

from local_aws.host.internals import module

_FAILED = {
    "CREATE_IN_PROGRESS": "ROLLBACK_FAILED",
    "ROLLBACK_IN_PROGRESS": "ROLLBACK_FAILED",
    "UPDATE_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED",
    "UPDATE_ROLLBACK_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED",
    "IMPORT_IN_PROGRESS": "IMPORT_ROLLBACK_FAILED",
    "IMPORT_ROLLBACK_IN_PROGRESS": "IMPORT_ROLLBACK_FAILED",
    "DELETE_IN_PROGRESS": "DELETE_FAILED",
}
_REASON = "The local AWS was killed while it worked on the stack."


def fail_left_over() -> None:
    """Fail the stacks that nothing works on any more, in the account of the caller."""
    stacks = module("services.cloudformation")._stacks
    for name, stack in stacks.items():
        failed = _FAILED.get(stack.get("StackStatus", ""))
        if failed:
            stack["StackStatus"] = failed
            stack["StackStatusReason"] = _REASON
            module("services.cloudformation.stacks")._add_event(
                stack["StackId"], name, name, "AWS::CloudFormation::Stack", failed, _REASON
            )
