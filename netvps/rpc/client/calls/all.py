"""The methods that Client and AsyncClient share."""

from __future__ import annotations

from netvps.rpc.client.calls import (
    images,
    machines,
    moves,
    people,
    registration,
    registries,
    sessions,
    shares,
    snapshots,
    urls,
)
from netvps.rpc.client.calls.call import ListMethod, StreamMethod, UnaryMethod


class Calls:
    """Every call of the API. Client returns what AsyncClient awaits, and iterates where that iterates with `async`."""

    server_info = UnaryMethod(machines.server_info)

    create_session = UnaryMethod(sessions.create_session)
    get_session = UnaryMethod(sessions.get_session)
    plan_session = UnaryMethod(sessions.plan_session)
    create_many = UnaryMethod(sessions.create_many)
    wait_session = UnaryMethod(sessions.wait_session)
    list_sessions = ListMethod(sessions.list_sessions)
    list_session_pages = ListMethod(sessions.list_session_pages)
    stop_session = UnaryMethod(sessions.stop_session)
    start_session = UnaryMethod(sessions.start_session)
    pause_session = UnaryMethod(sessions.pause_session)
    resume_session = UnaryMethod(sessions.resume_session)
    rename_session = UnaryMethod(sessions.rename_session)
    update_session = UnaryMethod(sessions.update_session)
    delete_session = UnaryMethod(sessions.delete_session)
    sleep_plan = UnaryMethod(sessions.sleep_plan)
    watch_sessions = StreamMethod(sessions.watch_sessions)
    read_logs = StreamMethod(sessions.read_logs)

    list_shares = ListMethod(shares.list_shares)
    share_session = UnaryMethod(shares.share_session)
    unshare_session = UnaryMethod(shares.unshare_session)

    get_url = UnaryMethod(urls.get_url)
    list_urls = ListMethod(urls.list_urls)
    put_url = UnaryMethod(urls.put_url)
    delete_url = UnaryMethod(urls.delete_url)
    create_url_link = UnaryMethod(urls.create_url_link)
    create_url_login = UnaryMethod(urls.create_url_login)

    create_snapshot = UnaryMethod(snapshots.create_snapshot)
    get_snapshot = UnaryMethod(snapshots.get_snapshot)
    list_snapshots = ListMethod(snapshots.list_snapshots)
    update_snapshot = UnaryMethod(snapshots.update_snapshot)
    delete_snapshot = UnaryMethod(snapshots.delete_snapshot)
    restore_snapshot = UnaryMethod(snapshots.restore_snapshot)
    clone_session = UnaryMethod(snapshots.clone_session)
    diff_session = UnaryMethod(snapshots.diff_session)
    export_snapshot = StreamMethod(snapshots.export_snapshot)
    watch_snapshots = StreamMethod(snapshots.watch_snapshots)

    move_session = UnaryMethod(moves.move_session)
    list_moves = UnaryMethod(moves.list_moves)
    drain_runner = UnaryMethod(moves.drain_runner)
    cordon_runner = UnaryMethod(moves.cordon_runner)
    uncordon_runner = UnaryMethod(moves.uncordon_runner)

    get_image = UnaryMethod(images.get_image)
    list_images = ListMethod(images.list_images)
    delete_image = UnaryMethod(images.delete_image)
    pull_image = StreamMethod(images.pull_image)
    bootstrap_image = StreamMethod(images.bootstrap_image)
    publish_image = StreamMethod(images.publish_image)
    get_default_image = UnaryMethod(images.get_default_image)
    update_default_image = UnaryMethod(images.update_default_image)

    list_registry_logins = ListMethod(registries.list_registry_logins)
    update_registry_login = UnaryMethod(registries.update_registry_login)
    delete_registry_login = UnaryMethod(registries.delete_registry_login)

    label_runner = UnaryMethod(machines.label_runner)
    list_runners = ListMethod(machines.list_runners)
    get_runner = UnaryMethod(machines.get_runner)
    create_join_token = UnaryMethod(machines.create_join_token)
    delete_runner = UnaryMethod(machines.delete_runner)

    watch_metrics = StreamMethod(machines.watch_metrics)

    get_network = UnaryMethod(machines.get_network)
    probe_links = StreamMethod(machines.probe_links)
    check_network = UnaryMethod(machines.check_network)

    list_audit_records = ListMethod(people.list_audit_records)

    get_user = UnaryMethod(people.get_user)
    list_users = ListMethod(people.list_users)
    create_user = UnaryMethod(people.create_user)
    update_user = UnaryMethod(people.update_user)
    get_user_quota = UnaryMethod(people.get_user_quota)
    delete_user = UnaryMethod(people.delete_user)
    list_api_keys = ListMethod(people.list_api_keys)
    create_api_key = UnaryMethod(people.create_api_key)
    rotate_api_key = UnaryMethod(people.rotate_api_key)
    delete_api_key = UnaryMethod(people.delete_api_key)

    register_user = UnaryMethod(registration.register_user)
    create_invitation = UnaryMethod(registration.create_invitation)
    list_invitations = ListMethod(registration.list_invitations)
    delete_invitation = UnaryMethod(registration.delete_invitation)

    list_ssh_keys = ListMethod(people.list_ssh_keys)
    create_ssh_key = UnaryMethod(people.create_ssh_key)
    issue_ssh_ticket = UnaryMethod(people.issue_ssh_ticket)
    issue_ssh_certificate = UnaryMethod(people.issue_ssh_certificate)
    delete_ssh_key = UnaryMethod(people.delete_ssh_key)
