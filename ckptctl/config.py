"""The configuration: tiers, runs, formats and policies, and which policy a run gets.

Made by `configfile`, which is imported only where there is a file: YAML and all that checks it
take as long to import as everything else that a small `list` needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ckptctl import globs
from ckptctl.errors import UsageError
from ckptctl.model import Layout
from ckptctl.policy import Draft, Policy, RunMatch, Tier
from ckptctl.stores import settled

NO_FLAGS = Draft()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A configuration that is right in itself."""

    file: str
    tiers: tuple[Tier, ...] = ()
    runs: tuple[RunMatch, ...] = ()
    formats: tuple[Layout, ...] = ()
    policies: Mapping[str, Draft] = field(default_factory=dict)
    overrides: Mapping[tuple[str, str], Draft] = field(default_factory=dict)  # (policy, tier)
    fallback: str | None = None  # the policy of runs where there are no `runs` (`--policy`)

    def tier(self, name: str) -> Tier:
        """Return a tier by name; UsageError where there is none."""
        for tier in self.tiers:
            if tier.name == name:
                return tier
        from ckptctl.shape import suggestion  # noqa: PLC0415 - it reads YAML nodes, too

        known = suggestion(name, [tier.name for tier in self.tiers])
        raise UsageError(f"@{name}: {self.file} has no such tier; {known}")

    def place(self, location: str) -> tuple[Tier, str] | None:
        """Return the innermost tier that a location lies in, and its path below the tier's url.

        Local paths are compared with links resolved, so that no spelling hides a tier's rules.
        """
        found: tuple[Tier, str] | None = None
        where, longest = settled(location), -1
        for tier in self.tiers:
            url = settled(tier.url)
            inside = where == url or where.startswith(url.rstrip("/") + "/")
            if inside and len(url) > longest:
                found, longest = (tier, where[len(url) :].strip("/")), len(url)
        return found

    def policy_name(self, name: str) -> str | None:
        """Return the policy of a run: that of the first match; None if nothing matches it."""
        if not self.runs:
            return self.fallback
        return next((e.policy for e in self.runs if globs.matches(e.match, name)), None)


def policy_for(
    config: Config | None, run_name: str, location: str, flags: Draft = NO_FLAGS
) -> Policy | None:
    """Return what is to be kept of the run at a location; None where nothing says so.

    The run goes by its path below the url of the tier that it lies in, else by its name.  What
    its tier replaces of the policy goes before the policy, and flags before both.  UsageError
    where a rule lacks its metric.
    """
    draft: Draft | None = None
    if config is not None:
        place = config.place(location)
        policy = config.policy_name((place[1] if place else "") or run_name)
        if policy is not None:
            draft = config.policies[policy]
            if place and (policy, place[0].name) in config.overrides:
                draft = draft.under(config.overrides[policy, place[0].name])
    if draft is None and flags.keep is None:
        return None
    return (draft or NO_FLAGS).under(flags).policy()
