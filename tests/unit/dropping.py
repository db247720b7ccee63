"""A part of a test run as a user without privileges, whoever runs the tests."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

NOBODY = 65534


def as_nobody(function: Callable[[], Any]) -> Any:
    """Calls a function in a child process that has given up root, and returns what it returns (or its error)."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            answer: Any = function()
        except BaseException as error:  # noqa: BLE001 - the parent raises it
            answer = error
        with open(writer, "wb") as out:
            pickle.dump(answer, out)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as result:
        answer = pickle.load(result)
    os.waitpid(child, 0)
    if isinstance(answer, BaseException):
        raise answer
    return answer
