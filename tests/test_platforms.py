"""No call that only some systems have without its other half: every such name in the program stands behind a question.

The program's source is parsed, not searched: names in comments and strings do not count, keys of keyword arguments do.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
SHIPPED: Final = ("detector", "packages/collect/detector_collect", "packages/testing/detector_testing")

MODULES: Final = {
    *("crypt", "curses", "fcntl", "grp", "nis", "posix", "pty", "pwd", "readline", "resource", "spwd", "syslog"),
    *("termios", "tty"),
    *("_winapi", "msvcrt", "nt", "winreg", "winsound"),
}
"""Modules of POSIX, then those of Windows (Python's library reference, "Availability")."""

ATTRIBUTES: Final = {
    "os": {
        *("chown", "chroot", "ctermid", "fchmod", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid"),
        *("getgrouplist", "getgroups", "getloadavg", "getpgid", "getpgrp", "getpriority", "getresuid", "getsid"),
        *("getuid", "initgroups", "killpg", "lchown", "mkfifo", "mknod", "nice", "openpty", "pidfd_open", "pipe2"),
        *("posix_spawn", "posix_spawnp", "pread", "pwrite", "register_at_fork", "sched_getaffinity", "sendfile"),
        *("setegid", "seteuid", "setgid", "setgroups", "setpgid", "setsid", "setuid", "statvfs", "sync", "sysconf"),
        *("ttyname", "uname", "wait", "wait3", "wait4", "WEXITSTATUS", "WIFEXITED", "WIFSIGNALED", "WNOHANG"),
        *("WTERMSIG", "EX_IOERR", "EX_SOFTWARE", "EX_USAGE", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK"),
        *("O_SYNC", "P_PIDFD", "add_dll_directory", "startfile", "O_BINARY", "O_NOINHERIT"),
    },
    "signal": {
        *("SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGTSTP", "SIGUSR1"),
        *("SIGUSR2", "SIGWINCH", "SIGXCPU", "SIGXFSZ", "alarm", "pause", "pthread_kill", "pthread_sigmask"),
        *("setitimer", "siginterrupt", "sigpending", "sigtimedwait", "sigwait", "CTRL_BREAK_EVENT", "CTRL_C_EVENT"),
        "SIGBREAK",
    },
    "socket": {
        *("AF_NETLINK", "AF_PACKET", "AF_UNIX", "CMSG_LEN", "CMSG_SPACE", "IP_RECVERR", "IPV6_RECVERR"),
        *("MSG_DONTWAIT", "MSG_ERRQUEUE", "MSG_NOSIGNAL", "SCM_RIGHTS", "SO_BINDTODEVICE", "SO_MARK", "SO_REUSEPORT"),
        *("TCP_INFO", "TCP_USER_TIMEOUT", "recv_fds", "send_fds", "SIO_RCVALL", "SO_EXCLUSIVEADDRUSE"),
    },
    "select": {"epoll", "kqueue", "poll"},
    "time": {"CLOCK_BOOTTIME", "CLOCK_MONOTONIC", "CLOCK_REALTIME", "clock_gettime", "clock_gettime_ns", "tzset"},
    "ssl": {"enum_certificates", "enum_crls"},
    "ctypes": {"FormatError", "GetLastError", "WinDLL", "WinError", "get_last_error", "oledll", "windll"},
    "subprocess": {"CREATE_NEW_PROCESS_GROUP", "CREATE_NO_WINDOW", "DETACHED_PROCESS", "STARTUPINFO"},
    "asyncio": {"ProactorEventLoop", "ThreadedChildWatcher", "get_child_watcher"},
}
"""Attributes of modules that only some systems have."""

METHODS: Final = {
    *("add_reader", "add_signal_handler", "add_writer", "connect_read_pipe", "connect_write_pipe"),
    *("create_subprocess_exec", "create_subprocess_shell", "create_unix_connection", "create_unix_server"),
    *("open_unix_connection", "recvmsg", "recvmsg_into", "remove_reader", "remove_signal_handler", "remove_writer"),
    *("sendmsg", "start_unix_server", "subprocess_exec", "subprocess_shell"),
}
"""Methods that one of the event loops of Windows, or its sockets, lacks (asyncio, "Platform Support")."""

ARGUMENTS: Final = {
    *("creationflags", "extra_groups", "pass_fds", "preexec_fn", "process_group", "start_new_session", "startupinfo"),
}
STARTING: Final = {
    *("Popen", "call", "check_call", "check_output", "create_subprocess_exec", "create_subprocess_shell", "run"),
    *("subprocess_exec", "subprocess_shell"),
}
"""Arguments of one system in calls that start a process, and in tables of such arguments."""

QUESTIONS: Final = ("sys.platform", "os.name", "hasattr(")
"""What asks for the system. `getattr` with a default needs no question."""
FAILURES: Final = {"AttributeError", "ImportError", "NotImplementedError"}
"""What a system without it raises."""


class Use(NamedTuple):
    """One name that not every system has, in one file."""

    file: str
    name: str


EXPECTED: Final = {
    Use("detector/aio/descriptors.py", "resource"): "Windows has no limit of open files of this kind",
    Use("detector/audit/machine.py", "enum_certificates"): "the stores of Windows; files and programs elsewhere",
    Use("detector/audit/windows.py", "winreg"): "the registry; its reader is given to `windows_roots`",
    Use("detector/model/private_files.py", "WinDLL"): "an access control list on Windows, permissions elsewhere",
    Use("detector/model/private_files.py", "WinError"): "as above",
    Use("detector/model/private_files.py", "get_last_error"): "as above",
    Use("detector/model/private_files.py", "msvcrt"): "as above",
    Use("detector/probe/routes/pac.py", "create_subprocess_exec"): "in a thread where the loop starts no process",
    Use("detector/probe/routes/pac.py", "creationflags"): "no window on Windows; 0, which POSIX takes, elsewhere",
    Use("detector/scan/processes.py", "SIGKILL"): "`Process.kill` on Windows",
    Use("detector/scan/processes.py", "create_subprocess_exec"): "refused where the loop starts no process",
    Use("detector/scan/processes.py", "creationflags"): "a group of its own on Windows",
    Use("detector/scan/processes.py", "process_group"): "and on POSIX",
    Use("detector/session/machine_proxy.py", "winreg"): "the registry; a program's output elsewhere",
    Use("detector/watch/runner.py", "CLOCK_MONOTONIC"): "macOS; another clock elsewhere",
    Use("packages/testing/detector_testing/lab.py", "geteuid"): "asked on Linux alone",
    Use("packages/testing/detector_testing/mitmproxy.py", "killpg"): "`Process.kill` on Windows",
    Use("packages/testing/detector_testing/streams.py", "remove_reader"): "Windows' loop has no readers to remove",
}
"""Each use, and what happens where it is missing."""

_LAB: Final = "network namespaces are Linux's: without them `missing` says so and nothing is started"
OTHERWISE: Final = {
    Use("detector/locate/tracing.py", "recvmsg"): "`LinuxErrorQueue` is made on Linux alone, by `trace_hops`",
    Use("detector/watch/runner.py", "clock_gettime"): "called where the system has such a clock, else `time.monotonic`",
    Use("packages/collect/detector_collect/worker/process.py", "create_subprocess_exec"): (
        "the collector's commands run on the loop that asyncio makes, which starts processes on every system"
    ),
    Use("packages/testing/detector_testing/lab.py", "O_CLOEXEC"): _LAB,
    Use("packages/testing/detector_testing/lab.py", "SIGKILL"): _LAB,
    Use("packages/testing/detector_testing/lab.py", "create_subprocess_exec"): _LAB,
    Use("packages/testing/detector_testing/mitmproxy.py", "create_subprocess_exec"): "tests run it on a loop that can",
    Use("packages/testing/detector_testing/mitmproxy.py", "start_new_session"): "subprocess ignores it on Windows",
}
"""Uses without a question around them, with the reason."""


def uses(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Every name in a module that not every system has."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((one.name, node) for one in names if one.name.partition(".")[0] in MODULES)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                if module in MODULES:
                    yield module, node
                yield from ((one.name, node) for one in names if one.name in ATTRIBUTES.get(module, ()))
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in ATTRIBUTES.get(module, ()):
                yield name, node
            case ast.Attribute(attr=name) if name in METHODS:
                yield name, node
            case ast.Call(func=ast.Attribute(attr=called) | ast.Name(id=called), keywords=given) if called in STARTING:
                yield from ((one.arg, one) for one in given if one.arg in ARGUMENTS)
            case ast.Dict(keys=keys):
                yield from ((str(k.value), node) for k in keys if isinstance(k, ast.Constant) and k.value in ARGUMENTS)


def asks(node: ast.AST) -> bool:
    """Whether a condition asks for the system."""
    return any(question in ast.unparse(node) for question in QUESTIONS)


def is_guarded(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Whether the system is asked for around or before this node, or the failure of one without it is handled."""
    inner: ast.AST = node
    while (outer := parents.get(inner)) is not None:
        if isinstance(outer, ast.If | ast.IfExp) and inner is not outer.test and asks(outer.test):
            return True
        if isinstance(outer, ast.Try) and inner in outer.body:
            names = {
                name.id for h in outer.handlers if h.type for name in ast.walk(h.type) if isinstance(name, ast.Name)
            }
            if names & FAILURES:
                return True
        if isinstance(outer, ast.With) and any("suppress(NotImpl" in ast.unparse(item) for item in outer.items):
            return True
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef) and isinstance(inner, ast.stmt):
            before = outer.body[: outer.body.index(inner)] if inner in outer.body else []
            if any(isinstance(one, ast.If) and asks(one.test) and ends(one.body) for one in before):
                return True
        inner = outer
    return False


def ends(body: list[ast.stmt]) -> bool:
    """Whether a branch leaves the function."""
    return isinstance(body[-1], ast.Return | ast.Raise)


def examined(source: str, file: str = "") -> dict[Use, bool]:
    """Each use in a module, and whether all of its places are guarded."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found: dict[Use, bool] = {}
    for name, node in uses(tree):
        use = Use(file, name)
        found[use] = found.get(use, True) and is_guarded(node, parents)
    return found


def test_no_call_without_its_other_half() -> None:
    """What not every system has stands behind a question, or is in the table with its reason; the table is complete."""
    found: dict[Use, bool] = {}
    for folder in SHIPPED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            found |= examined(path.read_text("utf-8"), str(path.relative_to(ROOT).as_posix()))
    assert set(found) == set(EXPECTED) | set(OTHERWISE)
    assert {use for use, guarded in found.items() if not guarded} == set(OTHERWISE)


@pytest.mark.parametrize(
    ("source", "name", "guarded"),
    [
        ("import fcntl", "fcntl", False),
        ("from fcntl import flock", "fcntl", False),
        ("import sys\nif sys.platform != 'win32':\n    import fcntl", "fcntl", True),
        ("try:\n    import resource\nexcept ImportError:\n    resource = None", "resource", True),
        ("import os\nos.geteuid()", "geteuid", False),
        ("import os\nok = hasattr(os, 'geteuid') and os.geteuid() == 0", "geteuid", False),
        ("import os\nok = os.geteuid() if hasattr(os, 'geteuid') else 0", "geteuid", True),
        ("from os import fork", "fork", False),
        ("import signal\nsignal.signal(signal.SIGHUP, f)", "SIGHUP", False),
        ("def f(loop):\n    loop.add_signal_handler(1, g)", "add_signal_handler", False),
        ("try:\n    loop.add_reader(0, g)\nexcept NotImplementedError:\n    g()", "add_reader", True),
        ("try:\n    loop.add_reader(0, g)\nexcept ValueError:\n    g()", "add_reader", False),
        ("import os\ndef f():\n    if os.name == 'nt':\n        return 0\n    return os.getuid()", "getuid", True),
        ("import os\ndef f():\n    if os.name == 'nt':\n        g()\n    return os.getuid()", "getuid", False),
        ("import subprocess\nsubprocess.run(['x'], start_new_session=True)", "start_new_session", False),
        ("MORE = {'preexec_fn': f}", "preexec_fn", False),
        ("import sys\nMORE = {'pass_fds': ()} if sys.platform != 'win32' else {}", "pass_fds", True),
    ],
)
def test_what_counts_as_guarded(source: str, name: str, *, guarded: bool) -> None:
    """The search finds each kind of use, and takes no other condition for a question."""
    assert examined(source) == {Use("", name): guarded}


def test_what_is_no_use() -> None:
    """Names that only look alike, text, and `getattr` do not count."""
    lines = ("from .syslog import Collector", "import os", "f(group=1)", "'os.fork'  # os.fork", "self.wait()")
    source = "\n".join([*lines, "getattr(os, 'O_NONBLOCK', 0)", "os.getpid()"])
    assert examined(source) == {}
