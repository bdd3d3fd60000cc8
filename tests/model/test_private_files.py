"""Files for their owner alone: permissions on POSIX, an access control list on Windows, from recorded calls."""

from __future__ import annotations

import ctypes
import datetime as dt
import errno
import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any

import pytest

from detector.cli import common
from detector.history import store
from detector.model import private_files
from detector.model.private_files import ACCESS, Windows, create_on_windows, create_private, replace_private
from detector.scan.fleet import certificates
from detector.trust import key_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_permissions(tmp_path: Path) -> None:
    """Nobody else can read the file, whatever the umask; one that exists is not opened."""
    before = os.umask(0)
    try:
        descriptor = create_private(tmp_path / "key")
    finally:
        os.umask(before)
    os.write(descriptor, b"secret")
    os.close(descriptor)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "key")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "link")
    with pytest.raises(ValueError, match="null"):
        create_private("a\0b")


class Function:
    """A function of a library: ctypes sets the types of its arguments, and calls it."""

    def __init__(self, recorded: Recorded, name: str) -> None:
        self.argtypes: tuple[Any, ...] = ()
        self.restype: Any = None
        self._recorded = recorded
        self._name = name

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401 - whatever the function takes
        assert len(arguments) == len(self.argtypes)
        assert all(
            hasattr(kind, "from_param") and (given is None or kind.from_param(given) is not None)
            for kind, given in zip(self.argtypes, arguments, strict=True)
        )
        self._recorded.calls.append(self._name)
        return getattr(self._recorded, self._name)(*arguments)


class Recorded:
    """The two libraries of Windows, with a file system of their own: what each call was given, and what it gives."""

    DESCRIPTOR = 0x1234
    HANDLE = 0x77

    def __init__(self, *, fails: str = "", error: OSError | None = None) -> None:
        self.calls: list[str] = []
        self.freed: list[int] = []
        self.files: dict[str, tuple[int, int]] = {}
        self.fails = fails
        self.error = error or FileExistsError(17, "File exists")

    def __getattr__(self, name: str) -> Function:
        if not name[:1].isupper():
            raise AttributeError(name)
        function = Function(self, f"on_{name}")
        setattr(self, name, function)
        return function

    def on_ConvertStringSecurityDescriptorToSecurityDescriptorW(  # noqa: N802 - Windows' name
        self,
        text: str,
        revision: int,
        descriptor: Any,  # noqa: ANN401 - ctypes' reference
        size: None,
    ) -> int:
        assert (text, revision, size) == (ACCESS, 1, None)
        descriptor._obj.value = self.DESCRIPTOR
        return int(self.fails != "convert")

    def on_CreateFileW(self, path: str, *how: Any) -> int | None:  # noqa: N802, ANN401 - Windows' name, as above
        access, share, attributes, disposition, flags, template = how
        assert (access, share, disposition, flags, template) == (0x40000000, 3, 1, 0x80, None)
        given = attributes._obj
        assert given.length == ctypes.sizeof(given)
        self.files[path] = given.descriptor, given.inherit
        return ctypes.c_void_p(-1).value if self.fails == "create" else self.HANDLE

    def on_LocalFree(self, descriptor: Any) -> None:  # noqa: N802, ANN401 - Windows' name, as above
        self.freed.append(descriptor.value)

    def windows(self) -> Windows:
        """What the program is given."""
        return Windows(self, self, lambda: self.error, lambda handle, flags: handle * 1000 + (flags & 3))


def test_the_access_list_is_there_from_the_first_moment() -> None:
    """The file is created with its access control list, which is freed then, and opened for writing."""
    recorded = Recorded()
    descriptor = create_on_windows(r"C:\Users\a\key.pem", recorded.windows())
    assert descriptor == recorded.HANDLE * 1000 + os.O_WRONLY
    assert recorded.files == {r"C:\Users\a\key.pem": (recorded.DESCRIPTOR, 0)}
    assert recorded.calls == [
        "on_ConvertStringSecurityDescriptorToSecurityDescriptorW",
        "on_CreateFileW",
        "on_LocalFree",
    ]
    assert recorded.freed == [recorded.DESCRIPTOR]


