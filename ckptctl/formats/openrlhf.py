"""OpenRLHF: DeepSpeed tags with a metric; of PPO the same tag for the actor and for the critic."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, NamedTuple

from ckptctl.formats._base import FORMATS, Format, Pointer
from ckptctl.formats._deepspeed_grid import is_state, key_of, read_grid, without_precision
from ckptctl.formats._json_files import read_json, unread
from ckptctl.formats._neighbours import Saved, lacking, lost_parts, lost_ranks, unlike
from ckptctl.formats._openrlhf_tags import METRIC, TAG, tags_in, tags_of
from ckptctl.formats._samples import torch_zip
from ckptctl.formats._trackers import not_updated, read_tracker
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind, Metadata, Unit
from ckptctl.reading import SIDECAR_LIMIT, Below, Reader
from ckptctl.sidecar import as_number

_LATEST = "latest"
_ROOTS = ("_actor", "_critic")


class _Place(NamedTuple):
    """One directory in which tags lie: the run itself, or that of the actor or the critic."""

    path: str  # relative to the run, "" for itself
    folder: Folder
    tags: Mapping[str, Folder]
    latest: str | None


@FORMATS.add("openrlhf")
class OpenRlhf(Format):
    """`global_stepN/` and `best_global_stepN/`, directly, or in `_actor/` and `_critic/`.

    A PPO checkpoint is the same tag in both: two roots of one checkpoint.  `metric.json` comes after
    DeepSpeed's own files and `latest`.  The best is replaced by the trainer itself, and a save of it
    updates `latest` too.
    """

    name = "openrlhf"
    summary = (
        "OpenRLHF: global_stepN/ and best_global_stepN/ with metric.json, or in _actor/, _critic/"
    )
    source = (
        "OpenRLHF: openrlhf/utils/deepspeed/deepspeed.py save_ckpt; openrlhf/trainer/ppo_trainer.py, "
        "trainer/ray/ppo_actor.py, trainer/ray/ppo_critic.py save_checkpoint"
    )
    roots = _ROOTS
    example: ClassVar[Mapping[str, bytes]] = {
        "latest": b"global_step100",
        "global_step100/metric.json": b'{"metric_key": "eval_acc", "metric_value": 0.5}',
        "global_step100/mp_rank_00_model_states.pt": torch_zip(),
        "global_step100/zero_pp_rank_0_mp_rank_00_optim_states.pt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield the tags.  Raises OSError where one, or a `latest`, cannot be read."""
        failed: list[OSError] = []
        direct = tags_of(folder)
        groups = [[("", folder, direct)]] if direct else []
        groups.append([(p, f, tags_in(f)) for p in _ROOTS if (f := folder.folders.get(p))])
        for group in groups:
            if any(tags for _, _, tags in group):
                places = []
                for path, inside, tags in group:
                    latest, error = _latest(path, inside, reader)
                    places.append(_Place(path, inside, tags, latest))
                    failed += [error] if error else []
                yield from _claims(places, apart=bool(direct))
                failed += [_closed(path, inside) for path, inside, _ in group if _shut(inside)]
        if failed:
            raise failed[0]

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return the metric; of the two roots, which have the same, the first counts that has it."""
        for member in claim.members:
            path = f"{member}/{METRIC}"
            if (entry := folder.find(path)) is None:
                continue
            said = read_json(reader, path, entry.size, SIDECAR_LIMIT)
            if isinstance(said, str):
                return unread(f"{path} {said}")
            key, value = said.get("metric_key"), as_number(said.get("metric_value"))
            if isinstance(key, str) and key and value is not None:
                return Metadata(metrics={key: value})
        return Metadata()

    def pointers(self, folder: Folder, reader: Reader) -> Iterable[Pointer]:
        """Yield what each `latest` names."""
        places = [(path, inside) for path in _ROOTS if (inside := folder.folders.get(path))]
        if tags_of(folder):
            places.append(("", folder))
        for path, inside in places:
            if target := read_tracker(_LATEST, inside, Below(reader, path)):
                yield Pointer(f"{path}/{_LATEST}" if path else _LATEST, target)


def _latest(path: str, inside: Folder, reader: Reader) -> tuple[str | None, OSError | None]:
    try:
        return read_tracker(_LATEST, inside, Below(reader, path)), None
    except OSError as error:
        return None, error


def _shut(inside: Folder) -> str | None:
    """Return what cannot be read of a place: itself, or what has the name of a tag."""
    if inside.error is not None:
        return "."
    return next((n for n, tag in inside.folders.items() if tag.error and TAG.fullmatch(n)), None)


def _closed(path: str, inside: Folder) -> OSError:
    name = _shut(inside) or "."
    said = inside.error if name == "." else inside.folders[name].error
    return OSError(errno.EACCES, said, f"{path}/{name}".strip("/."))


def _claims(places: list[_Place], *, apart: bool) -> Iterator[Claim]:
    """Yield the claim of each tag that is in any of the places."""
    tags = dict.fromkeys(name for place in places for name in place.tags)
    lost = _lost(places, list(tags))
    for name in tags:
        doubt = lost.get(name)
        for place in places:
            doubt = doubt or _late(name, place)
        yield _claim(name, [p for p in places if name in p.tags], doubt, apart=apart)


def _lost(places: list[_Place], tags: list[str]) -> dict[str, str]:
    """Return what tags lack: ranks, and a critic, that any has; a metric that those around have."""
    ranks, metrics = [], []
    found: dict[str, str] = {}
    for name in tags:
        files = {
            (place.path, without_precision(file))
            for place in places
            for file in place.tags.get(name, Folder("")).files
        }
        paths = {f"{path}/{file}".lstrip("/") for path, file in files if is_state(file)}
        ranks.append(Saved(_number(name), name, frozenset(paths)))
        told = {f"{path}/{METRIC}".lstrip("/") for path, file in files if file == METRIC}
        metrics.append(Saved(_number(name), name, frozenset(told)))
    found |= {
        n: unlike(f"no {p}, which the tags around it have") for n, p in lost_parts(metrics).items()
    }
    found |= {n: lacking(part) for n, part in lost_ranks(ranks, places[0].latest).items()}
    roots = [place.path for place in places if place.path and place.tags]
    for name in tags:
        for place in places:
            if place.path in roots and name not in place.tags:
                found[name] = f"no {place.path}/{name}/, the other half of it"
    return found


def _number(name: str) -> int:
    found = TAG.fullmatch(name)
    return int(found[2]) if found else 0


def _late(name: str, place: _Place) -> str | None:
    """Return why a tag above the one that `latest` names is no whole save: it was saved after it."""
    named = TAG.fullmatch(place.latest or "")
    tag = place.tags.get(name)
    if tag is None or named is None or _number(name) <= int(named[2]):
        return None
    states = [entry for file, entry in tag.files.items() if is_state(file)]
    where = f"{place.path}/{_LATEST}".lstrip("/")
    return not_updated(where, place.folder.files[_LATEST], place.latest, states)


def _claim(name: str, places: list[_Place], doubt: str | None, *, apart: bool) -> Claim:
    members = tuple(f"{place.path}/{name}".lstrip("/") for place in places)
    best = name.startswith("best_")
    first = places[0]
    worlds = [read_grid(place.tags[name].files).world for place in places]
    return Claim(
        format=OpenRlhf.name,
        kind=Kind.DIRECTORY,
        name=members[0] if apart else name,
        members=members,
        key_file=f"{members[0]}/{key_of(first.tags[name].files)}",
        family="best_global_step#" if best else "global_step#",
        step=None if best else _number(name),
        counts=None if best else Unit.STEP,
        named=best,
        missing=_missing(name, places) or doubt,
        resumable=True if all(worlds) else None,
    )


def _missing(name: str, places: list[_Place]) -> str | None:
    for place in places:
        files = place.tags[name].files
        where = f"{place.path}/{name}/: " if place.path else ""
        if hole := read_grid(files).missing:
            return f"{where}no {hole}"
        empty = next(
            (f for f, e in files.items() if not e.size and (f == METRIC or is_state(f))), None
        )
        if empty:
            return f"{where}{empty} is empty"
    return None
