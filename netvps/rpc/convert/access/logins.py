"""Logins with accounts of an OIDC issuer."""

from __future__ import annotations

from datetime import datetime

from netvps.api.v1 import login_pb2 as pb
from netvps.domain.access.accounts import User
from netvps.domain.access.oidc import LoginState, StartedLogin
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.times import duration_from_proto, time_from_proto, time_to_proto
from netvps.rpc.convert.users import user_from_proto, user_to_proto

STATE = EnumPair(LoginState, pb.LoginState, "LOGIN_STATE_")


def started_to_proto(login: StartedLogin) -> pb.StartLoginResponse:
    """Converts all fields."""
    message = pb.StartLoginResponse(
        login_token=login.token,
        verification_uri=login.verification_uri,
        verification_uri_complete=login.verification_uri_complete,
        user_code=login.user_code,
        expire_time=time_to_proto(login.expire_time),
    )
    message.interval.FromMilliseconds(round(login.interval * 1000))
    return message


def started_from_proto(message: pb.StartLoginResponse) -> StartedLogin:
    """Converts all fields."""
    return StartedLogin(
        message.login_token,
        message.user_code,
        message.verification_uri,
        message.verification_uri_complete,
        time_from_proto(message, "expire_time"),
        duration_from_proto(message.interval),
    )


def done_to_proto(user: User, secret: str, expire_time: datetime | None) -> pb.FinishLoginResponse:
    """The answer to a login that is done."""
    return pb.FinishLoginResponse(
        state=STATE.to_proto(LoginState.DONE),
        user=user_to_proto(user),
        secret=secret,
        expire_time=None if expire_time is None else time_to_proto(expire_time),
    )


def finished_from_proto(message: pb.FinishLoginResponse) -> tuple[User, str, datetime] | LoginState:
    """The user, their API key and its end; or how far the login is. Raises InvalidInput."""
    state = STATE.from_proto(message.state, "state")
    if state is not LoginState.DONE:
        return state
    return user_from_proto(message.user), message.secret, time_from_proto(message, "expire_time")