@pytest.mark.parametrize(("fails", "freed"), [("convert", []), ("create", [Recorded.DESCRIPTOR])])
def test_failures_are_raised(fails: str, freed: list[int]) -> None:
    """What the system refuses is its own exception, and nothing leaks: a file that exists is one of them."""
    recorded = Recorded(fails=fails)
    with pytest.raises(FileExistsError):
        create_on_windows("key.pem", recorded.windows())
    assert recorded.freed == freed


def test_a_name_does_not_end_early() -> None:
    """A NUL character is refused before Windows sees the name, which it would cut off there."""
    recorded = Recorded()
    with pytest.raises(ValueError, match="null"):
        create_on_windows("key\0.pem", recorded.windows())
    assert recorded.calls == []


def test_who_has_access() -> None:
    """Protected from inheritance; the owner, the system and the administrators, and nobody else."""
    flags, *entries = ACCESS.removesuffix(")").replace(")(", "(").split("(")
    assert flags == "D:P"
    assert [entry.split(";") for entry in entries] == [["A", "", "FA", "", "", who] for who in ("OW", "SY", "BA")]


@pytest.mark.parametrize(("refused", "number"), [("open", errno.EACCES), ("fsync", errno.EINVAL)])
def test_a_folder_that_cannot_be_synchronized(
    refused: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that may not be read, or whose file system has no call for it, holds the new file all the same."""
    unpatched = {"open": os.open, "fsync": os.fsync}[refused]

    def refuse(of: str | Path | int, *rest: int) -> int | None:
        if of == tmp_path or (isinstance(of, int) and stat.S_ISDIR(os.fstat(of).st_mode)):
            raise OSError(number, os.strerror(number))
        return unpatched(of, *rest)  # type: ignore[operator,no-any-return] # either of two functions

    (tmp_path / "state").write_bytes(b"old")
    monkeypatch.setattr(os, refused, refuse)
    replace_private(tmp_path / "state", b"new", unfinished=tmp_path / "part")
    monkeypatch.undo()
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("state", b"new")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets administrators alone make links")
def test_what_is_in_the_place_of_a_file_is_replaced(tmp_path: Path) -> None:
    """Links in the place of the file or of the unfinished one are not followed, and permissions are the owner's."""
    (tmp_path / "other").write_bytes(b"other")
    for name in ("state", "part"):
        (tmp_path / name).symlink_to(tmp_path / "other")
    replace_private(tmp_path / "state", b"new", unfinished=tmp_path / "part")
    there = {one.name: (one.read_bytes(), one.is_symlink()) for one in tmp_path.iterdir()}
    assert there == {"other": (b"other", False), "state": (b"new", False)}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == private_files.OWNER_ONLY


@pytest.mark.parametrize("made", ["key", "fleet", "history", "bundle"])
def test_everything_private_is_made_here(made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, certificates of a fleet, histories and bundles are created by the one function, and by no other."""
    created: list[str] = []

    def create(path: str | Path) -> int:
        created.append(os.path.basename(path))  # noqa: PTH119 - text or a path
        return private_files.create_private(path)

    for module in (common, store, certificates, key_files):
        monkeypatch.setattr(module, "create_private", create)
    match made:
        case "key":
            key_files.create_signing_key(tmp_path / "key.pem")
        case "fleet":
            certificates.write(tmp_path, hosts=["a.example.edu"], now=dt.datetime.now(dt.UTC))
        case "history":
            store.History(tmp_path / "history.sqlite").close()
        case _:
            with common.result_stream(str(tmp_path / "b.json"), mode=private_files.OWNER_ONLY) as stream:
                stream.write("{}")
    temporary = re.compile(r"\.(b\.json)\.[0-9a-f]{16}\.part")
    assert {temporary.sub(r"\1", name) for name in created} == {path.name for path in tmp_path.iterdir()}
