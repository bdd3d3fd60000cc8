"""Creates files that only their owner can read: private keys, evidence of where somebody was and when, and state.

Room: model. Writes the file that is named. POSIX protects a file by its permission bits, Windows by its access
control list: a new file there has that of its directory, which may let others read. Both take effect as the file is
created, so there is no moment at which another user can open it.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OWNER_ONLY: Final = 0o600
"""Permissions that let the owner read and write, and nobody else do anything."""

ACCESS: Final = "D:P(A;;FA;;;OW)(A;;FA;;;SY)(A;;FA;;;BA)"
"""The access control list in Microsoft's Security Descriptor Definition Language: protected from the entries of the
directory, all access for the owner, the system and administrators, who could take it anyway (as root can on POSIX)."""

_SDDL_REVISION: Final = 1
_GENERIC_WRITE: Final = 0x40000000
_SHARE_READ_AND_WRITE: Final = 0x3
_CREATE_NEW: Final = 1
_ATTRIBUTE_NORMAL: Final = 0x80
"""SDDL_REVISION_1 (sddl.h), and what CreateFileW takes (winnt.h, fileapi.h)."""


class Windows(NamedTuple):
    """What is needed of Windows: two libraries, the last error as an exception, and `msvcrt.open_osfhandle`."""

    advapi32: Any
    kernel32: Any
    last_error: Callable[[], OSError]
    open_osfhandle: Callable[[int, int], int]


def create_private(path: str | Path) -> int:
    """Create a file that only its owner can read, and return a descriptor to write it.

    Raises OSError, FileExistsError where it exists already, and ValueError for a NUL character in the name.
    """
    if sys.platform == "win32":  # pragma: no cover - the rest is tested with recorded calls
        return create_on_windows(str(path), _windows())
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)


def write_private(path: Path, data: bytes) -> None:
    """Write a new private file, and wait until its content is on the disk. Raises as `create_private`."""
    with open(create_private(path), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_private(path: Path, data: bytes, *, unfinished: Path) -> None:
    """Replace a private file, so that it has the old content or the new one, whatever ends this process, and when.

    `unfinished` is what the file is called, in the same folder, until it is complete. Raises OSError and ValueError.
    """
    try:
        unfinished.unlink(missing_ok=True)  # of a process that was killed
        write_private(unfinished, data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    synchronize(path.parent)


def synchronize(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where that can be asked for.

    Windows has no such call, and needs none (NTFS logs them). Some network file systems have none for folders (EINVAL,
    fsync(2)), and a folder that may be written but not read cannot be opened: its files are complete all the same.
    """
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def create_on_windows(path: str, windows: Windows) -> int:
    """As `create_private`, with the access control list `ACCESS`."""
    import ctypes  # noqa: PLC0415 - no other system needs it
    from ctypes import wintypes  # noqa: PLC0415 - no other system needs it

    class SecurityAttributes(ctypes.Structure):
        """SECURITY_ATTRIBUTES (minwinbase.h)."""

        _fields_ = (("length", wintypes.DWORD), ("descriptor", wintypes.LPVOID), ("inherit", wintypes.BOOL))

    if "\0" in path:  # the name would end there
        raise ValueError("embedded null character")
    convert = windows.advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW
    convert.argtypes = (
        *(wintypes.LPCWSTR, wintypes.DWORD),
        *(ctypes.POINTER(wintypes.LPVOID), ctypes.POINTER(wintypes.DWORD)),
    )
    convert.restype = wintypes.BOOL
    create = windows.kernel32.CreateFileW
    create.argtypes = (
        *(wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD),
        *(ctypes.POINTER(SecurityAttributes), wintypes.DWORD, wintypes.DWORD, wintypes.HANDLE),
    )
    create.restype = wintypes.HANDLE
    free = windows.kernel32.LocalFree
    free.argtypes, free.restype = (wintypes.HLOCAL,), wintypes.HLOCAL

    descriptor = wintypes.LPVOID()
    if not convert(ACCESS, _SDDL_REVISION, ctypes.byref(descriptor), None):
        raise windows.last_error()
    try:
        attributes = SecurityAttributes(ctypes.sizeof(SecurityAttributes), descriptor, 0)
        how = (_GENERIC_WRITE, _SHARE_READ_AND_WRITE, ctypes.byref(attributes), _CREATE_NEW, _ATTRIBUTE_NORMAL, None)
        handle = create(path, *how)
        if handle == ctypes.c_void_p(-1).value:  # INVALID_HANDLE_VALUE
            raise windows.last_error()
    finally:
        free(descriptor)
    return windows.open_osfhandle(handle, os.O_WRONLY | getattr(os, "O_BINARY", 0))


if sys.platform == "win32":  # pragma: no cover - `create_on_windows` is tested with recorded calls

    def _windows() -> Windows:
        import ctypes  # noqa: PLC0415 - no other system needs it
        import msvcrt  # noqa: PLC0415 - exists on Windows only

        return Windows(
            advapi32=ctypes.WinDLL("advapi32", use_last_error=True),
            kernel32=ctypes.WinDLL("kernel32", use_last_error=True),
            last_error=lambda: ctypes.WinError(ctypes.get_last_error()),
            open_osfhandle=msvcrt.open_osfhandle,
        )
