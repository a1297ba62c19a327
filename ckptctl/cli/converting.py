"""Convert what was typed without pydantic, whose import takes longer than all else of a small `list`.

typer (0.29, typer/core.py) converts each parameter by what `build_runtime_param` makes of its
type.  That is a private name: where it is gone, or for a type that is none of ours, typer's own
converter does the same work, only slower.
"""

from __future__ import annotations

import typer
import typer.core

_NAME = "build_runtime_param"
_OURS = (str, bool, int, list[str])

_Parameter = typer.core.TyperOption | typer.core.TyperArgument


class _Plain:
    """Converts to a str, a bool, an int or a list of str, as typer's own would."""

    def __init__(self, kind: object) -> None:
        self._kind = kind

    def coerce(self, value: object, param: _Parameter, ctx: typer.Context) -> object:
        """Return the value of one parameter; raises typer.BadParameter."""
        if isinstance(value, tuple):
            return list(value)
        if value is None and self._kind == list[str]:
            return ()
        if self._kind is int and isinstance(value, str):
            try:
                return int(value)
            except ValueError:
                text = f"{value!r} is no whole number"
                raise typer.BadParameter(text, ctx=ctx, param=param) from None
        return value


def install() -> None:
    """Let typer convert our types by the plain way, from now on in this process."""
    own = getattr(typer.core, _NAME, None)
    if own is None or hasattr(own, "plain"):
        return

    def build(descriptor: object) -> object:
        kind = getattr(descriptor, "annotation", None)
        return _Plain(kind) if kind in _OURS else own(descriptor)

    build.plain = True  # type: ignore[attr-defined]  # so that a second call changes nothing
    setattr(typer.core, _NAME, build)
