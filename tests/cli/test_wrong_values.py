"""What is wrong on a command line is named by its option, and what was probably meant is suggested."""

from __future__ import annotations

import pytest
from support import command

CHECK = ("check", "127.0.0.1:1", "--offline")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*CHECK, "--route", "dirct"), "--route: 'dirct' is not a route."),
        ((*CHECK, "--route", "proxy", "--proxy", "none"), "--route: only proxy is to be used"),
        ((*CHECK, "--proxy", "ftp://student:hunter2@x"), "--proxy: The proxy URL names an unsupported kind"),
        ((*CHECK, "--proxy", "pac:"), "--proxy: The location of the proxy file"),
        ((*CHECK, "--roots", "absent.pem"), "--roots: absent.pem: "),
        ((*CHECK, "--add-roots", "absent.pem"), "--add-roots: absent.pem: "),
        ((*CHECK, "--ct-logs", "absent.json"), "--ct-logs: absent.json: "),
        ((*CHECK, "--pins", "absent.toml"), "absent.toml: the pin file"),
        ((*CHECK, "--doh", "https://student:hunter2@x/"), "--doh: is not the https URL of a resolver."),
        ((*CHECK, "--portal-url", "http://student:hunter2@x/"), "--portal-url: is not a URL to request."),
        ((*CHECK, "--portal-api", "http://x"), "--portal-api: is not a URL to request."),
        ((*CHECK, "--resolve", "x:443:y:443"), "Invalid value for '--resolve': 'x:443:y:443' is not a rule"),
        ((*CHECK, "--connect-to", "x:443:127.0.0.1"), "Invalid value for '--connect-to': 'x:443:127.0.0.1'"),
        ((*CHECK, "--hello", "brwser"), "'brwser' is unknown. Did you mean 'browser'?"),
        ((*CHECK, "--fail-on", "certain"), "'certain' is not one of 'possible', 'probable', 'proven'."),
        ((*CHECK, "--deadlin", "3"), "No such option '--deadlin'. Did you mean '--deadline'?"),
        (("chek",), "No such command 'chek'. Did you mean 'check'?"),
        (("pins", "lerm"), "Did you mean 'learn'?"),
        (("rules", "identity-substitute"), "Did you mean 'identity-substituted'?"),
        (("watch", "127.0.0.1:1", "--metrics", "x:y"), "--metrics: 'x:y' does not end in a port."),
        (("scan", "--network", "192.0.2.0/99"), "--network: '192.0.2.0/99' is not a network."),
        (("scan", "192.0.2.1", "--server-name", "a/b"), "--server-name: 'a/b' is not a host name."),
        (("exam", "gate", "--route", "dirct"), "--route: 'dirct' is not a route."),
        (("verify", "b.json", "--roots", "absent.pem"), "--roots: absent.pem: "),
        (("locate", "h.example", "--resolve", "x"), "Invalid value for '--resolve'"),
    ],
)
def test_the_option_is_named(words: tuple[str, ...], said: str) -> None:
    """Exit 2, the option and the value, or the file; never the name of a Python parameter, never a credential."""
    done = command.run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "hunter2" not in done.stderr
