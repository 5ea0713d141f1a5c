"""The hint that installs an extra names what can be installed: the package is on no index."""

from __future__ import annotations

import ast
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement

from tdfusion_edge.errors import RequestError
from tdfusion_edge.install import install_command, requirement
from tdfusion_edge.runtime.live.address import Address
from tdfusion_edge.runtime.live.server import Page

ROOT = Path(__file__).resolve().parent.parent
GIT = {"vcs": "git", "commit_id": "0" * 40}


def asked(package: Path, record: object, here: Path) -> list[str]:
    told = None if record is None else json.dumps(record)
    return shlex.split(requirement("train", package=package, record=told, here=here), comments=True)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The package's folder among the libraries of an environment."""
    folder = tmp_path / "site-packages" / "tdfusion_edge"
    folder.mkdir(parents=True)
    return folder


def test_a_checkout_that_runs_is_named_itself(tmp_path: Path) -> None:
    checkout = tmp_path / "a checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").touch()
    other = {"url": "file:///elsewhere", "dir_info": {"editable": True}}
    assert asked(checkout / "tdfusion_edge", other, tmp_path) == ["-e", f"{checkout}[train]"]
    assert asked(checkout / "tdfusion_edge", None, checkout) == ["-e", ".[train]"]


def test_what_was_installed_from_a_folder_is_installed_from_there(installed: Path, tmp_path: Path) -> None:
    source = tmp_path / "my source"
    record = {"url": source.as_uri(), "dir_info": {}}
    assert asked(installed, record, tmp_path) == [".[train]"]  # the folder is gone
    source.mkdir()
    assert asked(installed, record, tmp_path) == [f"{source}[train]"]
    assert asked(installed, record, source) == [".[train]"]


def test_what_came_from_elsewhere_is_named_by_its_address(installed: Path, tmp_path: Path) -> None:
    archive = tmp_path / "tdfusion_edge-0.1.0-py3-none-any.whl"
    archive.touch()
    for record, address in (
        (
            {"url": "https://example.org/tdfusion-edge.git", "vcs_info": GIT},
            "git+https://example.org/tdfusion-edge.git",
        ),
        ({"url": "https://example.org/tdfusion.whl", "archive_info": {}}, "https://example.org/tdfusion.whl"),
        ({"url": archive.as_uri(), "archive_info": {}}, archive.as_uri()),
    ):
        assert asked(installed, record, tmp_path) == [f"tdfusion-edge[train] @ {address}"]


def test_an_address_is_shown_without_its_password(installed: Path, tmp_path: Path) -> None:
    record = {"url": "https://me:hunter2@example.org/x.git", "vcs_info": GIT}
    assert "hunter2" not in " ".join(asked(installed, record, tmp_path))


def test_where_nothing_is_known_a_checkout_is_asked_for(installed: Path, tmp_path: Path) -> None:
    text = requirement("train", package=installed, record=None, here=tmp_path)
    assert text == '".[train]"  # in a checkout of tdfusion-edge'


def test_the_whole_command_from_this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert install_command("train,export") == 'pip install -e ".[train,export]"'
    command = install_command("tensorrt", options="--force-reinstall", beside="tensorrt")
    assert command == 'pip install --force-reinstall tensorrt -e ".[tensorrt]"'


@pytest.mark.parametrize(
    ("extra", "taken", "refused"),
    [("jetpack6", "12.9.4", "13.0.0"), ("jetpack7", "13.2.0", "14.0.0"), ("jetpack7", "13.0.0", "12.9.4")],
)
def test_a_jetpack_gets_the_cuda_library_that_its_driver_takes(extra: str, taken: str, refused: str) -> None:
    """A CUDA runtime refuses a driver of an older major version: that of JetPack 6 is for 12.6."""
    wanted = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())["project"]["optional-dependencies"][
        extra
    ]
    (one,) = map(Requirement, wanted)
    assert one.name == "cuda-bindings"
    assert one.specifier.contains(taken)
    assert not one.specifier.contains(refused)


EXTRAS = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())["project"]["optional-dependencies"]
DOCUMENTS = sorted(path for where in (".", "docs", "benchmarks") for path in (ROOT / where).glob("*.md"))
SOURCES = sorted(
    path for stage in ("tdfusion_edge", "train", "export", "runtime") for path in (ROOT / stage).rglob("*.py")
)


def extras_asked_for(source: str) -> Iterator[str]:
    """The extras that calls of :func:`install_command` and :func:`imported` name by a word."""
    if "install_command(" not in source and "imported(" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            place = {"install_command": 0, "imported": 1}.get(node.func.id)
            if place is not None and len(node.args) > place and isinstance(node.args[place], ast.Constant):
                yield str(ast.literal_eval(node.args[place]))


def test_every_extra_that_is_named_exists() -> None:
    named = {extra for path in SOURCES for extra in extras_asked_for(path.read_text("utf-8"))}
    assert {"train,export", "serve", "mqtt", "bags"} <= named
    for path in DOCUMENTS:
        named |= set(re.findall(r'pip install [^`\n]*"\.\[([\w,-]+)\]"', path.read_text("utf-8")))
    assert {one for several in named for one in several.split(",")} <= EXTRAS.keys()


def test_nobody_is_sent_to_an_index_that_does_not_have_the_package() -> None:
    sent = re.compile(r"pip install [^`\n]*tdfusion-edge\[")
    wrong = [path.name for path in (*DOCUMENTS, *SOURCES) if sent.search(path.read_text("utf-8"))]
    assert wrong == ["install.py"]  # which says so


@pytest.mark.parametrize("library", ["starlette", "uvicorn", "websockets", "prometheus_client"])
def test_without_a_library_of_the_page_the_command_that_helps_is_named(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(RequestError, match=f"--serve needs {library}") as caught:
        Page(Address("127.0.0.1", 0))
    assert caught.value.hint is not None
    assert install_command("serve") in caught.value.hint
