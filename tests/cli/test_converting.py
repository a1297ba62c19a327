"""Options mean the same whether typer or we convert them, and a small command stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer
import typer.core
import typer.main
from typer._coercion import build_runtime_param

from ckptctl.cli import converting

Said = tuple[object, ...]

HEAVY = ("pydantic", "rich", "yaml", "fsspec", "s3fs", "gcsfs", "obstore", "asyncio", "zipfile")


def _parsed(arguments: list[str]) -> Said:
    """What a command with each of our types of option is called with, or what typer raises."""
    said: list[Said] = []
    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    @app.command()
    def command(
        place: Annotated[str | None, typer.Argument()] = None,
        name: Annotated[str | None, typer.Option()] = None,
        number: Annotated[int, typer.Option()] = 3,
        jobs: Annotated[int | None, typer.Option()] = None,
        flag: Annotated[bool, typer.Option()] = False,
        several: Annotated[list[str] | None, typer.Option()] = None,
    ) -> None:
        said.append((place, name, number, jobs, flag, several))

    try:
        typer.main.get_command(app)(args=arguments, standalone_mode=False)
    except typer.BadParameter as error:
        return (type(error), error.exit_code, str(error.param and error.param.name))
    return said[0]


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "there --name a --number 5 --jobs 7 --flag --several x --several y",
        "--no-flag --several x",
        "--jobs -3",
        "--number z",
        "--jobs 1.5",
        "--jobs=",
    ],
)
def test_a_value_is_what_typer_itself_would_make_of_it(
    arguments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typer.core, "build_runtime_param", build_runtime_param)
    wanted = _parsed(arguments.split())
    converting.install()
    assert vars(typer.core)["build_runtime_param"] is not build_runtime_param
    assert _parsed(arguments.split()) == wanted


def test_a_small_list_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "step_1.pt").write_bytes(b"")
    program = (
        "import sys; from ckptctl.cli.app import run; run(['list', sys.argv[1], '--json']);"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
    )
    assert '"step_1"' in done.stdout
    assert done.stderr.strip() == ""
