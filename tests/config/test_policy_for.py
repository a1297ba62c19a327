"""Which policy a run gets: by its name, its tier, and the flags of the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.config import Config, policy_for
from ckptctl.configfile import load, load_policy, read_config
from ckptctl.errors import UsageError
from ckptctl.flags import PolicyFlags
from ckptctl.model import NS
from ckptctl.policy import Limits, Policy
from ckptctl.rules._base import RULES, Metric, Rule

HOUR = 3600 * NS
TIERS = """\
version: 1
tiers:
  nvme: {url: /local/nvme/ckpt}
  lustre: {url: /lustre/proj/ckpt}
  deep: {url: /lustre/proj/ckpt/deep}
  cloud: {url: "s3://bucket/ckpt", storage_options: {anon: true, endpoint_url: "http://x", port: 1}}
runs:
  - {match: "llm-*", policy: pretrain}
  - {match: "team/**", policy: team}
  - {match: "*", policy: default}
policies:
  default: {keep: [{last: 3}]}
  team: {keep: [{last: 7}]}
  pretrain:
    metric: {name: val_ppl}
    keep: [{last: 3}, {best: 2}]
    await_metric: 1h
    limits: {max_delete: 20, max_delete_bytes: 20TB}
    tiers:
      nvme: {keep: [{last: 2}], copy_to: lustre}
      lustre: {copy_to: cloud, copy: [{every: 5000}], limits: {max_delete: 5%}, metric: acc}
      cloud: {keep: [{best: 5}], grace: 7d, require_copies: 0}
