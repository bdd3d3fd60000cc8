"""Tests of detector.pins.load and of the shipped pin files. Room: pins; files in a temporary directory only."""

from __future__ import annotations

import base64
import datetime as dt
import tempfile
import tomllib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import PinFileError
from detector.knowledge.data_set import shipped as shipped_data
from detector.model import Category, RecordedIdentity
from detector.model.toml_files import MAX_BYTES
from detector.pins import Severity, lint, load, shipped
from detector.pins.load import _ENDPOINT_KEYS, MAX_ENDPOINTS

DATA = shipped_data()
LABELS = frozenset({"ISRG Root X1", "ISRG Root X2"})
PIN = "sha256/" + base64.b64encode(bytes(32)).decode()
ENDPOINT = '[[endpoint]]\nhost = "exam.example.edu"\n'
GOOD = f"schema = 1\n{ENDPOINT}"


def write(folder: Path, text: str, name: str = "pins.toml") -> Path:
    """Save a pin file and give its path."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def ca_certificate() -> x509.Certificate:
    """Make a self-signed certificate to declare as a private root."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Campus CA")])
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day + dt.timedelta(days=365))
    return builder.sign(key, hashes.SHA256())


def test_reads_every_field(tmp_path: Path) -> None:
    """A file that uses the whole form comes out as one endpoint that says all of it."""
    ca = ca_certificate()
    (tmp_path / "campus-ca.pem").write_bytes(b"Campus CA\n" + ca.public_bytes(Encoding.PEM))
    path = write(
        tmp_path,
        f"""
        schema = 1
        name = "exam-platform"
        updated = 2026-11-01
        expires = 2027-02-01
        [[endpoint]]
        host = "Exam.Example.EDU."
        port = 8443
        category = "exam"
        pins = ["{PIN}"]
        backup_pins = ["sha256:{"01" * 32}"]
        certificates = ["sha256:{"02" * 32}"]
        roots = ["ISRG Root X1"]
        operator = "Example Exams Ltd"
        private_roots = ["campus-ca.pem"]
        witness = "ed25519/{PIN.removeprefix("sha256/")}"
        witness_is_end = true
        identity = "public"
        address = "127.0.0.1"
        """,
    )
    pin_set = load([path], root_labels=LABELS)
    assert (pin_set.name, pin_set.updated, pin_set.expires) == (
        "exam-platform",
        dt.date(2026, 11, 1),
        dt.date(2027, 2, 1),
    )
    assert pin_set.sources == (str(path),)
    (endpoint,) = pin_set.endpoints
    assert endpoint.name == "exam.example.edu:8443"
    assert endpoint.category is Category.EXAM
    assert endpoint.pins == (bytes(32),)
    assert endpoint.backup_pins == (b"\1" * 32,)
    assert endpoint.certificates == (b"\2" * 32,)
    assert endpoint.roots == ("ISRG Root X1",)
    assert endpoint.operator == "Example Exams Ltd"
    assert endpoint.private_roots == (ca.public_bytes(Encoding.DER),)
    assert endpoint.witness == (bytes(32),)
    assert endpoint.witness_is_end
    assert endpoint.identity is RecordedIdentity.PUBLIC
    assert (endpoint.canary, endpoint.runs_ca) == (False, False)
    assert endpoint.address == ("127.0.0.1", 8443)
    assert endpoint.expires == dt.date(2027, 2, 1)
    assert endpoint.source == str(path)


