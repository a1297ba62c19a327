"""`ckptctl why`: explain one decision, and what would change it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ckptctl.cli.deciding import decide_run, policy_of
from ckptctl.cli.naming import Name, near, target_of
from ckptctl.cli.options import Common, Location
from ckptctl.cli.policy_options import PolicyOptions, flags_of
from ckptctl.cli.runtime import Session
from ckptctl.errors import NotFoundError, UnreadableError, UsageError
from ckptctl.stores import told
from ckptctl.survey import path_of
from ckptctl.ui.explaining import explanation_lines, why_data
from ckptctl.why import Case, explain


def why(
    common: Common,
    policy_options: PolicyOptions,
    extra: Mapping[str, object],
    name: Name,
    location: Location = None,
) -> None:
    """Explain why a checkpoint is kept or would be deleted, and what would change that.

    It decides exactly as `prune` does with these flags, with proof, and changes nothing.
    """
    session = Session(common=common)
    session.open(near(name, location))
    flags = flags_of(extra, policy_options, common.settle, common.metrics_from).draft()
    named = None
    if policy_options.policy:
        from ckptctl.configfile import load_policy  # noqa: PLC0415 - see ckptctl/config.py

        named = load_policy(policy_options.policy)
    if (named or session.config) is None and flags.keep is None:
        raise UsageError(
            "no rule says what to keep, so there is no decision to explain",
            "give the rules of the prune, like --keep-last 3, or its policy with --policy FILE",
        )
    target = target_of(session, name, location, named, remote=True)
    path = path_of(target.view, target.found)
    policy = policy_of(session, named, flags, target.view, target.found)
    if policy is None:
        raise UsageError(
            f"{path}: no entry of `runs` in the configuration matches this run: all of it is left alone",
            "give rules as flags, or a policy with --policy FILE",
        )
    try:
        decided = decide_run(session, policy, target.view, target.found, named)
    except OSError as error:
        said, check = told(path, error.strerror or str(error), "try again")
        raise UnreadableError(f"{path}: cannot be read ({said})", check) from error
    case = Case(decided.run, policy.keep, decided.context, policy.incomplete_after_ns)
    try:
        explanation = explain(case, target.member)
    except KeyError:
        raise NotFoundError(
            f"{path}: {target.name} is what an unfinished save left, and no prune takes it now",
            "--delete-incomplete D removes such leftovers",
        ) from None
    session.warn()
    if common.format == "json":
        session.print(json.dumps(why_data(explanation), allow_nan=False) + "\n")
        return
    session.print("".join(f"{line}\n" for line in explanation_lines(explanation, session.look())))
