"""`detector-collect platform`: learning platforms from which staff of institutions come in.

Room: detector_collect.cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.cli import common, options
from detector.session.seams import utc_now
from detector_collect.review.access import lti
from detector_collect.review.access.lti import Platform
from detector_collect.review.access.permissions import RuleError

from .common import NAME, database, listed, with_store, write_rows

if TYPE_CHECKING:
    from detector_collect.store.database import Store


@options.group("detector-collect platform list", sections={"Change": ("add", "remove"), "Read": ("list",)})
def platform() -> None:
    """Manage learning platforms (LTI 1.3).

    Each deployment lets the staff of one institution in.
    """


@platform.subcommand(
    "detector-collect platform add north https://lms.example.edu review-room 1"
    " --authorization-url https://lms.example.edu/mod/lti/auth.php"
    " --keys-url https://lms.example.edu/mod/lti/certs.php"
)
def add(  # noqa: PLR0913 - one parameter per option
    *,
    institution: str = options.argument(type=NAME),
    issuer: str = options.argument(),
    client: str = options.argument(),
    deployment: str = options.argument(),
    authorization_url: str = options.service(
        "--authorization-url", "Where its users get their token.", required=True, metavar="URL"
    ),
    keys_url: str = options.service("--keys-url", "Its key set.", required=True, metavar="URL"),
    database: str | None = database,
) -> int:
    """Let the staff of an institution in from a deployment.

    The platform's administrator states ISSUER, CLIENT, DEPLOYMENT and both addresses.
    """

    async def work(store: Store) -> None:
        async with store.begin() as connection:
            new = Platform(issuer, client, deployment, institution, authorization_url, keys_url)
            await lti.add_platform(connection, new, now=utc_now())

    with_store(database, work)
    return common.CLEAN


@platform.subcommand("detector-collect platform remove https://lms.example.edu review-room 1")
def remove(
    *,
    issuer: str = options.argument(),
    client: str = options.argument(),
    deployment: str = options.argument(),
    database: str | None = database,
) -> int:
    """Let nobody in from a deployment.

    Ends the sessions of that institution's staff.
    """

    async def work(store: Store) -> None:
        async with store.begin() as connection:
            known = await lti.find_platforms(connection, issuer, client)
            found = [one for one in known if one.deployment == deployment]
            if not found:
                raise RuleError("There is no such deployment. List them with `detector-collect platform list`.")
            await lti.remove_platform(connection, found[0], now=utc_now())

    with_store(database, work)
    return common.CLEAN


@platform.subcommand("detector-collect platform list --json", name="list")
def list_(*, database: str | None = database, out: options.Output = listed) -> int:
    """List deployments."""

    async def work(store: Store) -> list[Platform]:
        async with store.connect() as connection:
            return await lti.find_platforms(connection)

    return write_rows([one._asdict() for one in with_store(database, work)], out)
