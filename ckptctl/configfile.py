"""Read a file of configuration, and say all that is wrong with it.

Whatever is wrong with a file is one UsageError with a line for each fault: `FILE:LINE: KEY.PATH:
what is wrong`.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from importlib import resources

from ckptctl.config import Config
from ckptctl.decode import Decoder
from ckptctl.errors import UsageError
from ckptctl.schema import schema
from ckptctl.shape import check, suggestion
from ckptctl.yaml_nodes import MAX_BYTES, Fault, UnparsableError, parse

_MOST_FAULTS = 50


def load(file: str) -> Config:
    """Return the configuration of a file; UsageError where it cannot be read or is wrong."""
    try:
        # A pipe without a writer would hang here, and a device may never end.
        with open(file, "rb", opener=_unblocked) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise UsageError(f"{file}: cannot be read: it is no regular file")
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    return read_config(data, file)


def _unblocked(file: str, flags: int) -> int:
    return os.open(file, flags | os.O_NONBLOCK)


def load_policy(option: str) -> Config:
    """Return the configuration that `--policy FILE[#NAME]` means.

    With a NAME that policy holds for every run.  Without, the file's `runs` say; where it has
    none, its only policy holds for every run, or the one called `default`; else UsageError.
    """
    file, mark, name = option.rpartition("#")
    if not mark or os.path.exists(option):
        file, name = option, ""
    config = load(file)
    names = list(config.policies)
    if name:
        if name not in names:
            raise UsageError(f"--policy: {file} has no policy {name}; {suggestion(name, names)}")
        return replace(config, runs=(), fallback=name)
    if config.runs:
        return config
    if len(names) == 1 or "default" in names:
        return replace(config, fallback="default" if "default" in names else names[0])
    if not names:
        raise UsageError(f"--policy: {file} has no policies")
    raise UsageError(
        f"--policy: {file} has several policies, no `runs` and none called default: {', '.join(names)}",
        f"name one: --policy {file}#{names[0]}",
    )


def read_config(data: bytes, file: str) -> Config:
    """Return the configuration in the text of a file; UsageError lists all that is wrong."""
    try:
        root, faults = parse(data)
    except UnparsableError as error:
        raise _error(file, [error.fault]) from None
    shape = schema()
    faults += check(root, shape, shape)
    if faults:
        raise _error(file, faults)
    decoder = Decoder(file, root)
    tiers = decoder.tiers()
    policies = decoder.policies(tiers)
    config = Config(
        file=file,
        tiers=tiers,
        runs=decoder.runs(list(policies)),
        formats=decoder.formats(),
        policies=policies,
        overrides=decoder.overrides(tiers),
    )
    faults = decoder.faults
    rules = _rule_errors(config)
    if faults or rules:
        raise _error(file, faults, rules)
    return config


def _rule_errors(config: Config) -> list[str]:
    """Return what is wrong with rules, in each policy and in what each tier makes of it."""
    drafts = list(config.policies.values())
    drafts += [
        config.policies[policy].under(part) for (policy, _), part in config.overrides.items()
    ]
    lines: list[str] = []
    for draft in drafts:
        try:
            draft.policy()
        except UsageError as error:
            lines += error.parts
    return lines


def _error(file: str, faults: list[Fault], lines: list[str] | None = None) -> UsageError:
    """Return one error with a line for each fault, in the order of the file."""
    lines = [f"{file}:{fault.line}: {fault}" for fault in faults] + (lines or [])
    lines = sorted(dict.fromkeys(lines), key=lambda line: int(line[len(file) + 1 :].split(":")[0]))
    if len(lines) > _MOST_FAULTS:
        lines = [*lines[:_MOST_FAULTS], f"{file}: and {len(lines) - _MOST_FAULTS} more"]
    hint = "`ckptctl config example` prints a file that is right, with every key"
    return UsageError(lines[0], hint, lines[1:])


def example_text() -> str:
    """Return a commented configuration that has every key."""
    return resources.files("ckptctl").joinpath("example.yaml").read_text(encoding="utf-8")


def check_text(config: Config) -> str:
    """Return what `ckptctl config check` says of a file that is right: what it holds, what is idle."""
    counts = [
        (len(config.tiers), "tier"), (len(config.runs), "run pattern"),
        (len(config.formats), "format"), (len(config.policies), "policy"),
    ]  # fmt: skip
    held = ", ".join(f"{n} {_plural(noun) if n != 1 else noun}" for n, noun in counts)
    lines = [f"{config.file}: valid: {held}"]
    used = {entry.policy for entry in config.runs}
    if config.policies and not config.runs:
        lines.append("note: without `runs` it matches no run; its policies work with --policy only")
    else:
        lines += [
            f"note: no run gets the policy {name}" for name in config.policies if name not in used
        ]
    return "\n".join(lines) + "\n"


def _plural(noun: str) -> str:
    return noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
