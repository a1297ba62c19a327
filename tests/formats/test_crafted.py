"""Files crafted to hurt: each ends in a problem that a user sees, soon, and in little memory."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ckptctl.formats._base import Format
from ckptctl.formats._samples import dcp_metadata, safetensors, torch_zip
from ckptctl.formats.hf_trainer import HfTrainer
from ckptctl.formats.levanter import Levanter
from ckptctl.formats.llama_factory import LlamaFactory
from ckptctl.formats.orbax import Orbax
from ckptctl.formats.torch_dcp import TorchDcp
from tests.claims import Tree
from tests.program import Ckptctl
from tests.trees import make_tree

pytestmark = pytest.mark.sampled

MEMORY = 256 * 2**20
DAY = 86_400

DEEP = b"[" * 100_000
DEEP_OBJECT = b'{"a":' * 100_000
ARRAYS = b'{"step": 1, "a": [[]' + b",[]" * 5_500_000 + b"]}"
FACES = b'{"step": 1, "a": "' + b"\xf0\x9f\x98\x80" + b"x" * 16_000_000 + b'"}'


def header(text: bytes, rest: int = 0) -> bytes:
    return struct.pack("<Q", len(text)) + text + bytes(rest)


def bomb() -> bytes:
    """Four gigabytes of zeros in four megabytes: what is in the archive is never unpacked."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a", "w") as file,
    ):
        for _ in range(200):
            file.write(bytes(1_000_000))
    content = bytearray(buffer.getvalue())
    at = content.index(b"PK\1\2") + 42
    content[at : at + 4] = b"\xf0\xff\xff\x7f"  # and its place is past the end
    return bytes(content)


def outside(offset: int) -> bytes:
    content = bytearray(torch_zip())
    content[-6:-2] = struct.pack("<L", offset)
    return bytes(content)


def shared_records(count: int) -> bytes:
    """A directory of many records that all name the same bytes."""
    name = b"archive/data/0"
    entry = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 500, 500, len(name), 0, 0, 0, 0, 0, 0
    )
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 500, 500, len(name), 0)
    body = local + name + bytes(500)
    directory = (entry + name) * count
    end64 = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), len(body)
    )
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(body) + len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return body + directory + end64 + locator + end


def zip64_places(value: int) -> bytes:
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, value, value, value, value)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 4, 1)
    return (
        b"PK\3\4"
        + end64
        + locator
        + struct.pack("<4s4H2LH", b"PK\5\6", *[0xFFFF] * 4, *[2**32 - 1] * 2, 0)
    )


TORN: dict[str, tuple[str, Callable[[], bytes]]] = {
    "safetensors-2^63": ("step_1.safetensors", lambda: struct.pack("<Q", 2**63) + b"{}"),
    "safetensors-100MB": ("step_1.safetensors", lambda: header(bytes(100_000_000))),
    "safetensors-deep": ("step_1.safetensors", lambda: header(b'{"a":' + DEEP)),
    "safetensors-deep-object": ("step_1.safetensors", lambda: header(DEEP_OBJECT)),
    "safetensors-arrays": (
        "step_1.safetensors",
        lambda: header(b'{"a":[[]' + b",[]" * 5_500_000 + b"]}"),
    ),
    "safetensors-metadata": (
        "step_1.safetensors",
        lambda: header(b'{"__metadata__":{"a":"b"' + b',"":""' * 500_000 + b'},"a":1}'),
    ),
    "safetensors-empty-tensors": (
        "step_1.safetensors",
        lambda: header(
            b'{"":{"data_offsets":[0,0]}' + b',"":{"data_offsets":[0,0]}' * 200_000 + b"}", 4
        ),
    ),
    "safetensors-hole": ("step_1.safetensors", lambda: header(b'{"a":{"data_offsets":[4,8]}}', 8)),
    "safetensors-overlap": (
        "step_1.safetensors",
        lambda: header(b'{"a":{"data_offsets":[0,8]},"b":{"data_offsets":[4,8]}}', 8),
    ),
    "safetensors-twice": (
        "step_1.safetensors",
        lambda: header(b'{"a":{"data_offsets":[0,4]},"a":{"data_offsets":[0,4]}}', 4),
    ),
    "safetensors-negative": (
        "step_1.safetensors",
        lambda: header(b'{"a":{"data_offsets":[-4,0]}}'),
    ),
    "safetensors-huge": (
        "step_1.safetensors",
        lambda: header(b'{"a":{"data_offsets":[0,' + b"9" * 4000 + b"]}}", 4),
    ),
    "safetensors-shape": (
        "step_1.safetensors",
        lambda: header(
            b'{"a":{"dtype":"F32","shape":['
            + b"9" * 4000
            + b",1" * 20_000
            + b'],"data_offsets":[0,4]}}',
            4,
        ),
    ),
    "zip-directory-outside": ("step_1.pt", lambda: outside(2**31)),
    "zip-directory-at-the-end": ("step_1.pt", lambda: outside(0xFFFFFFFE)),
    "zip64-outside": ("step_1.pt", lambda: zip64_places(2**64 - 1)),
    "zip64-in-itself": ("step_1.pt", lambda: zip64_places(3)),
    "zip-bomb": ("step_1.pt", bomb),
    "zip-shared-records": ("step_1.pt", lambda: shared_records(300_000)),
    "hdf5-garbage": ("step_1/model.h5", lambda: b"\x89HDF\r\n\x1a\n" + b"\xa5" * 4000),
    "hdf5-end-of-2^62": (
        "step_1/model.h5",
        lambda: (
            b"\x89HDF\r\n\x1a\n"
            + bytes([0, 0, 0, 0, 0, 8, 8])
            + bytes(17)
            + struct.pack("<Q", 2**62) * 9
        ),
    ),
    "msgpack-counts": ("step_1/model.msgpack", lambda: b"\xdf\xff\xff\xff\xff" * 1_000_000),
    "gguf-counts": ("step_1/model.gguf", lambda: b"GGUF" + struct.pack("<LQQ", 3, 2**63, 2**63)),
    "gguf-dimensions": (
        "step_1/model.gguf",
        lambda: (
            b"GGUF"
            + struct.pack("<LQQ", 3, 1, 0)
            + struct.pack("<QL8QLQ", 0, 8, *[2**64 - 1] * 8, 0, 2**64 - 1)
        ),
    ),
    "tar-size": ("step_1.tar", lambda: tar_of(b"\x80" + b"\x7f" * 11)),
    "tar-negative": ("step_1.tar", lambda: tar_of(b"-0000000001\0")),
}


