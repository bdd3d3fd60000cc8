"""What the reader of results can do about them, by audience: student, IT, developer of the client or server.

Room: judge. Pure: text only, in whole sentences whose fields are named, so that they can be translated. Advice on a
rule is part of its row in the table; this module has the advice that depends on how a connection ended and on who
manages the interceptor. The student is never accused and never asked to weaken anything; what only an administrator can
change is addressed to the administrator, in the product's terms where known.

Only exams, courses and hosts that the caller named are listed for exemption: whether an operator decrypts other sites
is the operator's decision, and a filter that has to exempt everything exempts nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from detector.language import ENGLISH, N_, Messages, Plural, Sentence, Text
from detector.model import Audience, Category, ManagedBy, Outcome, Verdict

from . import table
from .checks import chain, known_interceptor, pin, second_try
from .facts import Facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from detector.model import Observation, Result

    from .table import Advice, Rule

_STUDENT, _IT, _DEVELOPER = Audience.STUDENT, Audience.IT, Audience.DEVELOPER

SIGN_IN_FIRST: Final = N_("Open a browser and sign in to this network, then try again.")
"""Precedes all other advice where a sign-in page answers."""
CHECK_BY_NAME: Final = N_(
    "Whether other sites are decrypted is for the network's operator to decide; for an exam, check the exam's own host "
    "by its name."
)
OPERATORS_DECISION: Final = (
    "Decrypting other sites is your decision; only the hosts of exams and courses have to be exempt from it."
)
OF_EXAMS: Final = frozenset({Category.EXAM, Category.LMS})
"""Categories whose hosts an operator is always asked to exempt."""

_ABUSED: Final = N_(
    "Do not use this network or this device for the exam: the CA that signs here is known to be abused. Have its root "
    "removed from the device first."
)
_OUTSIDE: Final = N_("Traffic is decrypted outside the institution: use another network for the exam.")
_SCANNED_HERE: Final = N_(
    "Software on this device decrypts traffic: before an exam, turn off its HTTPS scanning for the exam's host."
)
WITHOUT_EXAM: Final[Mapping[Text | Plural, Text]] = {
    CHECK_BY_NAME: N_(
        "Whether other sites are decrypted is for the network's operator to decide; check the hosts that matter by "
        "their names."
    ),
    _ABUSED: N_(
        "Do not use this network or this device: the CA that signs here is known to be abused. Have its root removed "
        "from the device first."
    ),
    _OUTSIDE: N_("Traffic is decrypted outside the institution: use another network."),
    _SCANNED_HERE: N_(
        "Software on this device decrypts traffic: turn off its HTTPS scanning for the hosts that matter."
    ),
    table.NOT_THIS_NETWORK: N_("Do not use this network: something on it signs in the name of a public CA."),
    table.NOT_THE_SERVER: N_("Do not use this network: what answers on it is not the server. Use another one."),
    table.NOT_TAKEN: N_(
        "Do not use this network: it shows certificates that no browser accepts. If another network shows them too, "
        "tell your institution."
    ),
    table.NOT_LOGGED: N_(
        "Do not use this network: it shows certificates that are in no public log. If another network shows them too, "
        "tell your institution."
    ),
    table.ANOTHER_SESSION: N_(
        "Do not use this network: something between this device and the server ends the encryption. If another network "
        "does so too, tell your institution."
    ),
    table.AGAIN: N_("Try again. If it keeps happening, use another network and tell your institution."),
    table.OPEN_AGAIN: N_("Open the page again, or use Firefox, which reports the whole chain."),
}
"""What advice to the student says where nothing is known of an exam."""

_BY_MANAGER: Final[dict[ManagedBy, Advice]] = {
    ManagedBy.INSTITUTION: {
        _STUDENT: N_("Only the network's operator can change this: ask its IT to exempt {hosts} from TLS decryption."),
        _IT: "Exempt from TLS decryption: {hosts}.",
    },
    ManagedBy.ENDPOINT_OWNER: {
        _STUDENT: N_("Software on this device decrypts traffic: turn off its HTTPS scanning for {hosts}."),
        _IT: "Exempt from HTTPS scanning on the device: {hosts}.",
    },
    ManagedBy.DEVELOPER: {
        _STUDENT: N_("A debugging proxy decrypts traffic: stop it or remove it from the proxy settings."),
        _IT: "A debugging proxy decrypts traffic: find where it runs and stop it.",
        _DEVELOPER: "Stop the debugging proxy, or exempt the hosts of exams from decryption.",
    },
    ManagedBy.ATTACKER: {
        _STUDENT: _ABUSED,
        _IT: "Remove the CA from the device's trusted roots and find the software that installed it.",
    },
    ManagedBy.STATE: {
        _STUDENT: _OUTSIDE,
        _IT: "Traffic is decrypted outside this network; a tunnel the state does not decrypt would avoid it.",
    },
    ManagedBy.UNKNOWN: {
        _STUDENT: table.NOT_THIS_NETWORK,
        _IT: "Something on this network decrypts traffic in the name of a public CA: find it and stop it.",
    },
}
"""Who manages the interceptor of hosts that have to be exempt."""
_ATTACKERS: Final = frozenset({ManagedBy.ATTACKER, ManagedBy.UNKNOWN})
"""Managers on whose network nobody should sign in, or do anything else."""
_EXEMPTING: Final = frozenset({ManagedBy.INSTITUTION, ManagedBy.ENDPOINT_OWNER})
"""Managers who can exempt hosts, and stay."""
_OF_OTHER_HOSTS: Final[dict[ManagedBy, Advice]] = {
    ManagedBy.INSTITUTION: {_STUDENT: CHECK_BY_NAME, _IT: OPERATORS_DECISION},
    ManagedBy.ENDPOINT_OWNER: {
        _STUDENT: _SCANNED_HERE,
        _IT: "Exempt the hosts of exams and courses from HTTPS scanning on the device.",
    },
}
"""The same, of all other hosts, where it differs."""
_BY_OUTCOME: Final[dict[str, Text]] = {
    "dns-failure": N_("Check the spelling of {hosts}, and that this device is online."),
    "connect-refused": N_("{hosts} refused the connection: check the host and port, and whether the service is up."),
    "connect-timeout": N_("Nothing answered: a firewall may drop this traffic; ask the network's IT to allow it."),
    "unreachable": N_("The network has no route to the host: check the connection."),
    "no-address": N_("The host has no address of this family (IPv4 or IPv6); it may have one of the other family."),
    "proxy-unreachable": N_(
        "The proxy did not answer: check its address, its type (http, https or socks5) and whether it is running."
    ),
    "proxy-auth-required": N_("The proxy requires a user name and password: add them to the proxy URL."),
    "proxy-auth-rejected": N_("The proxy did not accept the user name and password: correct them in the proxy URL."),
    "proxy-auth-unsupported": N_(
        "The proxy requires an authentication scheme that is not supported here ({schemes}): ask "
        "its administrator to allow Basic, or to exempt this host from authentication; for NTLM and Negotiate, run "
        "px-proxy or cntlm on this device, which sign in, and set it as the proxy."
    ),
    "proxy-refused": N_("The proxy refused to connect there: ask its administrator to allow this host."),
    "proxy-redirected": N_(
        "The proxy answered with a page of its own instead of a connection: open a browser, sign in if "
        "asked, and check again; if it is a block page, ask the proxy's administrator to allow this host."
    ),
    "proxy-gateway": N_(
        "The proxy could not reach the host: try again; if it keeps failing, ask its administrator "
        "whether it can resolve and reach this host."
    ),
    "proxy-protocol": N_("The proxy's answer violates its protocol: check that the proxy URL names a proxy."),
    "proxy-other-kind": N_(
        "The proxy speaks a different protocol from the one in its URL: check whether it is http, https or socks5."
    ),
    "proxy-closed": N_(
        "The proxy closed the connection before it answered: check that its type matches its URL and that "
        "it allows this device."
    ),
    "proxy-tls": N_("No TLS connection to the proxy was possible: check whether its URL should begin with http://."),
    "proxy-untrusted": N_(
        "The proxy could not prove its identity, so the user name and password were not sent to it: ask "
        "its administrator which certificate it should have."
    ),
    "proxy-unknown": N_(
        "Which proxy to use could not be determined from {settings}: set the proxy yourself "
        "(--proxy), or install the extra 'pac' to run a PAC file."
    ),
    "no-route": N_("Only the route through a proxy was requested, and no proxy is set for this host: set one."),
    "not-tls": N_("The server that answered does not speak TLS: check the port, or sign in to the network first."),
    "resources": N_("This device ran out of sockets or file descriptors: check fewer endpoints at once."),
}
_NOT_TLS_BEHIND_PROXY: Final = N_(
    "The proxy opened the tunnel and then sent something other than TLS, perhaps a page of its own: open a browser, "
    "sign in if asked, and check again."
)
_FAILED: Final = N_("The connection failed before anything could be seen: try again.")
_MACHINE: Final = N_("the settings of this machine")
_FILE: Final = N_("the file {file}")
_PIN_FILE: Final = N_("the pin file")
_PIN_FILE_OF: Final = N_("the pin file {source}")
_ENGLISH: Final = Messages.of(ENGLISH)
_FAULTS: Final = {
    second_try.Outcome.SIZE: "Something in front of {hosts} cannot take a ClientHello of two TCP segments, which "
    "browsers send (ML-KEM): update it or take it out of the path.",
    second_try.Outcome.SIZE_OR_ADDRESS: "{address} did not answer for {hosts}, and a smaller ClientHello at another "
    "address got through: check that address, and for a device that cannot take a ClientHello of two TCP segments.",
    second_try.Outcome.ADDRESS: "{address} did not answer for {hosts}, another address did: repair the connection to "
    "it.",
}
"""What IT can repair where a second connection got what the first did not, whatever the verdict."""


class Remedy(NamedTuple):
    """Advice to one audience, in no language yet, and the hosts it is for: its field `hosts` is open."""

    sentence: Sentence
    hosts: list[str]


def remedies(results: Iterable[Result]) -> dict[Audience, list[Remedy]]:
    """Return the advice by audience, in the order of these results; hosts with the same advice share a sentence."""
    found: dict[Audience, dict[str, Remedy]] = {}
    for result in results:
        fields = _fields(result)
        for audience, words in _unfilled(result).items():
            sentence = Sentence(Text(words), fields)
            same = _ENGLISH.say(sentence.with_fields(hosts="{hosts}"))
            remedy = found.setdefault(audience, {}).setdefault(same, Remedy(sentence, []))
            remedy.hosts.append(result.endpoint.host)
    return {audience: list(by_words.values()) for audience, by_words in found.items()}


def advise(
    results: Iterable[Result], *, listed: Callable[[Iterable[str]], str] = ", ".join
) -> dict[Audience, list[str]]:
    """Return the advice of `remedies` in English; `listed` makes one text of the hosts of a sentence."""
    return {
        audience: [_ENGLISH.say(sentence.with_fields(hosts=listed(dict.fromkeys(hosts)))) for sentence, hosts in every]
        for audience, every in remedies(results).items()
    }


def has_to_be_exempt(result: Result) -> bool:
    """Whether its host is one that an operator is asked to exempt from decryption."""
    return result.named or result.endpoint.category in OF_EXAMS


def is_to_exempt(result: Result) -> bool:
    """Whether somebody is asked to exempt its host: who manages an interceptor that is nobody's attack."""
    party = result.attribution
    return party is not None and has_to_be_exempt(result) and party.managed_by in _EXEMPTING and not is_attack(result)


