"""Flags made from dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import typer
from typer.testing import CliRunner

from echelon.cli.options import Given, expanded
from echelon.train.config import option


@dataclass(frozen=True)
class Shape:
    """How it looks."""

    side_length: int = option(3, "centimetres of a side")
    mirror: bool | None = option(None, "turn it round")
    length: str = option("1", "of its edge", metavar="<number|auto>")
    tags: list[str] = field(default_factory=list, metadata={"help": "words"})


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()

    def draw(name: Annotated[str, typer.Argument()], shape: Shape, given: Given, out: str = "x") -> None:
        """Draws."""
        typer.echo(f"{name} {shape} {sorted(given.of(shape))} {out}")

    app.command()(expanded(draw))
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_fields_become_flags_with_their_defaults() -> None:
    assert run("a") == (0, "a Shape(side_length=3, mirror=None, length='1', tags=[]) [] x\n")


def test_given_flags_are_told_from_defaults() -> None:
    code, out = run("a", "--side-length", "3", "--no-mirror", "--tags", "p", "--tags", "q", "--out", "y")
    assert (code, out) == (
        0,
        "a Shape(side_length=3, mirror=False, length='1', tags=['p', 'q']) ['mirror', 'side_length', 'tags'] y\n",
    )


def test_help_shows_the_fields_help_under_the_dataclass() -> None:
    code, out = run("--help")
    assert code == 0
    assert "How it looks" in out
    assert "centimetres of a side" in out


def test_help_shows_what_may_be_given_in_place_of_the_type() -> None:
    _, out = run("--help")
    (length,) = (line for line in out.splitlines() if "--length" in line)
    assert "<number|auto>" in length
    assert "str" not in length


def test_a_wrong_value_is_refused_with_the_flag() -> None:
    code, out = run("a", "--side-length", "long")
    assert code == 2
    assert "--side-length" in out
