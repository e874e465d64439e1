"""One side of a comparison as a process of its own, which does what it is asked for: JSON lines in, JSON lines out.

A request is {"do": verb, …arguments}, an answer {"done": {…}} or {"failed": text}. What libraries print goes to
standard error, so that it cannot be taken for an answer. The standard library only, as every side's interpreter has it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

Verb = Callable[..., dict[str, Any]]


def serve(verbs: Mapping[str, Verb]) -> None:
    """Answers requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"done": verbs[request.pop("do")](**request)}
        except Exception:
            answer = {"failed": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)