def tar_of(size: bytes) -> bytes:
    block = bytearray(512)
    block[124:136], block[257:262] = size, b"ustar"
    block[148:156] = b"%06o\0 " % (sum(block) + 256)
    return bytes(block) + bytes(10_240)


Look = Callable[[Path], tuple[list[str], list[str]]]


@pytest.fixture
def look(ckptctl: Ckptctl, tmp_path: Path) -> Look:
    """What `list` and a dry run of `prune` say of a run, whose checkpoints are all old."""

    def called(run: Path) -> tuple[list[str], list[str]]:
        said: list[str] = []
        states: list[str] = []
        for command in (("list",), ("prune", "-n", "--keep-last", "9")):
            done = ckptctl(
                *(tmp_path / "peak", *command, run, "--json", "--settle", "0s"),
                module=("tests.measured",),
            )
            assert done.code == 0, done.stderr
            assert "Traceback" not in done.stderr
            assert int((tmp_path / "peak").read_text()) < MEMORY
            (found,) = done.json["runs"]
            checkpoints = found.get("checkpoints") or [d["checkpoint"] for d in found["decisions"]]
            said += [problem["text"] for one in checkpoints for problem in one["problems"]]
            states += [one["state"] for one in checkpoints]
        assert all(len(text) < 1000 for text in said)
        return states, said

    return called


@pytest.mark.parametrize("name", TORN)
def test_a_file_that_is_torn_whatever_it_says(look: Look, tmp_path: Path, name: str) -> None:
    file, content = TORN[name]
    run = make_tree(tmp_path / "run", {file: content()}, age=DAY)
    states, said = look(run)
    assert states == ["complete" if "/" in file else "incomplete", "incomplete"]
    assert all(text.startswith(file) for text in said)


def test_a_safetensors_header_of_100_mb_is_left_alone(look: Look, tmp_path: Path) -> None:
    text = b'{"a":{"data_offsets":[0,4]}'.ljust(99_999_999) + b"}"
    run = make_tree(tmp_path / "run", {"step_1.safetensors": header(text, 4)}, age=DAY)
    assert look(run) == (["complete"] * 2, [])


def test_an_honest_bomb_is_never_unpacked(look: Look, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a", "w") as file,
    ):
        for _ in range(500):
            file.write(bytes(1_000_000))
    run = make_tree(tmp_path / "run", {"step_1.pt": buffer.getvalue()}, age=DAY)
    assert look(run) == (["complete"] * 2, [])


HF = dict(HfTrainer.example)
INDEX = "checkpoint-500/model.safetensors.index.json"


