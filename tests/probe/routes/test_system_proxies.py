"""Proxy settings as Windows, macOS and GNOME keep them, from fixtures; and the reader of this machine.

Room: tests of probe. Opens nothing.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.profiles import examples

from detector.probe.routes.system import SystemProxies, from_gnome, from_macos, from_windows
from detector.session import machine_proxy

if TYPE_CHECKING:
    from pathlib import Path

HOST = "exam.example.edu"

MACOS = """<dictionary> {
  ExceptionsList : <array> {
    0 : *.local
    1 : 169.254/16
    2 : intranet.example.edu
  }
  ExcludeSimpleHostnames : 1
  FTPPassive : 1
  HTTPEnable : 1
  HTTPPort : 3128
  HTTPProxy : plain.example.edu
  HTTPSEnable : 1
  HTTPSPort : 8080
  HTTPSProxy : proxy.example.edu
  ProxyAutoConfigEnable : 0
  ProxyAutoConfigURLString : http://old.example.edu/proxy.pac
  ProxyAutoDiscoveryEnable : 0
  SOCKSEnable : 0
}
"""
MACOS_FILE = """<dictionary> {
  HTTPEnable : 0
  HTTPSEnable : 0
  ProxyAutoConfigEnable : 1
  ProxyAutoConfigURLString : https://config.example.edu/proxy.pac
  ProxyAutoDiscoveryEnable : 1
  SOCKSEnable : 1
  SOCKSPort : 1080
  SOCKSProxy : socks.example.edu
}
"""
GNOME = """org.gnome.system.proxy autoconfig-url ''
org.gnome.system.proxy ignore-hosts ['localhost', '127.0.0.0/8', '::1', '*.example.org']
org.gnome.system.proxy mode 'manual'
org.gnome.system.proxy use-same-proxy true
org.gnome.system.proxy.ftp host ''
org.gnome.system.proxy.ftp port 0
org.gnome.system.proxy.http authentication-password 'hunter2'
org.gnome.system.proxy.http authentication-user ''
org.gnome.system.proxy.http enabled false
org.gnome.system.proxy.http host 'plain.example.edu'
org.gnome.system.proxy.http port 3128
org.gnome.system.proxy.https host 'proxy.example.edu'
org.gnome.system.proxy.https port 8080
org.gnome.system.proxy.socks host ''
org.gnome.system.proxy.socks port 0
"""
DETECT = b"F\0\0\0\x05\0\0\0\x09\0\0\0"
MANUAL = b"F\0\0\0\x05\0\0\0\x03\0\0\0"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, SystemProxies()),
        ({"ProxyEnable": 0, "ProxyServer": "p:1"}, SystemProxies()),
        ({"ProxyEnable": 1, "ProxyServer": "p:1"}, SystemProxies(proxy="p:1")),
        (
            {"ProxyEnable": 1, "ProxyServer": "http=a:1;https=b:2;socks=c:3", "ProxyOverride": "*.Example.EDU;<local>"},
            SystemProxies(proxy="b:2", bypass=("*.example.edu",), bypass_plain=True),
        ),
        ({"ProxyEnable": 1, "ProxyServer": "ftp=a:1;socks=c:3"}, SystemProxies(proxy="socks4a://c:3")),
        ({"ProxyEnable": 1, "ProxyServer": "socks=socks5://c:3"}, SystemProxies(proxy="socks5://c:3")),
        ({"ProxyEnable": 1, "ProxyServer": "http=a:1 HTTPS=b:2"}, SystemProxies(proxy="b:2")),
        ({"ProxyEnable": 1, "ProxyServer": " p:8080; "}, SystemProxies(proxy="p:8080")),
        ({"ProxyEnable": 1, "ProxyServer": "http=a:1;p:8080"}, SystemProxies(proxy="p:8080")),
        ({"ProxyEnable": 1, "ProxyServer": "https=https://p:443"}, SystemProxies(proxy="https://p:443")),
        ({"ProxyEnable": 1, "ProxyServer": "[2001:db8::1]:8080"}, SystemProxies(proxy="[2001:db8::1]:8080")),
        ({"ProxyEnable": 1, "ProxyServer": "https="}, SystemProxies()),
        ({"ProxyEnable": 1, "ProxyServer": "="}, SystemProxies()),
        ({"ProxyEnable": 1, "ProxyServer": "\x00"}, SystemProxies(proxy="\x00")),
        ({"ProxyEnable": b"\1\0\0\0", "ProxyServer": "p:1"}, SystemProxies(proxy="p:1")),
        ({"ProxyEnable": "1", "ProxyServer": "p:1"}, SystemProxies()),
        (
            {"ProxyEnable": 1, "ProxyServer": "p:1", "ProxyOverride": "*.a.example <LOCAL>;<-loopback>; 10.*"},
            SystemProxies(proxy="p:1", bypass=("*.a.example", "<-loopback>", "10.*"), bypass_plain=True),
        ),
        ({"ProxyEnable": 1, "ProxyServer": "ftp=a:1"}, SystemProxies()),
        ({"AutoConfigURL": "http://w/proxy.pac"}, SystemProxies(file="http://w/proxy.pac")),
        ({"DefaultConnectionSettings": DETECT}, SystemProxies(detect=True)),
        ({"DefaultConnectionSettings": MANUAL}, SystemProxies()),
        ({"DefaultConnectionSettings": b"", "ProxyServer": 7, "AutoConfigURL": None}, SystemProxies()),
    ],
)
def test_windows(values: dict[str, object], expected: SystemProxies) -> None:
    """Registry values of the user's internet settings."""
    assert from_windows(values) == expected