def test_documented_example_is_a_pin_file(tmp_path: Path) -> None:
    """The page on pin files shows a file that is read, with every key that a pin file may have."""
    page = (Path(__file__).parents[2] / "docs" / "pin-files.md").read_text("utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "campus-ca.pem").write_bytes(ca_certificate().public_bytes(Encoding.PEM))
    (endpoint,) = load(write(tmp_path, example), root_labels=LABELS).endpoints
    assert (endpoint.identity, endpoint.witness_is_end) == (RecordedIdentity.PUBLIC, True)
    assert set(tomllib.loads(example)["endpoint"][0]) == set(_ENDPOINT_KEYS)


def test_least_file_has_defaults(tmp_path: Path) -> None:
    """Host alone is enough; the file's name stands in for a missing name."""
    pin_set = load(write(tmp_path, GOOD), root_labels=())
    assert pin_set.name == "pins"
    assert pin_set.endpoints[0].port == 443
    assert pin_set.endpoints[0].category is Category.OTHER
    assert pin_set.endpoints[0].identity is RecordedIdentity.UNKNOWN


def test_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    assert load(write(tmp_path, "\ufeff" + GOOD), root_labels=()).endpoints


def test_directory_is_read_in_order_and_merged(tmp_path: Path) -> None:
    """Every *.toml counts, nothing else; the earliest expiry is the set's, each endpoint keeps its own."""
    write(tmp_path, 'schema = 1\nname = "b"\nexpires = 2027-01-01\n[[endpoint]]\nhost = "b.example"\n', "b.toml")
    write(tmp_path, 'schema = 1\nname = "a"\nexpires = 2027-03-01\n[[endpoint]]\nhost = "a.example"\n', "a.toml")
    write(tmp_path, "not a pin file", "readme.txt")
    pin_set = load(tmp_path, root_labels=())
    assert pin_set.name == "a, b"
    assert [endpoint.host for endpoint in pin_set.endpoints] == ["a.example", "b.example"]
    assert pin_set.expires == dt.date(2027, 1, 1)
    assert pin_set.endpoints[0].expires == dt.date(2027, 3, 1)


@pytest.mark.parametrize(
    ("text", "place", "advice"),
    [
        ("", "schema", "schema = 1"),
        ("schema = 2\n" + ENDPOINT, "schema", "schema = 1"),
        ("schema = true\n" + ENDPOINT, "schema", "schema = 1"),
        ("schema = 1\n", "endpoint", "[[endpoint]]"),
        ("schema = 1\nendpoint = []\n", "endpoint", "[[endpoint]]"),
        ("schema = 1\nendpoint = [3]\n", "endpoint", "[[endpoint]]"),
        ('schema = 1\nexpire = "x"\n' + ENDPOINT, "'expire'", "expires"),
        ('schema = 1\nexpires = "2027-01-01"\n' + ENDPOINT, "expires", "without quotes"),
        ("schema = 1\nexpires = 2027-01-01T00:00:00Z\n" + ENDPOINT, "expires", "without quotes"),
        ("schema = 1\nname = 3\n" + ENDPOINT, "name", "name ="),
        ('schema = 1\nname = "a\\u001b[2J"\n' + ENDPOINT, "name", "name ="),
        ("schema = 1\n[[endpoint]]\nport = 443\n", "endpoint number 1: host", "host ="),
        ('schema = 1\n[[endpoint]]\nhots = "a"\n', "endpoint number 1: 'hots'", "host"),
        ("schema = 1\n[[endpoint]]\nhost = 3\n", "endpoint number 1: host", "host ="),
        ('schema = 1\n[[endpoint]]\nhost = "https://a.example"\n', "endpoint number 1: host", "host name alone"),
        ('schema = 1\n[[endpoint]]\nhost = "a.example:443"\n', "endpoint number 1: host", "host name alone"),
        (GOOD + "port = 0", "port", "without quotes"),
        (GOOD + "port = true", "port", "without quotes"),
        (GOOD + 'port = "443"', "port", "without quotes"),
        (GOOD + 'category = "exams"', "endpoint exam.example.edu:443: category", "exam, lms"),
        (GOOD + "category = []", "category", "exam, lms"),
        (GOOD + 'prot = 1\nport = 8443\nhost2 = "x"', "endpoint exam.example.edu:8443: 'prot'", "port"),
        (GOOD + 'witnes = "ed25519/AAAA"', "'witnes'", "Did you mean witness?"),
        (GOOD + 'witness = "ed25519/AAAA"', "witness[0]", "detector witness keygen"),
        (GOOD + 'witness = ["sha256/AAAA"]', "witness[0]", "ed25519/<base64>"),
        (GOOD + "witness = 1", "witness", "Write witness ="),
        (GOOD + 'quic = "yes"', "quic", "Write quic = true"),
        (GOOD + 'witness_is_end = "yes"', "witness_is_end", "Write witness_is_end = true"),
        (GOOD + 'identity = "stated"', "endpoint exam.example.edu:443: identity: 'stated' is not known", '"public"'),
        (GOOD + 'identity = "Public"', "identity: 'Public' is not known", 'identity = "unknown"'),
        (GOOD + "identity = true", "exam.example.edu:443: identity", '"public"'),
        (GOOD + "identities = []", "'identities'", "Did you mean identity?"),
        (GOOD + "canary = true", "endpoint exam.example.edu:443: canary", "roots = ["),
        (GOOD + "canary = false", "canary", "Remove it"),
        (GOOD + "runs_ca = true", "endpoint exam.example.edu:443: runs_ca", "Remove it"),
        ("schema = 1\n[[endpoint]]\ncanary = true\n", "endpoint number 1: canary", "Remove it"),
        (GOOD + f'pins = "{PIN}"', "exam.example.edu:443: pins", "pins = ["),
        (GOOD + "pins = [1]", "pins", "pins = ["),
        (GOOD + 'pins = ["sha256/AAAA"]', "exam.example.edu:443: pins[0]", "SHA-256"),
        (GOOD + f'backup_pins = ["{PIN}", "?"]', "backup_pins[1]", "SHA-256"),
        (GOOD + 'certificates = ["sha256:00"]', "certificates[0]", "SHA-256"),
        (GOOD + 'roots = ["ISRG Root X11"]', "roots[0]", '"ISRG Root X1"'),
        (GOOD + 'roots = ["zzz"]', "roots[0]", "certifi"),
        (GOOD + 'operator = ""', "operator", "leave it out"),
        (GOOD + "address = 1", "address", "127.0.0.1:8443"),
        (GOOD + 'address = "a b"', "address", "HOST:PORT"),
        (GOOD + 'private_roots = ["missing.pem"]', "private_roots[0]", "PEM"),
        (GOOD + 'private_roots = ["pins.toml"]', "private_roots[0]", "PEM"),
        (GOOD + 'private_roots = ["bad.pem"]', "private_roots[0]", "PEM"),
        (GOOD + 'private_roots = ["nul\\u0000"]', "private_roots[0]", "PEM"),
        (GOOD + ENDPOINT, "endpoint exam.example.edu:443: host: listed twice", "Keep one"),
        ("schema = ", "not TOML", "Correct"),
        ("schema = " + "[" * 5000, "not TOML", "Correct"),
        ("schema = " + "9" * 5000, "not TOML", "Correct"),
        ("schema = 1\n" + "a." * 40 + "a = 1", "more than 34 parts (at line 2)", "Correct"),
        ('"\\"".' * 40 + "a = 1", "more than 34 parts (at line 1)", "Correct"),
    ],
)
def test_refusal_names_file_place_and_remedy(tmp_path: Path, text: str, place: str, advice: str) -> None:
    """Every mistake is refused with one sentence: which file, which endpoint, which field, and what to do."""
    write(tmp_path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "bad.pem")
    path = write(tmp_path, text)
    with pytest.raises(PinFileError) as caught:
        load([path], root_labels=LABELS)
    assert caught.value.message.startswith(f"{path}:")
    assert place in caught.value.message
    assert advice in caught.value.advice


def test_duplicate_across_files_names_both(tmp_path: Path) -> None:
    """An author who merges two files must see where the two entries are."""
    first, second = write(tmp_path, GOOD, "a.toml"), write(tmp_path, GOOD, "b.toml")
    with pytest.raises(PinFileError) as caught:
        load([first, second], root_labels=())
    assert str(first) in caught.value.message
    assert str(second) in caught.value.message


def test_same_host_on_another_port_is_another_endpoint(tmp_path: Path) -> None:
    """Only host and port together make a duplicate."""
    assert len(load(write(tmp_path, GOOD + ENDPOINT + "port = 8443"), root_labels=()).endpoints) == 2


@pytest.mark.parametrize("name", ["missing.toml", "nul\0.toml"])
def test_unreadable_file_is_refused(tmp_path: Path, name: str) -> None:
    """A pin file that cannot be read never means "no pins"."""
    with pytest.raises(PinFileError, match="cannot be read"):
        load([tmp_path / name], root_labels=())


def test_directory_named_like_a_file_is_refused(tmp_path: Path) -> None:
    """An entry of a directory that cannot be opened is not skipped."""
    (tmp_path / "pins.toml").mkdir()
    with pytest.raises(PinFileError, match=r"pins\.toml: the pin file cannot be read"):
        load([tmp_path], root_labels=())


def test_empty_directory_and_empty_list_are_refused(tmp_path: Path) -> None:
    """Nothing to read is a mistake, not a set without pins."""
    with pytest.raises(PinFileError, match="holds no pin file"):
        load([tmp_path], root_labels=())
    with pytest.raises(PinFileError, match="No pin file"):
        load([], root_labels=())


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """TOML is UTF-8; the message says at which byte it stops being so."""
    path = tmp_path / "latin1.toml"
    path.write_bytes(b"name = '\xfc'")
    with pytest.raises(PinFileError, match=r"not UTF-8 text \(byte 8\)"):
        load([path], root_labels=())


def test_large_files_are_refused(tmp_path: Path) -> None:
    """Neither a pin file nor a private root is read without bound."""
    huge = write(tmp_path, "#" * (MAX_BYTES + 1), "huge.toml")
    with pytest.raises(PinFileError, match="larger than"):
        load([huge], root_labels=())
    with pytest.raises(PinFileError, match="larger than"):
        load([write(tmp_path, GOOD + 'private_roots = ["huge.toml"]')], root_labels=())


def test_too_many_endpoints_are_refused(tmp_path: Path) -> None:
    """More endpoints than one check can visit are not a pin set."""
    for part in range(2):
        hosts = "".join(f'[[endpoint]]\nhost = "h{i}.p{part}.example"\n' for i in range(MAX_ENDPOINTS // 2 + 1))
        write(tmp_path, "schema = 1\n" + hosts, f"{part}.toml")
    with pytest.raises(PinFileError, match=f"{MAX_ENDPOINTS + 2} endpoints"):
        load([tmp_path], root_labels=())


VALUE = st.recursive(
    st.sampled_from(["1", "true", '"exam.example"', "2026-11-01", "1e9", '"a\\nb"', f'"{PIN}"', "nan"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
    max_leaves=4,
)
KEY = st.sampled_from(
    [
        *("host", "port", "category", "pins", "roots", "address", "private_roots", "operator", "other"),
        *("identity", "witness", "witness_is_end", "canary", "runs_ca"),
    ]
)


@given(st.dictionaries(KEY, VALUE, max_size=5))
def test_wrong_types_raise_only_what_is_documented(table: dict[str, str]) -> None:
    """Whatever TOML value stands at whatever key, the reader refuses it as documented or reads one endpoint."""
    with tempfile.TemporaryDirectory() as folder:
        text = "schema = 1\n[[endpoint]]\n" + "\n".join(f"{key} = {value}" for key, value in table.items())
        try:
            pin_set = load([write(Path(folder), text)], root_labels=LABELS)
        except PinFileError as error:
            text = str(error)
        else:
            text = pin_set.endpoints[0].host
    assert text


@given(st.binary(max_size=100))
def test_arbitrary_bytes_raise_only_what_is_documented(data: bytes) -> None:
    """No short run of bytes is a pin file, so each is refused with the file's name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pins.toml"
        path.write_bytes(data)
        with pytest.raises(PinFileError, match=r"pins\.toml"):
            load([path], root_labels=LABELS)


def test_shipped_pins_load_and_cover_the_categories() -> None:
    """What ships names only known roots, sees every category and holds no lint error on its day."""
    pin_set = shipped(DATA, root_labels=DATA.known_roots.labels)
    assert {endpoint.category for endpoint in pin_set.endpoints} == set(Category)
    assert 30 <= len(pin_set.endpoints) <= 45
    assert all(endpoint.operator for endpoint in pin_set.endpoints)
    assert pin_set.updated
    messages = lint(pin_set, at=pin_set.updated, data=DATA, root_labels=DATA.known_roots.labels)
    assert not [message for message in messages if message.severity is Severity.ERROR]


def test_shipped_files_invent_no_pins() -> None:
    """A pin is its operator's promise; none was made, so none is shipped."""
    endpoints = shipped(DATA, root_labels=DATA.known_roots.labels).endpoints
    assert not any(endpoint.pins or endpoint.backup_pins or endpoint.certificates for endpoint in endpoints)


def test_shipped_canaries_can_prove() -> None:
    """Every endpoint with stated roots is a canary; several operators with CAs of their own, in several categories."""
    endpoints = shipped(DATA, root_labels=DATA.known_roots.labels).endpoints
    assert all(endpoint.canary == bool(endpoint.roots) for endpoint in endpoints)
    assert all(endpoint.canary for endpoint in endpoints if endpoint.runs_ca)
    operators = {endpoint.operator for endpoint in endpoints if endpoint.runs_ca}
    assert operators == {"Google", "Amazon Web Services", "Microsoft", "Internet Security Research Group"}
    assert len({endpoint.category for endpoint in endpoints if endpoint.runs_ca}) >= 5
    for operator in operators:
        same = [endpoint for endpoint in endpoints if endpoint.operator == operator and endpoint.canary]
        assert all(endpoint.runs_ca for endpoint in same)


def test_shipped_folder_may_be_named(tmp_path: Path) -> None:
    """The package's own files are the same by whichever path; a copy of them is anybody's and makes no canaries."""
    (source,) = shipped(DATA, root_labels=DATA.known_roots.labels).sources
    named = load(source, root_labels=DATA.known_roots.labels)
    assert named.endpoints == shipped(DATA, root_labels=DATA.known_roots.labels).endpoints
    copy = write(tmp_path, Path(source).read_text("utf-8"), "canaries.toml")
    with pytest.raises(PinFileError, match=r"canaries\.toml: endpoint classroom\.google\.com:443: canary: only"):
        load(copy, root_labels=DATA.known_roots.labels)
