"""Operations of admins for the walk: people, environments, logins to registries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from netvps.domain.access.accounts import Role
from netvps.domain.access.sharing import ShareRole
from tests.e2e.kills.faulty import until
from tests.e2e.system import unique

if TYPE_CHECKING:
    from tests.e2e.kills.faulty import Faulty

ADMIN_PASSES: Final = {
    "add_user": ["access.user.before_commit", "access.user.after_commit"],
    "choose_image": ["image.default.before_commit", "image.default.after_commit"],
    "log_in_to_registry": ["registry.login.before_commit", "registry.login.after_commit"],
    "share_session": ["share.put.before_commit", "share.put.after_commit"],
    "unshare_session": ["share.remove.before_commit", "share.remove.after_commit"],
    "let_share_end": ["share.expire.before_commit", "share.expire.after_commit"],
    "log_out_of_registry": ["registry.logout.before_commit", "registry.logout.after_commit"],
}
"""Operation → the points that it passes."""


class AdminStories:
    """A part of Stories."""

    system: Faulty

    def _running(self) -> str:
        """A session that runs."""
        raise NotImplementedError

    def add_user(self, point: str, mode: str) -> None:
        """A person is added, once."""
        name = unique("u")
        with self.system.struck(point, mode):
            self.system.answered(lambda client: client.create_user(name, Role.USER))
        assert [user.name for user in self.system.answered(lambda client: list(client.list_users()))].count(name) == 1

    def choose_image(self, point: str, mode: str) -> None:
        """The default environment is the one that was chosen; sessions of the walk name theirs."""
        chosen = f"{unique('image')}:1"
        with self.system.struck(point, mode):
            self.system.answered(lambda client: client.update_default_image(chosen))
        assert self.system.answered(lambda client: client.get_default_image()).reference == chosen
        self.system.answered(lambda client: client.update_default_image(""))

    def share_session(self, point: str, mode: str) -> None:
        """A session is shared with a user, once."""
        name, user = self._running(), self._new_user()
        with self.system.struck(point, mode):
            self.system.answered(lambda client: client.share_session(name, user, ShareRole.USE))
        assert self._shared_with(name).count(user) == 1

    def unshare_session(self, point: str, mode: str) -> None:
        """A share that is ended is gone."""
        name, user = self._running(), self._new_user()
        self.system.answered(lambda client: client.share_session(name, user, ShareRole.USE))
        with self.system.struck(point, mode):
            self.system.answered(lambda client: client.unshare_session(name, user))
        assert user not in self._shared_with(name)

    def let_share_end(self, point: str, mode: str) -> None:
        """A share ends at its time, also if the server dies then."""
        name, user = self._running(), self._new_user()
        with self.system.struck(point, mode):
            end = datetime.now(UTC) + timedelta(seconds=2)
            self.system.answered(lambda client: client.share_session(name, user, ShareRole.USE, end))
        until("the share ends", lambda: user not in self._shared_with(name))

    def _new_user(self) -> str:
        name = unique("u")
        self.system.answered(lambda client: client.create_user(name, Role.USER))
        return name

    def _shared_with(self, name: str) -> list[str]:
        return [named.share.user for named in self.system.answered(lambda client: list(client.list_shares(name)))]

    def log_in_to_registry(self, point: str, mode: str) -> None:
        """A login that is stored is there, once."""
        host = f"{unique('registry')}.example"
        with self.system.struck(point, mode):
            self.system.answered(lambda client: client.update_registry_login(host, "puller", "secret"))
        assert self._hosts().count(host) == 1

    def log_out_of_registry(self, point: str, mode: str) -> None:
        """A login that is removed is gone."""
        host = f"{unique('registry')}.example"
        self.system.answered(lambda client: client.update_registry_login(host, "puller", "secret"))
        with self.system.struck(point, mode):
            self.system.answered(lambda client: client.delete_registry_login(host))
        assert host not in self._hosts()

    def _hosts(self) -> list[str]:
        return [login.host for login in self.system.answered(lambda client: list(client.list_registry_logins()))]
