"""What ministack's Step Functions lack.

Each function replaces one of ministack's own by one that also does what AWS documents.
"""

from __future__ import annotations

from typing import Any

from local_aws.ministack_internals import module


def apply() -> None:
    """Mend what is missing."""
    _keep_the_output_of_succeed()


def _keep_the_output_of_succeed() -> None:
    """Evaluate Output of a Succeed state in JSONata.

    AWS: AWS Step Functions Developer Guide, "Transforming data with JSONata in Step Functions".
    """
    states = module("services.stepfunctions")
    original = states._apply_output_path

    def apply(state_def: dict[str, Any], data: object, ctx: object = None) -> object:
        jsonata = states._state_query_language(state_def, ctx) == "JSONata"
        if jsonata and state_def.get("Type") == "Succeed":
            return states._apply_jsonata_output(state_def, data, ctx, default=data)
        return original(state_def, data, ctx)

    states._apply_output_path = apply
