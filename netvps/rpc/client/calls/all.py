"""The methods that Client and AsyncClient share."""

from __future__ import annotations

from netvps.rpc.client import calls
from netvps.rpc.client.calls.call import ListMethod, StreamMethod, UnaryMethod


class Calls:
    """Every call of the API. Client returns what AsyncClient awaits, and iterates where that iterates with `async`.

    Each is named by a lambda, so that its module is imported when it is used: a command of the CLI uses two or three.
    """

    server_info = UnaryMethod(lambda: calls.machines.server_info)

    create_session = UnaryMethod(lambda: calls.sessions.create_session)
    get_session = UnaryMethod(lambda: calls.sessions.get_session)
    plan_session = UnaryMethod(lambda: calls.sessions.plan_session)
    create_many = UnaryMethod(lambda: calls.sessions.create_many)
    wait_session = UnaryMethod(lambda: calls.sessions.wait_session)
    list_sessions = ListMethod(lambda: calls.sessions.list_sessions)
    list_session_pages = ListMethod(lambda: calls.sessions.list_session_pages)
    stop_session = UnaryMethod(lambda: calls.sessions.stop_session)
    start_session = UnaryMethod(lambda: calls.sessions.start_session)
    pause_session = UnaryMethod(lambda: calls.sessions.pause_session)
    resume_session = UnaryMethod(lambda: calls.sessions.resume_session)
    rename_session = UnaryMethod(lambda: calls.sessions.rename_session)
    replace_session = UnaryMethod(lambda: calls.sessions.replace_session)
    update_session = UnaryMethod(lambda: calls.sessions.update_session)
    delete_session = UnaryMethod(lambda: calls.sessions.delete_session)
    sleep_plan = UnaryMethod(lambda: calls.sessions.sleep_plan)
    watch_sessions = StreamMethod(lambda: calls.sessions.watch_sessions)
    read_logs = StreamMethod(lambda: calls.sessions.read_logs)

    acquire_lease = UnaryMethod(lambda: calls.leases.acquire_lease)
    release_lease = UnaryMethod(lambda: calls.leases.release_lease)
    get_lease = UnaryMethod(lambda: calls.leases.get_lease)

    create_tasks = UnaryMethod(lambda: calls.tasks.create_tasks)
    get_task = UnaryMethod(lambda: calls.tasks.get_task)
    list_tasks = ListMethod(lambda: calls.tasks.list_tasks)
    cancel_tasks = UnaryMethod(lambda: calls.tasks.cancel_tasks)
    wait_tasks = UnaryMethod(lambda: calls.tasks.wait_tasks)
    read_task_logs = StreamMethod(lambda: calls.tasks.read_task_logs)

    list_shares = ListMethod(lambda: calls.shares.list_shares)
    share_session = UnaryMethod(lambda: calls.shares.share_session)
    unshare_session = UnaryMethod(lambda: calls.shares.unshare_session)

    get_url = UnaryMethod(lambda: calls.urls.get_url)
    list_urls = ListMethod(lambda: calls.urls.list_urls)
    put_url = UnaryMethod(lambda: calls.urls.put_url)
    delete_url = UnaryMethod(lambda: calls.urls.delete_url)
    create_url_link = UnaryMethod(lambda: calls.urls.create_url_link)
    create_url_login = UnaryMethod(lambda: calls.urls.create_url_login)

    create_snapshot = UnaryMethod(lambda: calls.snapshots.create_snapshot)
    get_snapshot = UnaryMethod(lambda: calls.snapshots.get_snapshot)
    list_snapshots = ListMethod(lambda: calls.snapshots.list_snapshots)
    update_snapshot = UnaryMethod(lambda: calls.snapshots.update_snapshot)
    delete_snapshot = UnaryMethod(lambda: calls.snapshots.delete_snapshot)
    restore_snapshot = UnaryMethod(lambda: calls.snapshots.restore_snapshot)
    clone_session = UnaryMethod(lambda: calls.snapshots.clone_session)
    diff_session = UnaryMethod(lambda: calls.snapshots.diff_session)
    export_snapshot = StreamMethod(lambda: calls.snapshots.export_snapshot)
    watch_snapshots = StreamMethod(lambda: calls.snapshots.watch_snapshots)

    move_session = UnaryMethod(lambda: calls.moves.move_session)
    list_moves = UnaryMethod(lambda: calls.moves.list_moves)
    drain_runner = UnaryMethod(lambda: calls.moves.drain_runner)
    cordon_runner = UnaryMethod(lambda: calls.moves.cordon_runner)
    uncordon_runner = UnaryMethod(lambda: calls.moves.uncordon_runner)

    get_image = UnaryMethod(lambda: calls.images.get_image)
    list_images = ListMethod(lambda: calls.images.list_images)
    delete_image = UnaryMethod(lambda: calls.images.delete_image)
    pull_image = StreamMethod(lambda: calls.images.pull_image)
    bootstrap_image = StreamMethod(lambda: calls.images.bootstrap_image)
    publish_image = StreamMethod(lambda: calls.images.publish_image)
    get_default_image = UnaryMethod(lambda: calls.images.get_default_image)
    update_default_image = UnaryMethod(lambda: calls.images.update_default_image)

    list_registry_logins = ListMethod(lambda: calls.registries.list_registry_logins)
    update_registry_login = UnaryMethod(lambda: calls.registries.update_registry_login)
    delete_registry_login = UnaryMethod(lambda: calls.registries.delete_registry_login)

    label_runner = UnaryMethod(lambda: calls.machines.label_runner)
    list_runners = ListMethod(lambda: calls.machines.list_runners)
    get_runner = UnaryMethod(lambda: calls.machines.get_runner)
    create_join_token = UnaryMethod(lambda: calls.machines.create_join_token)
    delete_runner = UnaryMethod(lambda: calls.machines.delete_runner)

    watch_metrics = StreamMethod(lambda: calls.machines.watch_metrics)

    get_network = UnaryMethod(lambda: calls.machines.get_network)
    probe_links = StreamMethod(lambda: calls.machines.probe_links)
    reserve_address = UnaryMethod(lambda: calls.machines.reserve_address)
    check_network = UnaryMethod(lambda: calls.machines.check_network)

    list_audit_records = ListMethod(lambda: calls.people.list_audit_records)

    get_user = UnaryMethod(lambda: calls.people.get_user)
    list_users = ListMethod(lambda: calls.people.list_users)
    create_user = UnaryMethod(lambda: calls.people.create_user)
    update_user = UnaryMethod(lambda: calls.people.update_user)
    get_user_quota = UnaryMethod(lambda: calls.people.get_user_quota)
    delete_user = UnaryMethod(lambda: calls.people.delete_user)
    list_api_keys = ListMethod(lambda: calls.people.list_api_keys)
    create_api_key = UnaryMethod(lambda: calls.people.create_api_key)
    rotate_api_key = UnaryMethod(lambda: calls.people.rotate_api_key)
    delete_api_key = UnaryMethod(lambda: calls.people.delete_api_key)

    start_login = UnaryMethod(lambda: calls.registration.start_login)
    finish_login = UnaryMethod(lambda: calls.registration.finish_login)
    register_user = UnaryMethod(lambda: calls.registration.register_user)
    create_invitation = UnaryMethod(lambda: calls.registration.create_invitation)
    list_invitations = ListMethod(lambda: calls.registration.list_invitations)
    delete_invitation = UnaryMethod(lambda: calls.registration.delete_invitation)

    list_ssh_keys = ListMethod(lambda: calls.people.list_ssh_keys)
    create_ssh_key = UnaryMethod(lambda: calls.people.create_ssh_key)
    issue_ssh_ticket = UnaryMethod(lambda: calls.people.issue_ssh_ticket)
    issue_ssh_certificate = UnaryMethod(lambda: calls.people.issue_ssh_certificate)
    delete_ssh_key = UnaryMethod(lambda: calls.people.delete_ssh_key)
