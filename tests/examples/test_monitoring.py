"""examples/monitoring: the alerts ask for what `status` writes, and the checks end as Nagios expects."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.examples.machine import EXAMPLES, Machine, run
from tests.examples.test_cron import Cron, mailed
from tests.program import Ckptctl
from tests.saved import save

RULES = "monitoring/ckptctl.rules.yml"
PROMTOOL = shutil.which("promtool")
LIMITS = ["2h", "6h"]


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((EXAMPLES / RULES).read_text())["groups"]
    return list(group["rules"])


def samples(machine: Machine) -> dict[str, set[str]]:
    """The names of what the line of metrics.cron wrote, each with its labels."""
    assert mailed(Cron(machine)("monitoring/metrics.cron")) == ""
    text = (machine.root / "metrics" / "ckptctl.prom").read_text()
    found = re.findall(r"^(\w+)(\{.*\})? [0-9.]+$", text, re.MULTILINE)
    return {name: set(re.findall(r'(\w+)="', labels)) for name, labels in found}


def test_each_alert_asks_for_what_the_cron_line_writes(machine: Machine) -> None:
    (machine.root / "nvme" / "modèle").rename(machine.root / "lustre" / "other")
    save(machine.root / "nvme" / "modèle", dict.fromkeys(range(1, 3)))
    there = samples(machine)
    assert len(rules()) > 5
    for rule in rules():
        names = set(re.findall(r"ckptctl_\w+", rule["expr"]))
        assert names, rule
        assert names <= set(there), rule
        labels = set.intersection(*(there[name] for name in names))
        by = re.findall(r"by \((\w+)\)", rule["expr"])
        asked = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert asked <= (set(by) or labels), rule
        assert set(re.findall(r"(\w+)=", rule["expr"])) <= labels, rule


def test_each_alert_is_named_and_rated() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    assert {rule["labels"]["severity"] for rule in rules()} == {"critical", "warning"}
    scrape = yaml.safe_load((EXAMPLES / "monitoring" / "prometheus.yml").read_text())
    assert scrape["rule_files"] == [Path(RULES).name]
    (cron,) = re.findall(r"status .*", (EXAMPLES / "monitoring" / "metrics.cron").read_text())
    assert Path(cron.split("--prometheus ")[1].split()[0]).suffix == ".prom"  # else it is not read
    stale = next(rule for rule in rules() if rule["alert"] == "CheckpointMetricsStale")
    assert stale["alert"] in (EXAMPLES / "monitoring" / "metrics.cron").read_text()


@pytest.mark.skipif(PROMTOOL is None, reason="Prometheus is not installed here")
def test_prometheus_takes_them(tmp_path: Path) -> None:
    for call in (["check", "rules", str(EXAMPLES / RULES)],
                 ["check", "config", str(EXAMPLES / "monitoring" / "prometheus.yml")]):  # fmt: skip
        done = run([str(PROMTOOL), *call], {}, tmp_path)
        assert done.code == 0, done.stderr


def nagios(machine: Machine) -> list[str]:
    text = machine.text("monitoring/nagios.cfg")
    (line,) = re.findall(r"command_line\s+(.*)", text)
    (check,) = re.findall(r"check_command\s+(.*)", text)
    for number, argument in enumerate(check.split("!")[1:], start=1):
        line = line.replace(f"$ARG{number}$", argument)
    assert "$" not in line
    assert ";" not in line, "what follows would be a comment"
    return shlex.split(line)


def nrpe(machine: Machine) -> list[str]:
    (line,) = re.findall(r"^command\[\w+\]=(.*)", machine.text("monitoring/nrpe.cfg"), re.MULTILINE)
    return shlex.split(line)


def icinga(machine: Machine) -> list[str]:
    text = machine.text("monitoring/icinga2.conf")
    (command,) = re.findall(r"command = \[(.*)\]", text)
    given = dict(re.findall(r'vars\.(\w+) = "(.*)"', text))
    location = next(re.finditer(r'value = "\$(\w+)\$"', text))[1]
    flags = re.findall(r'"(--\w+)" = "\$(\w+)\$"', text)
    words = [word for flag, name in flags for word in (flag, given[name])]
    return [*re.findall(r'"([^"]*)"', command), *words, given[location]]


@pytest.mark.parametrize("check", [nagios, nrpe, icinga])
def test_a_check_tells_ok_from_critical(check: Any, machine: Machine, ckptctl: Ckptctl) -> None:
    program, *words = check(machine)
    assert program == str(machine.program)
    assert [words[words.index(flag) + 1] for flag in ("--warn", "--critical")] == LIMITS
    run_there = machine.root / "lustre" / "llm-7b"
    unknown = ckptctl(*words)
    assert (unknown.code, unknown.stdout.partition(":")[0]) == (3, "UNKNOWN")
    (machine.root / "nvme" / "modèle").rename(run_there)
    young = ckptctl(*words)
    assert (young.code, young.stdout.partition(":")[0]) == (0, "OK")
    for file in run_there.iterdir():
        os.utime(file, (0, 0))
    old = ckptctl(*words)
    assert (old.code, old.stdout.partition(":")[0]) == (2, "CRITICAL")
