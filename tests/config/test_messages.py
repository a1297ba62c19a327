"""What users read when their configuration is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator

import jsonschema
import pytest
import yaml

from ckptctl.configfile import read_config
from ckptctl.errors import UsageError
from ckptctl.schema import schema
from ckptctl.yaml_nodes import MAX_BYTES, MAX_NODES


def errors(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(UsageError) as caught:
        read_config(data, "policy.yaml")
    assert caught.value.code == 2
    return caught.value.message.split("\n")


PRETRAIN = """\
version: 1
policies:
  pretrain:
    metric: val_ppl:min
    keep:
      - last: 3
      - {}
"""

# What a schema can say, so that `ckptctl config schema` in an editor refuses it too.
SHAPE = {
    "best.n": (
        PRETRAIN.format("best: {n: three}"),
        'policy.yaml:7: policies.pretrain.keep[1].best.n: must be a whole number of at least 1, not "three"',
    ),
    "every": (
        PRETRAIN.format("every: 24x"),
        (
            "policy.yaml:7: policies.pretrain.keep[1].every: must be a whole number of at least 1 or"
            ' a duration such as 6h or 7d, not "24x"'
        ),
    ),
    "last of nothing": (
        PRETRAIN.format("last: 0"),
        "policy.yaml:7: policies.pretrain.keep[1].last: must be a whole number of at least 1, not 0",
    ),
    "a text is no number": (
        PRETRAIN.format('last: "3"'),
        'policy.yaml:7: policies.pretrain.keep[1].last: must be a whole number of at least 1, not "3"',
    ),
    "true is no number": (
        PRETRAIN.format("last: true"),
        "policy.yaml:7: policies.pretrain.keep[1].last: must be a whole number of at least 1, not true",
    ),
    "key of a rule": (
        PRETRAIN.format("best: {n: 2, mod: max}"),
        'policy.yaml:7: policies.pretrain.keep[1].best.mod: unknown key; did you mean "mode"?',
    ),
    "rule": (
        PRETRAIN.format("lasst: 3"),
        'policy.yaml:7: policies.pretrain.keep[1].lasst: unknown key; did you mean "last"?',
    ),
    "rule that is none": (
        PRETRAIN.format("zzz: 3"),
        ("policy.yaml:7: policies.pretrain.keep[1].zzz: unknown key; known are best, daily, every, hourly,"
        " last, monthly, steps, tags, weekly, within, yearly"),
    ),
    "text for a rule": (
        PRETRAIN.format("last 3"),
        'policy.yaml:7: policies.pretrain.keep[1]: must be a rule such as {last: 3}, not "last 3"',
    ),
    "steps": (
        PRETRAIN.format("steps: [1000, -1]"),
        "policy.yaml:7: policies.pretrain.keep[1].steps[1]: must be a whole number of at least 0, not -1",
    ),
    "kep": (
        "version: 1\npolicies:\n  default:\n    kep: [{last: 3}]\n",
        'policy.yaml:4: policies.default.kep: unknown key; did you mean "keep"?',
    ),
    "nothing to keep": (
        "version: 1\npolicies:\n  default: {keep: []}\n",
        "policy.yaml:3: policies.default.keep: must be a list of rules such as [{last: 3}], not an empty list",
    ),
    "keep without a value": (
        "version: 1\npolicies:\n  default:\n    keep:\n",
        ("policy.yaml:4: policies.default.keep: must be a list of rules such as [{last: 3}],"
        " but nothing stands there"),
    ),
    "a mapping for a list": (
        "version: 1\npolicies:\n  default:\n    keep: {last: 3}\n",
        "policy.yaml:4: policies.default.keep: must be a list of rules such as [{last: 3}], not a mapping",
    ),
    "bare seconds": (
        "version: 1\npolicies:\n  default: {settle: 900}\n",
        "policy.yaml:3: policies.default.settle: must be a duration such as 90s, 15m, 6h, 7d or 2w, not 900",
    ),
    "duration": (
        "version: 1\npolicies:\n  default: {await_metric: 6 hours}\n",
        ("policy.yaml:3: policies.default.await_metric: must be a duration such as 90s, 15m, 6h, 7d or 2w,"
        ' not "6 hours"'),
    ),
    "percent": (
        "version: 1\npolicies:\n  default: {limits: {max_delete: 101%}}\n",
        ("policy.yaml:3: policies.default.limits.max_delete: must be a whole number of at least 0,"
        ' or a percentage such as 10%, not "101%"'),
    ),
    "size": (
        "version: 1\npolicies:\n  default: {limits: {max_delete_bytes: 20 TeraB}}\n",
        ("policy.yaml:3: policies.default.limits.max_delete_bytes: must be a size such as 500GB, 1.5TiB"
        ' or plain bytes, not "20 TeraB"'),
    ),
    "choice": (
        "version: 1\npolicies:\n  default: {on_conflict: overwrite}\n",
        'policy.yaml:3: policies.default.on_conflict: must be stop, replace or both, not "overwrite"',
    ),
    "mode": (
        "version: 1\npolicies:\n  default: {metric: {name: loss, mode: low}}\n",
        'policy.yaml:3: policies.default.metric.mode: must be min or max, not "low"',
    ),
    "no metric's name": (
        "version: 1\npolicies:\n  default: {metric: 3}\n",
        ("policy.yaml:3: policies.default.metric: must be the name of a metric, NAME:min, NAME:max or"
        " {name: NAME, mode: min}, not 3"),
    ),
    "incomplete": (
        "version: 1\npolicies:\n  default: {incomplete: {}}\n",
        ("policy.yaml:3: policies.default.incomplete.delete_after: is missing: it must be a duration such as"
        " 90s, 15m, 6h, 7d or 2w"),
    ),
    "copies": (
        "version: 1\npolicies:\n  default: {require_copies: -1}\n",
        "policy.yaml:3: policies.default.require_copies: must be a whole number of at least 0, not -1",
    ),
    "version": ("version: 2\n", "policy.yaml:1: version: must be 1, not 2"),
    "version as text": ('version: "1"\n', 'policy.yaml:1: version: must be 1, not "1"'),
    "no version": ("policies: {}\n", "policy.yaml:1: version: is missing: it must be 1"),
    "misspelt and so missing": (
        "verison: 1\n",
        'policy.yaml:1: verison: unknown key; did you mean "version"?',
    ),
    "a list": (
        "- last: 3\n",
        "policy.yaml:1: must be a mapping, as `ckptctl config example` prints it, not a list",
    ),
    "tier": (
        "version: 1\ntiers: {nvme: /local/nvme}\n",
        'policy.yaml:2: tiers.nvme: must be a tier such as {url: /scratch/ckpt}, not "/local/nvme"',
    ),
    "tier without url": (
        "version: 1\ntiers: {nvme: {}}\n",
        "policy.yaml:2: tiers.nvme.url: is missing: it must be a path or URL",
    ),
    "tier's name": (
        "version: 1\ntiers: {a/b: {url: /x}}\n",
        'policy.yaml:2: tiers."a/b": must be a name of letters, digits, dots, underscores and dashes',
    ),
    "per_node": (
        "version: 1\ntiers: {a: {url: /x, per_node: sometimes}}\n",
        'policy.yaml:2: tiers.a.per_node: must be true or false, not "sometimes"',
    ),
    "purge_by": (
        "version: 1\ntiers: {a: {url: /x, purge_after: 21d, purge_by: atme}}\n",
        'policy.yaml:2: tiers.a.purge_by: must be any, atime, mtime or birth, not "atme"',
    ),
    "key in an override": (
        "version: 1\ntiers: {a: {url: /x}}\npolicies: {p: {tiers: {a: {copyto: b}}}}\n",
        'policy.yaml:3: policies.p.tiers.a.copyto: unknown key; did you mean "copy_to"?',
    ),
    "copy_to outside of a tier": (
        "version: 1\npolicies: {p: {copy_to: cloud}}\n",
        ("policy.yaml:2: policies.p.copy_to: unknown key; known are metric, keep, metrics_from, settle,"
        " await_metric, incomplete, limits, on_conflict, grace, require_copies, tiers"),
    ),
    "run without policy": (
        "version: 1\nruns:\n  - match: a\n",
        "policy.yaml:3: runs[0].policy: is missing: it must be the name of a policy",
    ),
    "layout without a number": (
        "version: 1\nformats: [{name: mine, match: 'net-\\d+', kind: file}]\n",
        ("policy.yaml:2: formats[0].match: must be a regular expression with a group (?P<step>...) or"
        ' (?P<epoch>...), not "net-\\\\d+"'),
    ),
    "kind": (
        "version: 1\nformats: [{name: mine, match: '(?P<step>\\d+)', kind: group}]\n",
        'policy.yaml:2: formats[0].kind: must be file or directory, not "group"',
    ),
}  # fmt: skip

# What only we can say.
MEANING = {
    "purge_after of nothing": (
        "version: 1\ntiers: {a: {url: /x, purge_after: 0}}\n",
        "policy.yaml:2: tiers.a.purge_after: must be more than 0",
    ),
    "purge_after in a bucket": (
        "version: 1\ntiers: {a: {url: 's3://b/x', purge_after: 21d}}\n",
        ("policy.yaml:2: tiers.a.purge_after: is for file systems: what a bucket's lifecycle rules delete"
        " is not known here"),
    ),
    "purge_warn": (
        "version: 1\ntiers: {a: {url: /x, purge_after: 2d, purge_warn: 3d}}\n",
        "policy.yaml:2: tiers.a.purge_warn: must not be longer than purge_after",
    ),
    "purge_warn alone": (
        "version: 1\ntiers: {a: {url: /x, purge_warn: 3d}}\n",
        "policy.yaml:2: tiers.a.purge_warn: needs purge_after beside it",
    ),
    "metric missing": (
        "version: 1\npolicies:\n  default:\n    keep: [{best: 3}]\n",
        ("policy.yaml:4: policies.default.keep[0].best: needs a metric: --metric NAME,"
        " or {n: 2, metric: NAME} in YAML"),
    ),
    "mode unknown": (
        "version: 1\npolicies:\n  default: {metric: elo, keep: [{best: 3}]}\n",
        ("policy.yaml:3: policies.default.keep[0].best: cannot tell whether less or more elo is better:"
        " give the mode, as in elo:min or elo:max"),
    ),
    "no such policy": (
        "version: 1\nruns: [{match: '*', policy: defualt}]\npolicies: {default: {}}\n",
        'policy.yaml:2: runs[0].policy: no such policy; did you mean "default"?',
    ),
    "no policy at all": (
        "version: 1\nruns: [{match: '*', policy: default}]\n",
        "policy.yaml:2: runs[0].policy: no such policy; there are none",
    ),
    "glob": (
        "version: 1\nruns: [{match: 'a[z-a]', policy: p}]\npolicies: {p: {}}\n",
        "policy.yaml:2: runs[0].match: is no glob: bad character range z-a",
    ),
    "no such tier": (
        "version: 1\ntiers: {lustre: {url: /l}}\npolicies: {p: {tiers: {lustr: {settle: 1m}}}}\n",
        'policy.yaml:3: policies.p.tiers.lustr: no such tier; did you mean "lustre"?',
    ),
    "copy to nowhere": (
        "version: 1\ntiers: {a: {url: /a}, cloud: {url: /c}}\npolicies: {p: {tiers: {a: {copy_to: clod}}}}\n",
        'policy.yaml:3: policies.p.tiers.a.copy_to: no such tier; did you mean "cloud"?',
    ),
    "copy back": (
        "version: 1\ntiers: {a: {url: /a}, b: {url: /b}}\npolicies: {p: {tiers: {b: {copy_to: a}}}}\n",
        "policy.yaml:3: policies.p.tiers.b.copy_to: must be a tier later than b, not a; b is the last",
    ),
    "copy to itself": (
        "version: 1\ntiers: {a: {url: /a}, b: {url: /b}}\npolicies: {p: {tiers: {a: {copy_to: a}}}}\n",
        "policy.yaml:3: policies.p.tiers.a.copy_to: must be a tier later than a, not a; later are b",
    ),
    "copy of what": (
        "version: 1\ntiers: {a: {url: /a}}\npolicies: {p: {tiers: {a: {copy: [{last: 1}]}}}}\n",
        "policy.yaml:3: policies.p.tiers.a.copy: needs copy_to beside it",
    ),
    "copies nowhere": (
        "version: 1\npolicies: {p: {require_copies: 1}}\n",
        "policy.yaml:2: policies.p.require_copies: needs tiers that hold copies",
    ),
    "two tiers in one place": (
        "version: 1\ntiers: {a: {url: 's3://b/c'}, d: {url: 's3://b/c/'}}\n",
        "policy.yaml:2: tiers.d.url: is the place of a already",
    ),
    "two tiers in one place by two schemes": (
        "version: 1\ntiers: {a: {url: 'gs://b/c'}, d: {url: 'gcs://b/c'}}\n",
        "policy.yaml:2: tiers.d.url: is the place of a already",
    ),
    "home": (
        "version: 1\ntiers: {a: {url: ~/ckpt}}\n",
        "policy.yaml:2: tiers.a.url: a ~ is not expanded: write the whole path",
    ),
    "regular expression": (
        "version: 1\nformats: [{name: mine, match: '(?P<step>\\d+', kind: file}]\n",
        ("policy.yaml:2: formats[0].match: is no regular expression: missing ), unterminated subpattern"
        " at position 0"),
    ),
    "two layouts of one name": (
        ("version: 1\nformats:\n  - {name: a, match: '(?P<step>1)', kind: file}\n"
        "  - {name: a, match: '(?P<step>2)', kind: file}\n"),
        "policy.yaml:4: formats[1].name: is the name of another layout",
    ),
    "metric without a name": (
        "version: 1\npolicies: {p: {metric: ':min'}}\n",
        "policy.yaml:2: policies.p.metric: must be NAME, NAME:min or NAME:max, not ':min'",
    ),
    "in an override": (
        "version: 1\ntiers: {a: {url: /a}}\npolicies:\n  p:\n    tiers:\n      a:\n        keep: [{best: 1}]\n",
        ("policy.yaml:7: policies.p.tiers.a.keep[0].best: needs a metric: --metric NAME,"
        " or {n: 2, metric: NAME} in YAML"),
    ),
}  # fmt: skip

# What is no YAML of ours.
TEXT = {
    "python object": (
        "version: 1\npolicies:\n  p: !!python/object/apply:os.system {}\n",
        'policy.yaml:3: policies.p: has the tag "!!python/object/apply:os.system": tags are not read',
    ),
    "duplicate": (
        "version: 1\npolicies:\n  p:\n    keep: [{last: 1}]\n    keep: [{last: 2}]\n",
        "policy.yaml:5: policies.p.keep: is given twice, first on line 4",
    ),
    "two documents": ("version: 1\n---\nversion: 1\n", "policy.yaml:2: holds more than one YAML document"),
    "nothing": ("", "policy.yaml:1: is empty"),
    "only a comment": ("# nothing\n", "policy.yaml:1: is empty"),
    "itself": ("version: 1\npolicies: &a {p: *a}\n", "policy.yaml:2: policies.p: the alias *a refers to itself"),
    "unknown alias": ("version: 1\npolicies: *a\n", "policy.yaml:2: policies: the alias *a is defined nowhere"),
    "key that is a list": ("version: 1\n? [a]\n: 1\n", "policy.yaml:2: has a key that is no plain text"),
    "deep": ("version: 1\npolicies: " + "[" * 60, "policy.yaml:2: is nested more than 50 deep"),
    "large": ("#" * (MAX_BYTES + 1), "policy.yaml:1: is larger than 1 MiB"),
    "many": ("[" + "1," * MAX_NODES + "]", f"policy.yaml:1: holds more than {MAX_NODES} values, aliases expanded"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*SHAPE, *MEANING, *TEXT])
def test_message(name: str) -> None:
    text, message = {**SHAPE, **MEANING, **TEXT}[name]
    assert errors(text) == [message]


@pytest.mark.parametrize("name", SHAPE)
def test_the_schema_refuses_it_too(name: str) -> None:
    document = yaml.safe_load(SHAPE[name][0])
    assert list(jsonschema.Draft202012Validator(schema()).iter_errors(document))


@pytest.mark.parametrize("name", MEANING)
def test_what_only_we_can_say_fits_the_schema(name: str) -> None:
    """Else it belongs among the shapes."""
    document = yaml.safe_load(MEANING[name][0].replace("~/", "home/"))
    assert not list(jsonschema.Draft202012Validator(schema()).iter_errors(document))


def test_every_error_is_told_at_once_in_the_order_of_the_file() -> None:
    found = errors(
        "version: 1\n"
        "runs: [{match: a, polcy: p}]\n"
        "policies:\n"
        "  p: {kep: [{last: 1}], settle: soon}\n"
        "  q: {keep: [{last: 0, best: x}]}\n"
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["policy.yaml:2", "runs[0].polcy"],
        ["policy.yaml:4", "policies.p.kep"],
        ["policy.yaml:4", "policies.p.settle"],
        ["policy.yaml:5", "policies.q.keep[0].last"],
        ["policy.yaml:5", "policies.q.keep[0].best"],
    ]


def test_a_file_full_of_errors_stays_readable() -> None:
    found = errors("version: 1\n" + "".join(f"key{n}: 1\n" for n in range(1000)))
    assert len(found) == 51
    assert found[-1] == "policy.yaml: and 950 more"


def test_syntax_error_has_its_line() -> None:
    assert errors("version: 1\npolicies: {p: [}\n")[0].startswith("policy.yaml:2: is no YAML: ")
    assert errors("version: 1\n\tpolicies: {}\n")[0].startswith("policy.yaml:2: is no YAML: ")


def test_bytes_that_are_no_text_have_their_line() -> None:
    assert errors(b"version: 1\n# \xff\n") == ["policy.yaml:2: is no UTF-8 text"]
    assert errors(b"version: 1\n# \x07\n")[0].startswith("policy.yaml:")


def test_what_is_nested_without_end_is_refused_at_once() -> None:
    """Where the C parser does not refuse it first, we do."""
    assert "nest" in errors("[" * 500_000)[0]
    assert "nest" in errors("".join(f"{' ' * n}a:\n" for n in range(1000)))[0]


def test_alias_bombs_do_not_go_off() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)
    )
    assert "aliases expanded" in errors("version: 1\n" + bomb)[0]
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 100))
    assert "nested more than 50 deep" in errors("version: 1\n" + chain)[0]


def test_control_characters_and_long_texts_do_not_reach_the_terminal() -> None:
    [line] = errors('version: 1\npolicies: {p: {settle: "\\e[31m' + "x" * 1000 + '"}}\n')
    assert line.isprintable()
    assert len(line) < 200
    [line] = errors(f"version: 1\n{'k' * 1000}: 1\n")
    assert len(line) < 200


def test_secrets_are_not_shown() -> None:
    for options in ("hunter2", "[hunter2]", "{secret: [hunter2]}", "{secret: {k: hunter2}}"):
        found = errors(f"version: 1\ntiers: {{a: {{url: /x, storage_options: {options}}}}}\n")
        assert "hunter2" not in json.dumps(found)


def _scalars() -> Iterator[str]:
    yield from ("null", "~", "true", "no", "3", "-3", "0", "3.5", "x", '""', "24h", "10%", "1e3")
    yield from ("2026-01-01", "0x10", "010", "1_000", "[]", "{}", "[1]", "{n: 1}", "[x]", ".nan")


@pytest.mark.parametrize("key", ["last", "best", "every", "within", "daily", "steps", "tags"])
def test_rules_take_what_their_schema_takes(key: str) -> None:
    """A rule and its schema agree on every kind of value, as YAML reads it."""
    validator = jsonschema.Draft202012Validator(schema())
    agreed = 0
    for value in _scalars():
        text = f"version: 1\npolicies: {{p: {{metric: loss, keep: [{{{key}: {value}}}]}}}}\n"
        if value in ("no", "2026-01-01", "0x10", "010", ".nan"):
            continue  # YAML 1.1, which PyYAML reads, means something else by it
        fits = validator.is_valid(yaml.safe_load(text))
        try:
            read_config(text.encode(), "policy.yaml")
        except UsageError:
            assert not fits, text
        else:
            assert fits, text
            agreed += 1
    assert agreed
