"""torch.compile for the model of a training.

Only the steps are compiled. Evaluation runs the same model as it is: it is a small part of the work, would have to be
compiled for its own mode and batch size, and so gives the very numbers that it gives later, without --compile.
"""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from echelon.errors import EchelonError


def require_compiler(device: torch.device) -> None:
    """Compiles and runs something small where the model will be.

    Nothing less tells: a C++ compiler, Python's headers, the platform and the versions of torch and Python must all
    fit.

    Raises:
        EchelonError: it does not work here; says why.
    """

    def small(x: torch.Tensor) -> torch.Tensor:
        return x.sin() + 1

    try:
        torch.compile(small)(torch.ones(8, device=device))
    except Exception as error:
        raise EchelonError(
            f"--compile does not work on {socket.gethostname()}: {_reason(error)}. It needs a C++ compiler (g++) and "
            "Python's headers (python3-dev): install them, or leave --compile out"
        ) from error


def compile_model(model: nn.Module) -> None:
    """Compiles the forward and backward passes of a model in place, at its first call, for any number of rows.

    The names in its state dict stay. A length that varies is compiled a second time, for any length; later ones cost
    nothing.
    """
    # Module.compile() leaves out modules that are torch's own, as Sequential is, and all that they are made of.
    compiled = torch.compile(model.forward)

    def forward(*args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor) and value.ndim:
                # Shares and the ends of epochs have other numbers of rows: one compilation less, of half a minute.
                torch._dynamo.maybe_mark_dynamic(value, 0)
        return compiled(*args, **kwargs)

    model.forward = forward


def uncompiled(compiled: bool) -> AbstractContextManager[Any]:
    """For the length of the block, a compiled model runs as it is. compiled: whether there is one."""
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def _reason(error: Exception) -> str:
    """The line of a compiler's long answer that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if " error: " in line), lines[0] if lines else type(error).__name__)
