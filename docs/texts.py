"""What the man pages say that nothing in the program does."""

from __future__ import annotations

ABOUT = """\
`ckptctl` decides which training checkpoints to keep, says why, and deletes the others. It recognises the layouts of
the common frameworks, so that a torn checkpoint is never taken for a whole one and nothing that is not a checkpoint
is touched.

A checkpoint is deleted only if no rule and no guard has a reason to keep it. `ckptctl-policy`(5) tells of both.
If something of a run cannot be read, nothing of that run is deleted.

Standard output carries the result and nothing else; messages, questions and progress go to standard error. Without
a terminal nothing is asked, and there is no colour."""

LOCATIONS = """\
A `LOCATION` is the path of a run, of a directory with runs below it (with `--recursive`), or of one
checkpoint; or the URL of a run or of runs in a bucket, as `s3://BUCKET/PATH` and `gs://BUCKET/PATH`. `@TIER` and
`@TIER/RUN` are those of the tiers in the configuration. By default it is the current directory."""

ENVIRONMENT = (
    ("CKPTCTL_CONFIG", "The configuration to use where `--config` names none."),
    ("CKPTCTL_DEBUG", "If it is `1`, an unexpected error (exit 1) comes with its traceback."),
    ("XDG_CONFIG_HOME", "Where `ckptctl/config.yaml` is looked for; by default `~/.config`."),
    ("NO_COLOR", "If it is set, nothing is coloured."),
    ("COLUMNS", "The width of tables; by default that of the terminal."),
    ("SLURM_JOB_ID", "Is noted in each line of `--log-file`."),
)

FILE_FOUND = """\
The configuration, in the location or in a directory above it. It counts only if nobody but you, the run's owner and
root could have put it there; see `ckptctl-policy`(5)."""

STATE = """\
Beside a run: what ckptctl notes of it. `lock` while something is changed, `journal.jsonl` with what is being
deleted, `records/` with pins, tags, annotations and holds, `trash/` with what is deleted and can be brought back or
has not been removed yet; in a bucket `journal/` is in place of the one, and records in place of the other. Where nothing can be written beside the run it is `.ckptctl/` in the run itself, and
`--state-dir` says another place."""

FILES = (
    ("ckptctl.yaml", FILE_FOUND),
    (
        "$XDG_CONFIG_HOME/ckptctl/config.yaml, /etc/ckptctl/config.yaml",
        "The configuration where there is none above the location.",
    ),
    (
        ".ckptctl/RUN/",
        STATE,
        "A run without it is a plain run; `list` and dry runs write nothing.",
    ),
)

POLICY = """\
A YAML file that says where runs lie, which run gets which policy, and what a policy keeps. `ckptctl config example`
prints one that has every key, `ckptctl config check` says what is wrong with one and on which line, and
`ckptctl config schema` prints its JSON Schema for editors.

Rules only ever keep, and one reason is enough: a checkpoint is deleted when no rule and no guard has a reason to keep
it. Adding a rule never deletes more. Flags of a command line go before the keys of the run's tier, and these before
the policy's.

A file that is wrong is exit code 2, and nothing is done. Durations are `90s`, `15m`, `6h`, `7d`, `2w`, or `0`; sizes
`500GB`, `1.5TiB`, or plain bytes."""

POLICY_EXAMPLE = """\
version: 1
tiers:
  nvme: {url: /local/nvme/ckpt}
  lustre: {url: /lustre/proj/ckpt}
runs:
  - {match: "llm-*", policy: pretrain}
  - {match: "**", policy: default}
policies:
  default:
    keep: [{last: 3}]
  pretrain:
    metric: {name: val_ppl, mode: min}
    keep:
      - last: 3
      - best: 2
      - every: 24h
    limits: {max_delete: 20}
"""

POLICY_FOUND = """\
The first of these counts: `--config`; the variable `CKPTCTL_CONFIG`; `ckptctl.yaml` in the location or in a directory
above it; `$XDG_CONFIG_HOME/ckptctl/config.yaml`, by default `~/.config/ckptctl/config.yaml`;
`/etc/ckptctl/config.yaml`.

One that was found by searching counts only if it, and each directory from it down to the run, belongs to you, the
run's owner or root, and others cannot write to it; else it is passed over with a warning.

A run that no `match` fits is listed and left alone."""

POLICY_RULES = """\
They look at the complete checkpoints of one family: those of a run whose names differ only in their numbers. A family
is ordered by step if all its complete checkpoints have one, else by epoch if all have one, else by time. Checkpoints
of one step share one place, count as one, and are kept whole. What is kept in one family keeps the complete ones of
the same step in the others (reason `sibling`), unless their metrics show that they are two trainings.

Each is given as a key of an item of `keep`, or as a flag."""
