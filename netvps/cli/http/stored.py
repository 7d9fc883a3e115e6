"""`netvps url add`, `ls` and `rm`: who else may open a port, and hosts of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import idna

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import SESSION, USER
from netvps.cli.ui.output import Column, View, emit, format_option, note
from netvps.cli.ui.parse import UNTIL
from netvps.display.units import age, moment_words
from netvps.domain.http.site import MAIN_PORT, MAX_PORT

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.http.stored import NamedUrl


class HostName(click.ParamType[str]):
    """A host in any script; its value is in lower case and ASCII, as browsers send it."""

    name = "HOST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The host. Fails if it has no form in ASCII."""
        text = str(value).strip().lower().removesuffix(".")
        try:
            return text if text.isascii() else idna.encode(text, uts46=True).decode()
        except idna.IDNAError as error:
            self.fail(f"{value!r} is no name of a host ({error}): give for example shop.example", param, ctx)


def _view() -> View[NamedUrl]:
    from netvps.cli.session.sessions import to_json

    return View(
        name=lambda named: f"{named.session}/urls/{named.url.id}",
        columns=(
            Column("SESSION", lambda named: str(named.session)),
            Column("ID", lambda named: named.url.id),
            Column("PORT", lambda named: str(named.url.port)),
            Column("WHO", audience_words),
            Column("UNTIL", lambda named: moment_words(end) if (end := named.url.expire_time) else ""),
            Column("URL", lambda named: named.uri),
            Column("AGE", lambda named: age(named.url.create_time), wide=True),
        ),
        json=to_json,
    )


def audience_words(named: NamedUrl) -> str:
    """Who may open a URL, in words."""
    if named.url.users:
        return " ".join(named.url.users)
    return named.url.audience.lower()


def sentence(named: NamedUrl) -> str:
    """A stored URL in a line of `netvps show`: "https://shop.example/ (port 8080, public) until 2026-01-02 03:04"."""
    end = named.url.expire_time
    return f"{named.uri} (port {named.url.port}, {audience_words(named)})" + (
        f" until {moment_words(end)}" if end else ""
    )


@click.command("add")
@click.argument("name", type=SESSION)
@click.argument("port", type=click.IntRange(1, MAX_PORT), default=MAIN_PORT)
@click.option("--name", "host", type=HostName(), default="", metavar="HOST", help="Serve it at this host, too.")
@click.option("--public", is_flag=True, help="Anyone may open it.")
@click.option("--members", is_flag=True, help="Every user who is logged in may open it.")
@click.option("--share", "users", type=USER, multiple=True, metavar="USER", help="This user may; may be repeated.")
@click.option("--until", type=UNTIL, default=None, metavar="TIME", help="When it ends: 2h, 7d, or a date and time.")
@format_option
def add(
    *,
    name: str,
    port: int,
    host: str,
    public: bool,
    members: bool,
    users: tuple[str, ...],
    until: datetime | None,
    form: str,
) -> None:
    """Let more people open a port of a session, or serve it at a host of its own; again to change that.

    Whoever may log in to the session may open it in any case. HOST has to lead to the server, or to the proxy before
    it. `netvps url rm` ends it at once, and what was opened by it.

    \b
    Examples: netvps url add dev1 3000 --share bob
              netvps url add dev1 --name shop.example --public
    """  # noqa: D301 — Click means the character
    from netvps.domain.http.stored import Audience

    if public + members + bool(users) > 1:
        raise click.UsageError("--public, --members and --share exclude each other: give one of them")
    audience = Audience.PUBLIC if public else Audience.MEMBERS if members else Audience.PRIVATE
    audience = Audience.USERS if users else audience
    made = client().put_url(name, port, audience, host=host, users=users, expire_time=until)
    if form in {"table", "wide"}:
        emit(made.uri)
        note(sentence(made))
    else:
        _view().print_one(made, form)


@click.command("ls")
@click.argument("name", type=SESSION, default="", metavar="[NAME]")
@format_option
def ls(name: str, form: str) -> None:
    """List the URLs and links that were added; without NAME those of all your sessions.

    \b
    Examples: netvps url ls
              netvps url ls dev1 -o wide
    """  # noqa: D301 — Click means the character
    found = list(client().list_urls(name))
    if not found and form in {"table", "wide"}:
        note("none was added: whoever may log in to a session may open its ports; see netvps url add --help")
    _view().print_all(found, form)


@click.command("rm")
@click.argument("name", type=SESSION)
@click.argument("url", type=HostName(), metavar="ID")
def rm(name: str, url: str) -> None:
    """End an added URL or a link; what was opened by it ends, too.

    ID is a port, a host, or the id of a link, as `netvps url ls` prints it.

    \b
    Examples: netvps url rm dev1 3000
              netvps url rm dev1 shop.example
    """  # noqa: D301 — Click means the character
    emit(client().delete_url(name, url).url.id)