def index(weights: bytes) -> Tree:
    tree: dict[str, bytes | str] = {
        **HF,
        INDEX: b'{"metadata": {}, "weight_map": ' + weights + b"}",
    }
    del tree["checkpoint-500/model.safetensors"]
    tree["checkpoint-500/model-00001-of-00001.safetensors"] = safetensors()
    return tree


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        (lambda: b'{"a": "../../etc/passwd"}', "names '../../etc/passwd'"),
        (lambda: b'{"a": "/etc/passwd"}', "names '/etc/passwd'"),
        (lambda: b'{"a": "..\\u002f..\\u002fx"}', "names '../../x'"),
        (lambda: b'{"a": "' + b"x" * 10_000_000 + b'"}', "that is no file"),
        (lambda: b'{"a": {"b": "c"}}', "that is no file"),
        (lambda: b'["model-00001-of-00001.safetensors"]', "that is no file"),
        (lambda: b"{}", "no weight_map"),
        (lambda: b'{"a": ' + DEEP, "too deeply"),
        (lambda: b'{"a": ' + DEEP + b" " * 2_000_000, "too deeply"),
        (lambda: ARRAYS, "cannot be understood"),
        (
            lambda: json.dumps(
                {f"t{n}": f"m-{n:07d}-of-1000000.safetensors" for n in range(10**6)}
            ).encode(),
            "more than 100,000 files",
        ),
        (
            lambda: json.dumps(
                {f"t{n}": f"m-{n:05d}-of-50000.safetensors" for n in range(50_000)}
            ).encode(),
            "49,899 more",
        ),
    ],
)
def test_an_index_that_lies(
    look: Look, tmp_path: Path, weights: Callable[[], bytes], wanted: str
) -> None:
    run = make_tree(tmp_path / "run", index(weights()), age=DAY)
    states, said = look(run)
    assert states[1] == "incomplete"
    assert len(said) <= 101
    assert any(wanted in text for text in said), said[:3]


@pytest.mark.parametrize(
    "content",
    [
        lambda: DEEP,
        lambda: DEEP_OBJECT,
        lambda: DEEP_OBJECT + b" " * 2_000_000,
        lambda: ARRAYS,
        lambda: b'{"global_step": ' + b"9" * 5000 + b"}",
        lambda: b'{"global_step": 1e999}',
        lambda: b'{"log_history": [' + DEEP,
        lambda: b'{"log_history": [' + b'{"step": 500, "a": "' + b"x" * 20_000_000 + b'"}]}',
        lambda: b'{"log_history": [' + b'{"step":500},' * 300_000 + b"{}]}",
        lambda: b"\xff" * 3_000_000,
    ],
)
def test_a_state_of_the_trainer_that_is_none(
    look: Look, tmp_path: Path, content: Callable[[], bytes]
) -> None:
    run = make_tree(
        tmp_path / "run", {**HF, "checkpoint-500/trainer_state.json": content()}, age=DAY
    )
    states, said = look(run)
    assert states == ["incomplete"] * 2
    assert said


@pytest.mark.parametrize(
    "content",
    [
        lambda: DEEP,
        lambda: DEEP_OBJECT,
        lambda: ARRAYS,
        lambda: FACES[:10_000_000],
        lambda: b'{"step": ' + b"9" * 5000 + b"}",
        lambda: b'{"step": ' + b"9" * 4000 + b', "epoch": ' + b"9" * 4000 + b"}",
        lambda: b'{"saved_at": 1e308, "metrics": {"a": []}, "tags": {}}',
        lambda: b'{"a": ' + b"1" * 17_000_000 + b"}",
    ],
)
def test_a_sidecar_that_hurts(look: Look, tmp_path: Path, content: Callable[[], bytes]) -> None:
    run = make_tree(tmp_path / "run", {"step_1.pt": torch_zip(), "step_1.json": content()}, age=DAY)
    _, said = look(run)
    assert said


@pytest.mark.parametrize(
    "content",
    [
        lambda: FACES,
        lambda: b'{"step": 1' + b', "metrics": {"a": 1}' * 400_000 + b"}",
        lambda: b'{"a": [' + b"1," * 400_000 + b"1]}",
        lambda: b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}",
    ],
)
def test_a_sidecar_that_is_large_and_sound(
    look: Look, tmp_path: Path, content: Callable[[], bytes]
) -> None:
    run = make_tree(tmp_path / "run", {"step_1.pt": torch_zip(), "step_1.json": content()}, age=DAY)
    assert look(run)[0] == ["complete"] * 2


METRICS = "1000/metrics/metrics"


