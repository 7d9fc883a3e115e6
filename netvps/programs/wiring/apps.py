"""Starts the process that serves URLs of sessions, and what decides about its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netvps.gateway.ssh.listener import listen_at
from netvps.gateway.worker.web_messages import SessionChanged, UrlsChanged, WebAnswers
from netvps.process import clock
from netvps.process.account import user_name
from netvps.programs.wiring.gateway_process import GatewayProcess
from netvps.services.http.changes import report_url_changes
from netvps.services.http.served_names import ServedNames
from netvps.services.http.stored_urls import StoredUrls
from netvps.services.http.urls import Urls
from netvps.services.http.visits import Visits
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from netvps.gateway.worker.server import WorkerSocket
    from netvps.services.access.accounts import Access
    from netvps.services.feed import Feed
    from netvps.services.ports import Store, Vault
    from netvps.settings import ServerSettings


class Apps(NamedTuple):
    """The process, and the services of the API that are about it."""

    process: GatewayProcess
    urls: Urls
    stored: StoredUrls


async def start_apps(
    stack: AsyncExitStack,
    settings: ServerSettings,
    worker: WorkerSocket,
    access: Access,
    *,
    store: Store,
    feed: Feed,
    vault: Vault,
) -> Apps:
    """Starts it; `worker` is the socket that it connects to. Raises ConfigError if the address is taken."""
    account = user_name()
    site = settings.site(account)
    visits = Visits(store, clock.now, access, vault, site)
    arguments = ["--url", site.url(site.domain), "--account", account]
    for proxy in settings.apps_proxies.split(",") if settings.apps_proxies else ():
        arguments += ["--proxy", proxy]
    if settings.apps_tls_cert and settings.apps_tls_key:
        arguments += ["--tls-cert", str(settings.apps_tls_cert), "--tls-key", str(settings.apps_tls_key)]
    if settings.apps_acme_dir:
        arguments += ["--acme-dir", str(settings.apps_acme_dir)]
    sock = listen_at(
        settings.apps_listen, settings.apps_port, "cannot listen for the URLs of sessions on", "--apps-port"
    )
    stored = StoredUrls(store, clock.now, visits, settings.public_names)
    await stored.expire()  # before anyone is let in
    tasks = await stack.enter_async_context(Tasks())
    names = ServedNames(store, feed, clock.now, site)
    worker.web = WebAnswers(visits, names)
    tasks.start(names.run(), name="served names")
    tasks.start(stored.run(feed), name="ends of URLs")
    changes = report_url_changes(
        feed, lambda uid: worker.notify(UrlsChanged(uid)), lambda uid: worker.notify(SessionChanged(uid))
    )
    tasks.start(changes, name="changes of URLs")
    control = settings.paths.gateway_socket
    process = GatewayProcess(sock, control, worker, settings.drain, program="http", arguments=arguments)
    return Apps(await stack.enter_async_context(process), Urls(store, clock.now, visits), stored)
