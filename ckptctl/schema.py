"""What may stand in a configuration, as one JSON Schema (draft 2020-12): the table of all keys.

The decoder checks files against it, editors can too (`ckptctl config schema`), and the keys of
`keep` are those of the registered rules.  What no schema can say, a name that must exist, an order
of tiers, is checked in `config.py`.
"""

from __future__ import annotations

import json

from ckptctl.expiry import PurgeBy
from ckptctl.rules._base import RULES
from ckptctl.shape import Schema

CONFLICTS = ("stop", "replace", "both")
"""What to do about a different checkpoint of the same name at the destination of a copy."""
DURATION_PATTERN = r"^\s*([0-9]{1,18}(\.[0-9]{1,9})?\s*[smhdw]|0)\s*$"
SIZE_PATTERN = r"^\s*[0-9]{1,18}(\.[0-9]{1,9})?\s*([KMGTPkmgtp]([iI]?[bB])?|[bB])?\s*$"
PERCENT_PATTERN = r"^\s*(100(\.0+)?|[0-9]{1,2}(\.[0-9]{1,9})?)\s*%\s*$"
TIER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

_DURATION: Schema = {
    "title": "a duration such as 90s, 15m, 6h, 7d or 2w",
    "anyOf": [{"const": 0}, {"type": "string", "pattern": DURATION_PATTERN}],
}
_SIZE: Schema = {
    "title": "a size such as 500GB, 1.5TiB or plain bytes",
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": SIZE_PATTERN}],
}
_COUNT_OR_PERCENT: Schema = {
    "title": "a whole number of at least 0, or a percentage such as 10%",
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": PERCENT_PATTERN}],
}
_NAME: Schema = {"type": "string", "minLength": 1, "title": "a name"}
_METRIC: Schema = {
    "title": "the name of a metric, NAME:min, NAME:max or {name: NAME, mode: min}",
    "anyOf": [
        _NAME,
        {
            "type": "object",
            "properties": {"name": _NAME, "mode": {"enum": ["min", "max"]}},
            "required": ["name"],
            "additionalProperties": False,
        },
    ],
}
_TIER: Schema = {
    "title": "a tier such as {url: /scratch/ckpt}",
    "type": "object",
    "properties": {
        "url": {
            "type": "string", "minLength": 1, "title": "a path or URL",
            "description": "where it is: a URL, a path, or a path relative to this file's directory",
        },
        "storage_options": {
            "type": "object", "title": "a mapping of option to value", "writeOnly": True,
            "additionalProperties": {
                "title": "a text, a number, true or false", "writeOnly": True,
                "anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}],
            },
            "description": "passed to the store under fsspec's names; credentials are better kept in the environment",
        },
        "per_node": {
            "type": "boolean", "default": False,
            "description": "each node holds only its part of a checkpoint there",
        },
        "purge_after": {
            **_DURATION,
            "description": "the age at which its site purges files there: apply copies first what is about to go",
        },
        "purge_by": {
            "enum": [by.value for by in PurgeBy], "default": "any",
            "description": "the time of a file that counts for that: last read, last written or made; any: the first",
        },
        "purge_warn": {
            **_DURATION,
            "description": "how long before that a checkpoint is at risk; default a week, at most a third of purge_after",
        },
    },
    "required": ["url"],
    "additionalProperties": False,
}  # fmt: skip
_RUN: Schema = {
    "title": 'a mapping such as {match: "llm-*", policy: default}',
    "type": "object",
    "properties": {
        "match": {
            "type": "string", "minLength": 1, "title": "a pattern for names of runs",
            "description": "glob for the run's path below a tier's url, else its name: * and ? stop at /, ** does not",
        },
        "policy": {**_NAME, "title": "the name of a policy", "description": "a key of policies"},
    },
    "required": ["match", "policy"],
    "additionalProperties": False,
}  # fmt: skip
_FORMAT: Schema = {
    "title": "a layout with name, match and kind",
    "type": "object",
    "properties": {
        "name": {**_NAME, "description": "shown as the format of its checkpoints"},
        "match": {
            "type": "string", "format": "regex", "pattern": r"\(\?P<(step|epoch)>",
            "title": "a regular expression with a group (?P<step>...) or (?P<epoch>...)",
            "description": "regular expression for the whole name; groups: step, epoch, anything else is a metric",
        },
        "kind": {"enum": ["file", "directory"], "description": "what such a checkpoint is"},
    },
    "required": ["name", "match", "kind"],
    "additionalProperties": False,
}  # fmt: skip


