"""Examples of each command: lines for a shell, shown below its help and in its man page."""

from __future__ import annotations

from collections.abc import Mapping

import typer
from typer.models import CommandInfo, TyperInfo

EXAMPLES: Mapping[str, str] = {
    "list": """\
# what is there, with a metric beside each
ckptctl list runs/llm --metric val_loss

# paths of the complete ones of every run below, for another program
ckptctl list -r runs --state complete -0 | xargs -0 du -sh
""",
    "prune": """\
# what would go, and why
ckptctl prune runs/llm --keep-last 3 --keep-best 2 --metric val_loss -n

# every night, by the policies of a file, at most 50 of each run
ckptctl prune -r runs --policy ckptctl.yaml --max-delete 50 -q
""",
    "verify": """\
# is everything whole, down to headers and indexes
ckptctl verify runs/llm

# note the digests of what is new; later, read every byte and compare
ckptctl verify runs/llm --record
ckptctl verify runs/llm --level digest

# every night a twentieth of all bytes
ckptctl verify -r runs --level digest --sample 5% -q
""",
    "sync": """\
# all that is complete, the newest first; again, and only what is missing is sent
ckptctl sync /local/nvme/llm s3://bucket/runs/llm

# of every run each 5000th step, at most 500 MB a second
ckptctl sync -r /lustre/proj @cloud --keep-every 5000 --bwlimit 500MB

# make room: what is proven there and no guard keeps goes here
ckptctl sync /local/nvme/llm /lustre/proj/llm --move
""",
    "apply": """\
# what the whole configuration would do; then do it
ckptctl apply -c tiers.yaml -n
ckptctl apply -c tiers.yaml

# from cron, every five minutes: says nothing while another one is at work
ckptctl apply -c tiers.yaml -q --timeout 4h --log-file apply.log
""",
    "watch": """\
# in a job script, beside the training (then `kill %1; wait` ends it)
ckptctl watch -c tiers.yaml @nvme/llm --bwlimit 500MB &
""",
    "undo": """\
# what could be brought back, then one of it
ckptctl undo runs/llm --list
ckptctl undo runs/llm --name step_4000
""",
    "purge": """\
# what lies in the trash for more than three days
ckptctl purge runs/llm --older-than 3d
""",
    "why": """\
# what would have to change for step_4000 to stay
ckptctl why step_4000 runs/llm --keep-last 3
""",
    "hold": """\
# while an evaluation reads it
ckptctl hold step_4000 runs/llm -- python eval.py step_4000

# for two days, and no longer
ckptctl hold step_4000 runs/llm --ttl 2d
ckptctl hold --release step_4000 runs/llm
""",
    "annotate": """\
# what an evaluation found, hours after the save
ckptctl annotate step_4000 val_loss=2.31 --in runs/llm

# keep it whatever the rules say
ckptctl annotate step_4000 --pin --tag paper --in runs/llm
""",
    "resolve": """\
# in a job script: where to go on, on whatever tier it is
ckptctl resolve latest @nvme/llm

# the same, copied to this node's own disk first
ckptctl resolve latest @nvme/llm --fetch /local/llm

# the best so far
ckptctl resolve best:val_loss runs/llm
""",
    "promote": """\
# the best by a metric, under a name that moves on with the next one
ckptctl promote best:val_loss runs/llm --as prod --note "March demo"
ckptctl resolve alias:prod runs/llm

# copied to where releases are, and named there as well
ckptctl promote step_4000 runs/llm --as prod --to s3://releases/llm

# and back
ckptctl promote --demote alias:prod runs/llm
""",
    "drill": """\
# would each run resume from each tier, and how long would it take
ckptctl drill --into /data/tmp

# one run; exit 6 where a checkpoint is damaged
ckptctl drill llm --into /data/tmp -q
""",
    "interval": """\
# a save takes a minute; 512 nodes, each fails every five years
ckptctl interval --save-cost 60s --nodes 512 --node-mtbf 1825d

# from what a run shows
ckptctl interval runs/llm
""",
    "status": """\
# for Nagios: newest complete checkpoint older than 2 h, 6 h
ckptctl status runs/llm --warn 2h --critical 6h
# what a site that deletes what was not read for 21 days is about to take
ckptctl status /scratch/me --purge-after 21d --purge-by atime
""",
    "demo": """\
ckptctl demo sample
ckptctl list sample/tiny-llm
""",
    "config": """\
ckptctl config example > ckptctl.yaml
ckptctl config check ckptctl.yaml
""",
}
"""By command; each line that is no comment is a command line that the program takes."""


def show_examples(app: typer.Typer, name: str) -> None:
    """Put the examples of a command that is in the app below its help."""
    infos: list[CommandInfo | TyperInfo] = [*app.registered_commands, *app.registered_groups]
    for info in infos:
        if info.name == name and name in EXAMPLES:
            lines = "".join(f"  {line}\n" for line in EXAMPLES[name].splitlines() if line)
            info.epilog = f"\b\nExamples:\n{lines}"  # \b: lines stay as they are