def is_attack(result: Result) -> bool:
    """Whether it looks like an attack, from `probable` on: nobody but an attacker needs what was seen, or signs it."""
    party = result.attribution
    return party is not None and (party.managed_by in _ATTACKERS or bool(_attack(result)))


def _attack(result: Result) -> Advice:
    """The advice on an attack: of the rule that decided, else of one that fits as well."""
    if result.attribution is None:
        return {}
    return table.RULE_OF[result.reason].attack or table.attack(Facts(result.findings))


def _unfilled(result: Result) -> Advice:
    """Advice by audience on one result; `{hosts}` stands for its host. Empty when there is nothing to do.

    Where all is clean, it is for IT alone: a fault that a second connection got around. Where a portal answers, signing
    in takes precedence over all other advice but that on an attack.
    """
    rule, facts, advice = table.RULE_OF[result.reason], Facts(result.findings), dict[Audience, str]()
    if rule.is_outcome:
        advice = {_STUDENT: _of_outcome(result.observation)}
    elif result.verdict is not Verdict.CLEAN:
        advice = dict(_by_rule(result, rule, facts))
        if facts.portal and not is_attack(result):
            advice = {**(advice if result.attribution else {}), _STUDENT: SIGN_IN_FIRST}
    faults = [_FAULTS[outcome] for outcome in _FAULTS if facts.has(outcome)]
    if faults:
        advice[_IT] = " ".join((*filter(None, [advice.get(_IT)]), *faults))
    return advice


