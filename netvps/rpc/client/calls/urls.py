"""Calls of UrlService. Sessions are named NAME or NAME.OWNER."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import url_pb2 as pb
from netvps.rpc.client.calls.call import Unary
from netvps.rpc.convert.http.urls import url_from_proto, url_name

if TYPE_CHECKING:
    from netvps.domain.http.site import Url


def get_url(session: str, port: int | None = None) -> Unary[Url]:
    """The URL of a port of a session; None is its main port."""
    return Unary("UrlService/GetUrl", pb.GetUrlRequest(name=url_name(session, port)), pb.Url, url_from_proto)


def create_url_login(session: str, port: int | None = None) -> Unary[str]:
    """The same URL in a form that logs a browser in as the caller, once, within a minute."""
    request = pb.CreateUrlLoginRequest(name=url_name(session, port))
    return Unary("UrlService/CreateUrlLogin", request, pb.UrlLogin, lambda login: str(login.uri))
