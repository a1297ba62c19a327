"""The policy flags of commands that decide, made from the rules themselves."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ckptctl.cli.completing import one_of
from ckptctl.errors import UsageError
from ckptctl.flags import PolicyFlags, flag_of
from ckptctl.rules._base import RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceOptions:
    """The flags that say how rules choose, for commands that delete nothing by them."""

    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", metavar="NAME[:min|max]", help="What --keep-best ranks by; repeatable."
        ),
    ] = None
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode",
            metavar="min|max",
            help="Whether small or large is better.",
            autocompletion=one_of("min", "max"),
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOptions(ChoiceOptions):
    """The flags of a policy that are no rules; texts are parsed by `PolicyFlags`."""

    policy: Annotated[
        str | None,
        typer.Option(
            "--policy", metavar="FILE[#NAME]", help="A configuration, and which policy of it."
        ),
    ] = None
    await_metric: Annotated[
        str | None,
        typer.Option(
            "--await-metric",
            metavar="D",
            help="Keep what may still be measured, saved this recently (default 6h).",
        ),
    ] = None
    delete_incomplete: Annotated[
        str | None,
        typer.Option(
            "--delete-incomplete",
            metavar="D",
            help="Remove also what is incomplete and unchanged for D.",
        ),
    ] = None
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace", metavar="D", help="Keep what goes that long: `ckptctl undo` brings it back."
        ),
    ] = None
    require_copies: Annotated[
        int | None,
        typer.Option(
            "--require-copies",
            metavar="N",
            help="Keep what has fewer proven copies on other tiers (default 1 where it is copied from).",
        ),
    ] = None
    max_delete: Annotated[
        str | None,
        typer.Option(
            "--max-delete", metavar="N|P%", help="Delete nothing of a run where more would go."
        ),
    ] = None
    max_delete_bytes: Annotated[
        str | None, typer.Option("--max-delete-bytes", metavar="SIZE", help="The same in bytes.")
    ] = None

    def __post_init__(self) -> None:
        """Refuse a --policy that is empty: as if none were given, another would count."""
        if not self.policy and self.policy is not None:
            raise UsageError("--policy is empty; nothing was touched")


def rule_parameters() -> list[inspect.Parameter]:
    """Return one option for each key of a rule."""
    return [
        inspect.Parameter(
            f"keep_{spec.key}",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                list[str] | None,
                typer.Option(
                    flag_of(spec.key), metavar=spec.metavar, help=spec.help, rich_help_panel="Rules"
                ),
            ],
        )
        for spec in RULES
    ]


def flags_of(
    rules: Mapping[str, object], options: ChoiceOptions, settle: str | None, logs: list[str] | None
) -> PolicyFlags:
    """Return the policy flags that were given; `rules` are the values of `rule_parameters`."""
    keep = {
        name.removeprefix("keep_"): [str(text) for text in value]
        for name, value in rules.items()
        if isinstance(value, list) and value
    }
    chosen = PolicyFlags(
        keep=keep,
        metrics=options.metric or (),
        mode=options.mode,
        metrics_from=logs or (),
        settle=settle,
    )
    if not isinstance(options, PolicyOptions):
        return chosen
    return replace(
        chosen,
        await_metric=options.await_metric,
        delete_incomplete=options.delete_incomplete,
        grace=options.grace,
        require_copies=options.require_copies,
        max_delete=options.max_delete,
        max_delete_bytes=options.max_delete_bytes,
    )