def schema() -> Schema:
    """Return the JSON Schema of the whole file."""
    policy = _policy_keys()
    tiers: Schema = {
        "type": "object", "title": "a mapping of tier to the keys that differ there",
        "propertyNames": {"pattern": TIER_PATTERN, "title": "a tier's name"},
        "additionalProperties": {"$ref": "#/$defs/override"},
        "description": "a key here replaces the policy's, on that tier",
    }  # fmt: skip
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "a mapping, as `ckptctl config example` prints it",
        "description": "Configuration of ckptctl: tiers, runs, formats and policies",
        "type": "object",
        "properties": {
            "version": {"const": 1, "description": "of this file's form"},
            "tiers": {
                "type": "object", "title": "a mapping of name to {url: ...}",
                "propertyNames": {
                    "pattern": TIER_PATTERN,
                    "title": "a name of letters, digits, dots, underscores and dashes",
                },
                "additionalProperties": _TIER,
                "description": "named locations in their order, fast and small first",
            },
            "runs": {
                "type": "array", "items": _RUN, "title": "a list of {match: ..., policy: ...}",
                "description": "which policy a run gets; the first match wins, a run that nothing matches is left alone",
            },
            "formats": {
                "type": "array", "items": _FORMAT, "title": "a list of layouts",
                "description": "layouts of your own",
            },
            "policies": {
                "type": "object", "title": "a mapping of name to policy",
                "propertyNames": {"minLength": 1, "title": "a name"},
                "additionalProperties": {"$ref": "#/$defs/policy"},
                "description": "what to keep, by name",
            },
        },
        "required": ["version"],
        "additionalProperties": False,
        "$defs": {
            "rule": {
                "title": "a rule such as {last: 3}",
                "type": "object",
                "properties": {
                    spec.key: {**spec.schema, "description": spec.help} for spec in RULES
                },
                "minProperties": 1,
                "additionalProperties": False,
            },
            "policy": {
                "title": "a policy such as {keep: [{last: 3}]}",
                "type": "object",
                "properties": {**policy, "tiers": tiers},
                "additionalProperties": False,
            },
            "override": {
                "title": "a mapping of keys that differ on this tier",
                "type": "object",
                "properties": {**policy, **_tier_keys()},
                "additionalProperties": False,
            },
        },
    }  # fmt: skip


def schema_text() -> str:
    """Return what `ckptctl config schema` prints."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _rules(description: str) -> Schema:
    return {
        "type": "array", "minItems": 1, "items": {"$ref": "#/$defs/rule"},
        "title": "a list of rules such as [{last: 3}]", "description": description,
    }  # fmt: skip


def _policy_keys() -> dict[str, Schema]:
    """Return the keys of a policy, which a tier may replace."""
    return {
        "metric": {**_METRIC, "description": "what best ranks by where it names nothing else"},
        "keep": _rules("one reason is enough to be kept; each key of an item is a rule of its own"),
        "metrics_from": {
            "type": "array", "items": {**_NAME, "title": "a file name"},
            "title": "a list of file names",
            "description": "logs (CSV or JSON lines), relative to the run, that know metrics",
        },
        "settle": {
            **_DURATION, "default": "15m",
            "description": "what is not complete and changed within it is still being saved",
        },
        "await_metric": {
            **_DURATION, "default": "6h",
            "description": "how long a checkpoint newer than the last measured one waits for its metric; 0 is off",
        },
        "incomplete": {
            "type": "object", "title": "a mapping such as {delete_after: 24h}",
            "properties": {
                "delete_after": {
                    **_DURATION,
                    "description": "delete what is incomplete and has not changed for so long; without it, nothing",
                }
            },
            "required": ["delete_after"],
            "additionalProperties": False,
            "description": "what to do with unfinished saves",
        },
        "limits": {
            "type": "object", "title": "a mapping with max_delete, max_delete_bytes",
            "properties": {
                "max_delete": {
                    **_COUNT_OR_PERCENT,
                    "description": "checkpoints, or the share of the run's complete ones",
                },
                "max_delete_bytes": {**_SIZE, "description": "their size"},
            },
            "additionalProperties": False,
            "description": "the most that one call deletes of one run; over it, nothing of the run is deleted",
        },
        "on_conflict": {
            "enum": list(CONFLICTS), "default": "stop",
            "description": "when a copy finds another checkpoint of the same name: stop, replace it, or keep both",
        },
        "grace": {**_DURATION, "description": "how long a deleted checkpoint can be brought back"},
        "require_copies": {
            "type": "integer", "minimum": 0,
            "description": "proven copies on other tiers that a deletion needs; default 1 with copy_to, else 0",
        },
    }  # fmt: skip


def _tier_keys() -> dict[str, Schema]:
    """Return the keys that only a tier's part of a policy has."""
    return {
        "copy_to": {
            "type": "string", "minLength": 1, "title": "the name of a later tier",
            "description": "the later tier that checkpoints are copied to",
        },
        "copy": _rules("which checkpoints copy_to copies; without it all complete ones"),
    }  # fmt: skip
