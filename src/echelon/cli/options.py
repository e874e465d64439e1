"""Command-line options made from the fields of dataclasses, so that a flag, its default and its help exist once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, get_type_hints

import typer


@dataclass(frozen=True)
class Given:
    """Which fields were set on the command line, by name. A parameter of this type asks for it."""

    names: frozenset[str]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def of(self, values: object) -> dict[str, Any]:
        """The fields of a dataclass that were set, with their values."""
        return {f.name: getattr(values, f.name) for f in fields(values) if f.name in self.names}  # type: ignore[arg-type]


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer in which each parameter that is a dataclass is replaced by an option for each field.

    The field's metadata has the "help", and the "metavar" where the type says too little; the first line of the
    dataclass's docstring heads its options. A field of a type that is no option (as a mapping) is not allowed.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters = [p.replace(annotation=hints[p.name]) for p in inspect.signature(command).parameters.values()]
    kinds = {p.name: p.annotation for p in parameters if is_dataclass(p.annotation)}

    def call(ctx: typer.Context, **values: Any) -> None:
        given = Given(frozenset(name for name in values if _explicit(ctx, name)))
        built = {name: given if kind is Given else _take(kind, values) for name, kind in kinds.items()}
        command(**built, **values)

    flat = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for parameter in parameters:
        if parameter.name not in kinds:
            flat.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        elif kinds[parameter.name] is not Given:
            flat += _options(kinds[parameter.name])
    call.__name__, call.__doc__ = command.__name__, command.__doc__
    call.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return call


def _explicit(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT", "PROMPT")


def _take(kind: Any, values: dict[str, Any]) -> Any:
    return kind(**{field.name: values.pop(field.name) for field in fields(kind) if field.init})


def _options(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind)
    panel = (inspect.getdoc(kind) or "").split("\n", 1)[0].rstrip(".")
    return [_option(field, hints[field.name], panel) for field in fields(kind) if field.init]


def _option(field: Field[Any], hint: Any, panel: str) -> inspect.Parameter:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    flag = f"--{field.name.replace('_', '-')}"
    if hint in (bool, bool | None):
        flag += f"/--no-{field.name.replace('_', '-')}"
    information = typer.Option(
        default if default is not MISSING else ...,
        flag,
        help=field.metadata.get("help", ""),
        metavar=field.metadata.get("metavar"),
        rich_help_panel=panel,
        show_default=default not in (None, []),
    )
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=information, annotation=hint)
