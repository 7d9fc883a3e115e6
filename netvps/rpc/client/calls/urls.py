"""Calls of UrlService. Sessions are named NAME or NAME.OWNER."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import url_pb2 as pb
from netvps.domain.http.stored import Audience
from netvps.rpc.client.calls.call import Pages, Unary, new_request_id
from netvps.rpc.convert import names
from netvps.rpc.convert.http.urls import AUDIENCE, stored_url_from_proto, url_from_proto, url_name
from netvps.rpc.convert.times import time_to_proto

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from netvps.domain.http.site import Url
    from netvps.domain.http.stored import NamedUrl


def get_url(session: str, port: int | None = None) -> Unary[Url]:
    """The URL of a port of a session; None is its main port."""
    return Unary("UrlService/GetUrl", pb.GetUrlRequest(name=url_name(session, port)), pb.Url, url_from_proto)


def create_url_login(session: str, port: int | None = None) -> Unary[str]:
    """The same URL in a form that logs a browser in as the caller, once, within a minute."""
    request = pb.CreateUrlLoginRequest(name=url_name(session, port))
    return Unary("UrlService/CreateUrlLogin", request, pb.UrlLogin, lambda login: str(login.uri))


def list_urls(session: str = "") -> Pages[NamedUrl]:
    """The stored URLs of a session; without one, of all sessions of the caller."""
    parent = names.session_name(session) if session else names.user_name(names.ME)
    return Pages(
        "UrlService/ListUrls",
        pb.ListUrlsRequest(parent=parent),
        pb.ListUrlsResponse,
        lambda page: map(stored_url_from_proto, page.urls),
    )


def put_url(
    session: str,
    port: int,
    audience: Audience = Audience.PRIVATE,
    *,
    host: str = "",
    users: Sequence[str] = (),
    expire_time: datetime | None = None,
) -> Unary[NamedUrl]:
    """Stores who may open a port, at its own host or at another one; changes an earlier one."""
    url = pb.Url(
        name=url_name(session, host or port),
        port=port,
        audience=AUDIENCE.to_proto(audience),
        users=users,
        expire_time=time_to_proto(expire_time) if expire_time else None,
    )
    request = pb.UpdateUrlRequest(url=url, request_id=new_request_id())
    return Unary("UrlService/UpdateUrl", request, pb.Url, stored_url_from_proto)


def delete_url(session: str, url: str) -> Unary[NamedUrl]:
    """Ends a stored URL: a port, a host or the id of a link."""
    request = pb.DeleteUrlRequest(name=url_name(session, url), request_id=new_request_id())
    return Unary("UrlService/DeleteUrl", request, pb.Url, stored_url_from_proto)


def create_url_link(session: str, expire_time: datetime, port: int | None = None) -> Unary[tuple[NamedUrl, str]]:
    """Makes a link to a port for someone without an account; returns it with its secret URL."""
    request = pb.CreateUrlLinkRequest(
        name=url_name(session, port), expire_time=time_to_proto(expire_time), request_id=new_request_id()
    )
    return Unary(
        "UrlService/CreateUrlLink", request, pb.UrlLink, lambda link: (stored_url_from_proto(link.url), str(link.uri))
    )