def _fields(result: Result) -> dict[str, str | int | Sentence]:
    """Return the fields of advice on a result, but `hosts`."""
    observation, file = result.observation, result.observation.proxy_file
    others = (one.address for one in observation.earlier if one.address not in {None, observation.address})
    schemes = () if observation.proxy is None else observation.proxy.auth_schemes
    sources = (finding.data.get("source") for finding in result.findings if finding.check == pin.ID)
    source = next(filter(None, sources), None)
    return {
        "address": next(others, None) or "An address",
        "file": Sentence(_PIN_FILE) if source is None else Sentence(_PIN_FILE_OF, {"source": source}),
        "remediation": _remediation(result) or "",
        "schemes": ", ".join(schemes) or "GSSAPI",
        "settings": Sentence(_MACHINE) if file is None else Sentence(_FILE, {"file": file}),
    }


def _by_rule(result: Result, rule: Rule, facts: Facts) -> Advice:
    party = result.attribution
    if party is None:
        if rule.advice_stale_pins and facts.has(chain.Outcome.ACCEPTED):
            return rule.advice_stale_pins
        return rule.advice or {_STUDENT: table.ELSEWHERE}
    attack = _attack(result)
    if rule.advice and not rule.asks_party and not attack and party.product is None:
        return rule.advice
    advice, remediation = dict(_BY_MANAGER[party.managed_by]), _remediation(result)
    if party.managed_by is ManagedBy.ATTACKER:
        advice[_IT] = "{remediation}" if remediation else advice[_IT]
    elif not has_to_be_exempt(result):
        advice |= _OF_OTHER_HOSTS.get(party.managed_by, {})
    elif remediation is not None:
        advice[_IT] = "{remediation} Hosts: {hosts}."
    return {**advice, **attack}


def _remediation(result: Result) -> str | None:
    """The product's own way to exempt a host, where the catalogue knows it."""
    if result.attribution is None or result.attribution.product is None:
        return None
    marks = (finding.data for finding in result.findings if finding.check == known_interceptor.ID)
    return next((data.get("remediation") for data in marks), None)


def _of_outcome(observation: Observation) -> Text:
    """What to do where no certificate was seen."""
    if observation.outcome is Outcome.NOT_TLS and observation.proxy is not None:
        return _NOT_TLS_BEHIND_PROXY
    return _BY_OUTCOME.get(observation.outcome, _FAILED)