"""


@pytest.fixture
def config() -> Config:
    return read_config(TIERS.encode(), "ckptctl.yaml")


def rule(key: str, value: object) -> Rule:
    return RULES[key].make(value, None)


def policy(config: Config | None, name: str, location: str, **flags: object) -> Policy:
    found = policy_for(config, name, location, PolicyFlags(**flags).draft())  # type: ignore[arg-type]  # the fields of PolicyFlags
    assert found is not None
    return found


def test_a_run_under_no_tier_goes_by_its_name(config: Config) -> None:
    assert policy(config, "llm-7b", "/home/me/llm-7b").name == "pretrain"
    assert policy(config, "vision", "/home/me/vision").name == "default"
    assert policy(config, "team/a/b", "/home/me/team/a/b").name == "team"


def test_a_run_in_a_tier_goes_by_its_path_below_it(config: Config) -> None:
    assert policy(config, "x", "/lustre/proj/ckpt/llm-7b").name == "pretrain"
    assert policy(config, "llm-7b", "/lustre/proj/ckpt/team/llm-7b").name == "team"
    assert policy(config, "x", "s3://bucket/ckpt/team/a/").name == "team"
    assert policy(config, "x", "file:///lustre/proj/ckpt/llm-7b/").name == "pretrain"


def test_a_tier_that_is_itself_a_run_goes_by_the_runs_name(config: Config) -> None:
    assert policy(config, "llm-7b", "/lustre/proj/ckpt").name == "pretrain"


def test_what_nothing_matches_has_no_policy(config: Config) -> None:
    assert policy_for(config, "other/run", "/home/me/other/run") is None
    assert policy_for(config, "x", "/lustre/proj/ckpt/other/run") is None
    assert policy_for(None, "x", "/x") is None


def test_a_name_that_only_begins_like_a_tier_is_not_in_it(config: Config) -> None:
    assert config.place("/lustre/proj/ckpt2/run") is None
    assert config.place("s3://bucket/ckpt2") is None


def test_the_innermost_tier_counts(config: Config) -> None:
    found = config.place("/lustre/proj/ckpt/deep/llm-7b")
    assert found is not None
    assert (found[0].name, found[1]) == ("deep", "llm-7b")


def test_a_link_does_not_hide_a_tier(tmp_path: Path) -> None:
    (tmp_path / "real/llm-7b").mkdir(parents=True)
    (tmp_path / "short").symlink_to(tmp_path / "real")
    text = TIERS.replace("/lustre/proj/ckpt}", f"{tmp_path}/short}}")
    config = read_config(text.encode(), "ckptctl.yaml")
    for spelling in ("real", "short", "real/../short"):
        found = config.place(f"{tmp_path}/{spelling}/llm-7b")
        assert found is not None
        assert (found[0].name, found[1]) == ("lustre", "llm-7b")


def test_a_tiers_relative_url_starts_at_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj/ckptctl.yaml").write_text("version: 1\ntiers: {a: {url: ../ckpt/}}\n")
    monkeypatch.chdir(tmp_path)
    assert load("proj/ckptctl.yaml").tier("a").url == f"{tmp_path}/ckpt"


def test_storage_options_are_texts_as_on_the_command_line(config: Config) -> None:
    options = {"anon": "true", "endpoint_url": "http://x", "port": "1"}
    assert config.tier("cloud").storage_options == options


def test_an_unknown_tier_is_told_with_the_nearest(config: Config) -> None:
    with pytest.raises(UsageError, match=r'@lustr: .* no such tier; did you mean "lustre"\?'):
        config.tier("lustr")


def test_what_is_not_said_has_its_default(config: Config) -> None:
    found = policy(config, "vision", "/x/vision")
    assert found == Policy(name="default", keep=(rule("last", 3),))
    assert (found.settle_ns, found.await_metric_ns) == (HOUR // 4, 6 * HOUR)


def test_a_key_on_a_tier_replaces_the_policys_and_the_rest_stays(config: Config) -> None:
    nowhere = policy(config, "llm-7b", "/x/llm-7b")
    best = rule("best", {"n": 2, "metric": "val_ppl", "mode": "min"})
    assert nowhere.keep == (rule("last", 3), best)
    assert nowhere.limits == Limits(max_delete=20, max_delete_bytes=20 * 10**12)
    assert nowhere.copy_to is None

    nvme = policy(config, "llm-7b", "/local/nvme/ckpt/llm-7b")
    assert nvme.keep == (rule("last", 2),)
    assert nvme.copy_to == "lustre"
    assert nvme.await_metric_ns == HOUR
    assert nvme.limits == nowhere.limits

    lustre = policy(config, "llm-7b", "/lustre/proj/ckpt/llm-7b")
    assert lustre.keep == (rule("last", 3), rule("best", {"n": 2, "metric": "acc", "mode": "max"}))
    assert lustre.copy == (rule("every", 5000),)
    assert lustre.limits == Limits(max_delete_percent=5)

    cloud = policy(config, "llm-7b", "s3://bucket/ckpt/llm-7b")
    assert (cloud.grace_ns, cloud.require_copies) == (7 * 24 * HOUR, 0)


def test_keep_flags_replace_keep_and_nothing_else(config: Config) -> None:
    found = policy(config, "llm-7b", "/x/llm-7b", keep={"last": "9"})
    assert found.keep == (rule("last", 9),)
    assert found.await_metric_ns == HOUR
    assert found.limits.max_delete == 20
    assert found.metrics == (Metric("val_ppl"),)


def test_keep_flags_replace_a_tiers_keep_too(config: Config) -> None:
    found = policy(config, "llm-7b", "/local/nvme/ckpt/llm-7b", keep={"last": "9"})
    assert found.keep == (rule("last", 9),)
    assert found.copy_to == "lustre"


def test_keep_best_uses_the_policys_metric(config: Config) -> None:
    found = policy(config, "llm-7b", "/x/llm-7b", keep={"best": "4"})
    assert found.keep == (rule("best", {"n": 4, "metric": "val_ppl", "mode": "min"}),)


def test_a_metric_flag_reaches_the_policys_best(config: Config) -> None:
    found = policy(config, "llm-7b", "/x/llm-7b", metrics=["acc"])
    assert found.keep == (rule("last", 3), rule("best", {"n": 2, "metric": "acc", "mode": "max"}))


def test_keep_best_takes_every_metric_and_the_other_rules_once() -> None:
    metrics = ["loss", "a:b:max", "elo"]
    found = policy(None, "x", "/x", keep={"best": "2", "last": "1"}, metrics=metrics, mode="min")
    assert found.keep == (
        rule("best", {"n": 2, "metric": "loss", "mode": "min"}),
        rule("best", {"n": 2, "metric": "a:b", "mode": "max"}),
        rule("best", {"n": 2, "metric": "elo", "mode": "min"}),
        rule("last", 1),
    )


def test_a_mode_flag_is_for_the_policys_metric_where_no_other_is_given(config: Config) -> None:
    found = policy(config, "llm-7b", "/x/llm-7b", mode="max")
    assert found.keep[1] == rule("best", {"n": 2, "metric": "val_ppl", "mode": "max"})


def test_a_limit_flag_replaces_its_own_limit_only(config: Config) -> None:
    found = policy(config, "llm-7b", "/x/llm-7b", max_delete="50%")
    assert found.limits == Limits(max_delete_percent=50, max_delete_bytes=20 * 10**12)
    found = policy(config, "llm-7b", "/x/llm-7b", max_delete_bytes="1GB")
    assert found.limits == Limits(max_delete=20, max_delete_bytes=10**9)


def test_every_other_flag_replaces_its_key(config: Config) -> None:
    found = policy(
        config, "llm-7b", "/x/llm-7b", settle="1m", await_metric="0", delete_incomplete="2h",
        metrics_from=["a.csv", "b.csv"], grace="1d", require_copies=2, on_conflict="both",
    )  # fmt: skip
    assert found.settle_ns == 60 * NS
    assert found.await_metric_ns == 0
    assert found.incomplete_after_ns == 2 * HOUR
    assert found.metrics_from == ("a.csv", "b.csv")
    assert (found.grace_ns, found.require_copies, found.on_conflict) == (24 * HOUR, 2, "both")
    assert found.keep == policy(config, "llm-7b", "/x/llm-7b").keep


def test_flags_alone_are_a_policy_where_nothing_matches(config: Config) -> None:
    found = policy(config, "a/b", "/x/a/b", keep={"steps": ["1", "2"]}, settle="1m")
    assert [rule.name for rule in found.keep] == ["steps"]
    assert found.settle_ns == 60 * NS
    assert policy_for(config, "a/b", "/x/a/b", PolicyFlags(settle="1m").draft()) is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"keep": {"last": "three"}}, "--keep-last: must be a whole number of at least 1, not 'three'"),
        ({"keep": {"last": "0"}}, "--keep-last: must be a whole number of at least 1, not '0'"),
        ({"keep": {"last": ""}}, "--keep-last: must be a whole number of at least 1, not ''"),
        ({"keep": {"steps": ["1", "x"]}}, "--keep-step: must be a whole number of at least 0, not 'x'"),
        ({"keep": {"best": "2"}, "metrics": ["elo"]}, ("--keep-best: cannot tell whether less or more elo is better: "
         "give the mode, as in elo:min or elo:max")),
        ({"metrics": [":min"]}, "--metric: must be NAME, NAME:min or NAME:max, not ':min'"),
        ({"mode": "low"}, "--mode: must be min or max, not 'low'"),
        ({"settle": "900"}, "--settle: '900' is no duration: write 90s, 15m, 6h, 7d or 2w"),
        ({"max_delete": "110%"}, "--max-delete: must be a whole number, or a percentage from 0% to 100%, not '110%'"),
        ({"max_delete": "-1"}, "--max-delete: must be a whole number, or a percentage from 0% to 100%, not '-1'"),
        ({"max_delete_bytes": "lots"}, "--max-delete-bytes: 'lots' is no size: write 500GB, 1.5TiB or plain bytes"),
    ],
)  # fmt: skip
def test_a_wrong_flag_is_named(flags: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        PolicyFlags(**flags).draft()  # type: ignore[arg-type]  # the fields of PolicyFlags
    assert caught.value.message == message


def test_every_wrong_flag_is_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        PolicyFlags(keep={"last": "x", "every": "0"}, grace="1").draft()
    assert [line.split(":")[0] for line in caught.value.message.split("\n")] == [
        "--keep-last",
        "--keep-every",
        "--grace",
    ]


def test_best_without_any_metric_is_told() -> None:
    with pytest.raises(UsageError, match="--keep-best: needs a metric: --metric NAME"):
        policy(None, "x", "/x", keep={"best": "2"})


def test_a_mode_without_any_metric_is_told(config: Config) -> None:
    with pytest.raises(UsageError, match="--mode: says nothing without a metric"):
        policy(config, "vision", "/x/vision", mode="min")


# --policy FILE[#NAME]


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "keep.yaml"
    path.write_text("version: 1\n" + text)
    return str(path)


def test_the_only_policy_of_a_file_holds_for_every_run(tmp_path: Path) -> None:
    config = load_policy(write(tmp_path, "policies: {mine: {keep: [{last: 5}]}}\n"))
    assert policy(config, "a/b/c", "/x/a/b/c").keep == (rule("last", 5),)


def test_of_several_the_default_one_does(tmp_path: Path) -> None:
    text = "policies: {mine: {keep: [{last: 5}]}, default: {keep: [{last: 6}]}}\n"
    assert policy(load_policy(write(tmp_path, text)), "x", "/x").keep == (rule("last", 6),)


def test_or_the_one_that_is_named(tmp_path: Path) -> None:
    text = (
        "runs: [{match: x, policy: default}]\n"
        "policies: {mine: {keep: [{last: 5}]}, default: {keep: [{last: 6}]}}\n"
    )
    file = write(tmp_path, text)
    assert policy(load_policy(f"{file}#mine"), "x", "/x").keep == (rule("last", 5),)
    with pytest.raises(UsageError, match=r'--policy: .* has no policy mein; did you mean "mine"\?'):
        load_policy(f"{file}#mein")


def test_its_runs_decide_where_it_has_some(tmp_path: Path) -> None:
    text = "runs: [{match: x, policy: mine}]\npolicies: {mine: {keep: [{last: 5}]}}\n"
    config = load_policy(write(tmp_path, text))
    assert policy(config, "x", "/x").keep == (rule("last", 5),)
    assert policy_for(config, "other", "/other") is None


def test_else_their_names_are_listed(tmp_path: Path) -> None:
    file = write(tmp_path, "policies: {a: {keep: [{last: 5}]}, b: {keep: [{last: 6}]}}\n")
    with pytest.raises(UsageError, match=r"several policies.*: a, b") as caught:
        load_policy(file)
    assert caught.value.hint == f"name one: --policy {file}#a"
    with pytest.raises(UsageError, match="has no policies"):
        load_policy(write(tmp_path, ""))


def test_a_hash_in_a_file_name_is_no_name_of_a_policy(tmp_path: Path) -> None:
    file = tmp_path / "run#1.yaml"
    file.write_text("version: 1\npolicies: {a: {keep: [{last: 5}]}}\n")
    assert load_policy(str(file)).fallback == "a"


def test_a_configuration_without_runs_matches_none(tmp_path: Path) -> None:
    config = load(write(tmp_path, "policies: {default: {keep: [{last: 5}]}}\n"))
    assert policy_for(config, "x", "/x") is None


@pytest.mark.parametrize("place", ["gone.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be read: (No such file|Is a directory)"):
        load(str(tmp_path / place))
