"""What a session's container is made like, compared whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from netvps.domain.runner.docker_names import volume_name
from netvps.domain.session.attachment import Attachment, Net
from netvps.domain.session.blueprint import Bind, Blueprint, Extras, Tmpfs, Volume, blueprint
from netvps.domain.session.container import SourceImage
from netvps.domain.session.session import Assignment, DesiredState
from netvps.domain.session.spec import Network, SessionSpec

UID = "0123456789abc"


def made(spec: SessionSpec, source: SourceImage, address: str = "") -> Blueprint:
    assignment = Assignment(UID, "dev1", "ann", 3, 7, DesiredState.RUNNING, spec, None, 1, address)
    agent, run, resolv_conf = PurePosixPath("/s/agent"), PurePosixPath("/r/x"), PurePosixPath("/r/x.resolv.conf")
    return blueprint(
        assignment, source, node="r1", machine_memory=8 << 30, agent=agent, run=run, resolv_conf=resolv_conf
    )


def test_a_plain_session() -> None:
    spec = SessionSpec(image="debian:12", cpus=1.5, memory_bytes=1 << 30, env={"B": "2", "A": "1"})
    plan = made(spec, SourceImage("debian:12", ("/entry",), ("cmd",)))
    assert plan == Blueprint(
        session_uid=UID,
        name=f"netvps-vps-{UID}",
        image="debian:12",
        hostname="dev1",
        labels={
            "netvps.managed": "true",
            "netvps.session_id": UID,
            "netvps.type": "vps",
            "netvps.node": "r1",
            "netvps.epoch": "3",
            "netvps.generation": "7",
            "netvps.layout": plan.labels["netvps.layout"],
            "netvps.hold": "true",
        },
        env=("A=1", "B=2"),
        entrypoint=("/.netvps/agent", "init"),
        binds=(
            Bind("/s/agent", "/.netvps/agent", read_only=True),
            Bind("/r/x", "/.netvps/run", read_only=True),
        ),
        tmpfs=(Tmpfs("/.netvps/private", 4 << 20, 64),),
        volumes=(),
        cpus=1.5,
        memory_bytes=1 << 30,
        shm_bytes=512 << 20,
        open_files=0,
        pids=4096,
        attachment=Attachment(Net.ISOLATED, owner="ann"),
    )


def test_the_layout_tells_containers_of_another_agent_and_not_of_another_image() -> None:
    def layout(agent: str, image: str, pids: int = 100, name: str = "dev1") -> str:
        assignment = Assignment(UID, name, "ann", 3, 7, DesiredState.RUNNING, SessionSpec(pids=pids), None, 1)
        place = PurePosixPath("/r/x")
        plan = blueprint(
            assignment,
            SourceImage(image),
            node="r1",
            machine_memory=1 << 30,
            agent=PurePosixPath(agent),
            run=place,
            resolv_conf=place,
        )
        return plan.labels["netvps.layout"]

    assert layout("/a", "one") == layout("/a", "two")
    assert layout("/a", "one", 200) == layout("/a", "one")  # limits change without a new container
    assert len({layout("/a", "one"), layout("/b", "one"), layout("/a", "one", name="web")}) == 3


def test_the_images_own_command_runs_under_the_agent() -> None:
    plan = made(SessionSpec(run_entrypoint=True), SourceImage("x", ("/entry", "-v"), ("cmd",)))
    assert plan.entrypoint == ("/.netvps/agent", "init", "--", "/entry", "-v", "cmd")


def test_a_command_of_the_session_takes_the_place_of_the_images() -> None:
    spec = SessionSpec(run_entrypoint=True, command=("other", "-x"))
    assert made(spec, SourceImage("x", ("/entry",), ("cmd",))).entrypoint[2:] == ("--", "/entry", "other", "-x")
    assert made(spec, SourceImage("x")).entrypoint[2:] == ("--", "other", "-x")


def test_the_images_command_runs_as_its_user_in_its_folder() -> None:
    source = SourceImage("x", (), ("./serve",), user="app:staff", working_dir="/srv/app")
    plan = made(SessionSpec(run_entrypoint=True), source)
    assert plan.entrypoint[2:] == ("-user", "app:staff", "-work-dir", "/srv/app", "--", "./serve")
    assert made(SessionSpec(), source).entrypoint == ("/.netvps/agent", "init")


def test_a_limit_of_open_files_is_part_of_the_layout_once_it_is_set() -> None:
    plans = [made(SessionSpec(open_files=number), SourceImage("x")) for number in (0, 1024, 2048)]
    assert [plan.open_files for plan in plans] == [0, 1024, 2048]
    assert len({plan.labels["netvps.layout"] for plan in plans}) == 3


def test_shared_memory_is_what_was_asked_for_or_half_of_the_memory() -> None:
    assert made(SessionSpec(shm_bytes=1 << 20, memory_bytes=1 << 30), SourceImage("x")).shm_bytes == 1 << 20
    assert made(SessionSpec(memory_bytes=1 << 30), SourceImage("x")).shm_bytes == 512 << 20
    assert made(SessionSpec(), SourceImage("x")).shm_bytes == 4 << 30


def test_nothing_of_the_machine_can_be_written_to() -> None:
    plan = made(SessionSpec(), SourceImage("x"), "10.128.4.2")
    assert all(bind.read_only for bind in plan.binds)


def test_an_image_without_a_command_has_none_to_run() -> None:
    assert made(SessionSpec(run_entrypoint=True), SourceImage("x")).entrypoint == ("/.netvps/agent", "init")


def test_volumes_of_the_image_get_names_so_that_they_outlive_the_container() -> None:
    plan = made(SessionSpec(network=Network.NONE), SourceImage("x", volumes=("/data", "/cache")))
    assert plan.volumes == (Volume(volume_name(UID, "/cache"), "/cache"), Volume(volume_name(UID, "/data"), "/data"))
    assert plan.attachment == Attachment(Net.NONE)


def test_on_the_overlay_it_has_its_address_and_a_resolv_conf_of_netvps() -> None:
    spec = SessionSpec(image="debian:12")
    plan, without = made(spec, SourceImage("debian:12"), "10.128.4.2"), made(spec, SourceImage("debian:12"))
    assert plan.attachment == Attachment(Net.OVERLAY, "10.128.4.2")
    assert plan.hostname == "dev1"
    assert set(plan.binds) - set(without.binds) == {Bind("/r/x.resolv.conf", "/etc/resolv.conf", read_only=True)}


def test_a_session_without_gpus_gets_none_on_a_machine_that_has_some() -> None:
    """Where Docker's default runtime is NVIDIA's, an image or a user could name any."""
    spec = SessionSpec(image="cuda", env={"NVIDIA_VISIBLE_DEVICES": "all", "A": "1"})
    assignment = Assignment(UID, "dev1", "ann", 3, 7, DesiredState.RUNNING, spec, None, 1)

    def env(assignment: Assignment, *, has_gpus: bool) -> tuple[str, ...]:
        place, extra = PurePosixPath("/r/x"), Extras(has_gpus=has_gpus)
        source = SourceImage("cuda")
        made = blueprint(
            assignment, source, node="r1", machine_memory=1, agent=place, run=place, resolv_conf=place, extra=extra
        )
        return made.env

    assert env(assignment, has_gpus=False) == ("A=1", "NVIDIA_VISIBLE_DEVICES=all")
    assert env(assignment, has_gpus=True) == ("A=1", "NVIDIA_VISIBLE_DEVICES=void")
    assert env(replace(assignment, gpus=("GPU-1",)), has_gpus=True) == ("A=1",)  # Docker sets it


def test_files_of_lxcfs_do_not_make_another_layout() -> None:
    assignment = Assignment(UID, "dev1", "ann", 3, 7, DesiredState.RUNNING, SessionSpec(image="i"), None, 1)
    place, meminfo = PurePosixPath("/r/x"), Bind("/var/lib/lxcfs/proc/meminfo", "/proc/meminfo", read_only=True)

    def at(extra: Extras) -> Blueprint:
        return blueprint(
            assignment,
            SourceImage("i"),
            node="r1",
            machine_memory=1,
            agent=place,
            run=place,
            resolv_conf=place,
            extra=extra,
        )

    assert at(Extras((meminfo,))).binds == (*at(Extras()).binds, meminfo)
    assert at(Extras((meminfo,))).labels == at(Extras()).labels
