"""Functions of ministack's with some of their expressions replaced."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from local_aws.host.internals import IncompatibleMinistackError


def replaced(function: Any, expressions: Mapping[str, str], **names: object) -> Any:  # noqa: ANN401
    """Return a function of ministack's with some expressions replaced.

    Args:
        function: The function.
        expressions: What takes the place of each expression.
        **names: What the new expressions use, put into the function's module.

    Raises:
        IncompatibleMinistackError: An expression is not there exactly once.
    """
    source = inspect.getsource(function)
    for old, new in expressions.items():
        if source.count(old) != 1:
            raise IncompatibleMinistackError(f"{function.__qualname__} has not one {old!r}")
        source = source.replace(old, new)
    home = inspect.getmodule(function)
    code = compile(source, inspect.getfile(function), "exec")
    # Its own globals: what is patched in the module later is seen by it as well.
    vars(home).update(names)
    made: dict[str, Any] = {}
    exec(code, vars(home), made)  # noqa: S102 - it is ministack's own code
    return made[function.__name__]