@pytest.mark.parametrize(
    ("file", "content", "wanted"),
    [
        (METRICS, lambda: b'{"a":' * 900 + b"1" + b"}" * 900, None),
        (METRICS, lambda: b'{"a": ' + b"9" * 400 + b"}", None),
        (METRICS, lambda: DEEP_OBJECT, "cannot be understood"),
        (METRICS, lambda: ARRAYS, "cannot be understood"),
        ("1000/_CHECKPOINT_METADATA", lambda: DEEP_OBJECT, "cannot be understood"),
        (
            "1000/_CHECKPOINT_METADATA",
            lambda: b'{"commit_timestamp_nsecs": ' + b"9" * 4000 + b"}",
            "ahead of the clock",
        ),
        ("1000/default/_METADATA", lambda: DEEP, "cannot be understood"),
        ("1000/default/_METADATA", lambda: DEEP + b" " * 2_000_000, "cannot be understood"),
        (
            "1000/default/manifest.ocdbt",
            lambda: b"\x0c\xdb\x3a\x2a" + b"\xff" * 8,
            "has 12 bytes, but should have",
        ),
    ],
)
def test_what_orbax_would_not_write(
    look: Look, tmp_path: Path, file: str, content: Callable[[], bytes], wanted: str | None
) -> None:
    _, said = look(make_tree(tmp_path / "run", {**Orbax.example, file: content()}, age=DAY))
    assert any(wanted in text for text in said) if wanted else not said


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (
            lambda: b"\x80\2" + b"N0" * 5_000_000 + dcp_metadata({"__5_0.distcp": 9})[2:],
            "is named by",
        ),
        (lambda: b"\x80\2" + b"K\1" * 10_000_000 + b".", None),
        (lambda: b"\x80\2" + b"\x8c\1a\x94" * 2_000_000 + b".", None),
        (lambda: b"\x80\2" + b"]" * 10_000_000, "is cut off or damaged"),
        (lambda: b"\x80\2" + b"X\xff\xff\xff\xff", "is cut off or damaged"),
        (lambda: b"\x80\2" + b"\x8d" + b"\xff" * 8, "is cut off or damaged"),
        (lambda: dcp_metadata({"../../etc/passwd": 9}), "which is no file beside it"),
        (lambda: dcp_metadata({f"__{rank}_0.distcp": 9 for rank in range(100_000)}), "99,898 more"),
    ],
)
def test_an_index_of_dcp_that_hurts(
    look: Look, tmp_path: Path, content: Callable[[], bytes], wanted: str | None
) -> None:
    run = make_tree(
        tmp_path / "run", {**TorchDcp.example, "step-1000/.metadata": content()}, age=DAY
    )
    _, said = look(run)
    assert (wanted is None and not said) or any(wanted in text for text in said if wanted), said[:3]


HUGE = b"1" + b"0" * 400
ARRAY = b'{"chunks": [1%b, 1%b], "compressor": null, "dtype": "<f4"}' % (b"0" * 4000, b"0" * 4000)


@pytest.mark.parametrize(
    ("kind", "file", "content", "wanted"),
    [
        (HfTrainer, "trainer_state.json", b'{"global_step": %b}' % HUGE, "states no global_step"),
        (
            LlamaFactory,
            "metadata.json",
            b'{"global_step": 500, "epoch": %b, "num_training_steps": 1}' % HUGE,
            None,
        ),
        (Levanter, "model/weight/.zarray", ARRAY, "larger than any file"),
    ],
)
def test_a_number_beyond_all_others(
    look: Look,
    tmp_path: Path,
    kind: type[Format],
    file: str,
    content: bytes,
    wanted: str | None,
) -> None:
    top = next(iter(kind.example)).split("/")[0]
    run = make_tree(tmp_path / "run", {**kind.example, f"{top}/{file}": content}, age=DAY)
    states, said = look(run)
    assert len(states) == 2
    assert (wanted is None and not said) or any(wanted in text for text in said if wanted), said


@pytest.mark.parametrize(
    "content",
    [
        b"policies: !!python/object/apply:os.system ['touch harmed']\n",
        b"version: 1\nruns: " + b"[" * 100_000,
        b"a: &a [x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        + b"".join(
            b"%c: &%c [%b]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(99, 120)
        ),
        b'"\\UFFFFFFFF": 1\n',
        b"? " * 100_000,
    ],
)
def test_a_configuration_that_hurts(ckptctl: Ckptctl, tmp_path: Path, content: bytes) -> None:
    make_tree(tmp_path, {"ckptctl.yaml": content, "run/step_1.pt": torch_zip()})
    done = ckptctl("list", tmp_path / "run", "-c", tmp_path / "ckptctl.yaml")
    assert done.code == 2
    assert not list(tmp_path.rglob("harmed"))
    assert "Traceback" not in done.stderr