def test_macos() -> None:
    """What `scutil --proxy` prints: a server with exceptions, or a file that takes precedence."""
    found = from_macos(MACOS)
    assert found == SystemProxies(
        proxy="proxy.example.edu:8080",
        bypass=("*.local", "169.254.0.0/16", "intranet.example.edu"),
        bypass_plain=True,
    )
    assert from_macos(MACOS_FILE) == SystemProxies(
        proxy="socks5://socks.example.edu:1080", file="https://config.example.edu/proxy.pac", detect=True
    )
    assert from_macos("") == SystemProxies()


MACOS_SCOPED = """<dictionary> {
  ExceptionsList : <array> {
    0 : *.local
  }
  ProxyAutoConfigEnable : 1
  ProxyAutoConfigURLString : file:///Library/Proxy%20Settings/proxy.pac
  __SCOPED__ : <dictionary> {
    en0 : <dictionary> {
      ExceptionsList : <array> {
        0 : *.vpn.example
      }
      HTTPSEnable : 1
      HTTPSPort : 8080
      HTTPSProxy : vpn.example
    }
  }
}
"""
MACOS_IPV6 = """<dictionary> {
  HTTPSEnable : 1
  HTTPSProxy : 2001:db8::1
}
"""


def test_odd_values_of_macos() -> None:
    """Settings of one interface are not the machine's; an address is written as URLs have it; a port may be missing."""
    assert from_macos(MACOS_SCOPED) == SystemProxies(
        bypass=("*.local",), file="file:///Library/Proxy%20Settings/proxy.pac"
    )
    assert from_macos(MACOS_IPV6) == SystemProxies(proxy="[2001:db8::1]")
    assert from_macos(MACOS_IPV6.replace("Enable : 1", "Enable : 0")) == SystemProxies()
    assert from_macos("}\n}\n{\n" + MACOS) == SystemProxies()


def test_odd_values_of_gnome() -> None:
    """A port of 0 is the usual one of its kind; values that are no strings count as missing."""
    odd = GNOME.replace("port 8080", "port 0")
    assert from_gnome(odd).proxy == "proxy.example.edu"
    socks = GNOME.replace("https host 'proxy.example.edu'", "https host ''").replace(
        "socks host ''", "socks host '::1'"
    )
    assert from_gnome(socks).proxy == "socks5://[::1]"
    assert from_gnome(GNOME.replace("'proxy.example.edu'", "@ms nothing")).proxy is None
    assert from_gnome(GNOME.replace("'manual'", "'automatic'")) == SystemProxies()


def test_gnome() -> None:
    """What `gsettings` prints, by mode."""
    ignored = ("localhost", "127.0.0.0/8", "::1", "*.example.org")
    assert from_gnome(GNOME) == SystemProxies(proxy="proxy.example.edu:8080", bypass=ignored)
    assert from_gnome(GNOME.replace("'manual'", "'none'")) == SystemProxies()
    automatic = GNOME.replace("'manual'", "'auto'")
    assert from_gnome(automatic) == SystemProxies(detect=True)
    named = automatic.replace("autoconfig-url ''", "autoconfig-url 'http://w/p.pac'")
    assert from_gnome(named) == SystemProxies(file="http://w/p.pac")
    assert (
        from_gnome("org.gnome.system.proxy mode 'manual'\norg.gnome.system.proxy ignore-hosts @as []")
        == SystemProxies()
    )


@pytest.mark.parametrize(
    ("host", "port", "excepted"),
    [
        (HOST, 443, False),
        ("intranet.example.edu", 443, True),
        ("printer.local", 443, True),
        ("printer", 443, True),
        ("169.254.7.7", 443, True),
        ("169.255.7.7", 443, False),
    ],
)
def test_exceptions(host: str, port: int, *, excepted: bool) -> None:
    """Wildcards, names without a dot, and shortened networks."""
    assert from_macos(MACOS).excepts(host, port) is excepted


TEXT = st.one_of(st.text(max_size=200), st.lists(st.sampled_from((MACOS + GNOME).splitlines())).map("\n".join))


@settings(max_examples=examples(200))
@given(text=TEXT, host=st.text(max_size=20), raw=st.binary(max_size=20))
def test_nothing_a_store_holds_raises(text: str, host: str, raw: bytes) -> None:
    """Whatever is written there, settings come out."""
    values = {"ProxyEnable": 1, "ProxyServer": text, "ProxyOverride": text, "DefaultConnectionSettings": raw}
    for found in (from_macos(text), from_gnome(text), from_windows(values)):
        found.excepts(host, 443)


def test_this_machine_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The desktop's own program is asked; where it fails or is not there, nothing is set."""
    assert isinstance(machine_proxy.read_system_proxies(), SystemProxies)
    if sys.platform == "linux":
        program = tmp_path / "gsettings"
        (tmp_path / "printed").write_text(GNOME)
        program.write_text(
            f'#!/bin/sh\n[ "$*" = "list-recursively org.gnome.system.proxy" ] && /bin/cat {tmp_path}/printed\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert machine_proxy.read_system_proxies().proxy == "proxy.example.edu:8080"
        program.write_text("#!/bin/sh\nexit 1\n")
        assert machine_proxy.read_system_proxies() == SystemProxies()
        program.unlink()
        assert machine_proxy.read_system_proxies() == SystemProxies()
