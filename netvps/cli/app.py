"""The entry point of `netvps`: the table of its commands, and the one place where errors turn into exit codes."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from typing import Final, NoReturn

import click

from netvps import exit_codes
from netvps.cli.help.completion import complete_context
from netvps.cli.lazy import Entry, LazyGroup
from netvps.cli.machine import runner_only
from netvps.cli.ui import streams, usage
from netvps.cli.ui.arguments import refuse_empty
from netvps.display.text import clean
from netvps.errors import NetvpsError

_GARBAGE: Final = 100_000
"""Objects between two collections: imports make many and no garbage, and looking through them is 5 % of a start."""
_SESSIONS, _ACCESS, _MACHINES, _MISC = "Sessions", "People and access", "Machines", "This program"
COMMANDS: Final = {
    "create": Entry("netvps.cli.session.create:create", "make a session (a VPS) and wait until it runs", _SESSIONS),
    "ls": Entry("netvps.cli.session.sessions:ls", "list sessions", _SESSIONS),
    "show": Entry("netvps.cli.session.sessions:show", "tell all about a session", _SESSIONS),
    "ssh": Entry("netvps.cli.access.ssh:ssh", "log in to a session, or run a command there", _SESSIONS),
    "cp": Entry("netvps.cli.session.cp:cp", "copy files to and from sessions", _SESSIONS),
    "forward": Entry("netvps.cli.session.forward:forward", "make ports of a session reachable here", _SESSIONS),
    "ssh-proxy": Entry("netvps.cli.proxy.ssh_proxy:ssh_proxy", "be the ProxyCommand of an ssh to a session", _SESSIONS),
    "exec": Entry("netvps.cli.session.execute:execute", "run a command in a session without ssh", _SESSIONS),
    "logs": Entry("netvps.cli.session.logs:logs", "print what a session's container wrote", _SESSIONS),
    "top": Entry("netvps.cli.server.top:top", "show what running sessions use, as it changes", _SESSIONS),
    "events": Entry("netvps.cli.session.events:events", "print what happened to a session", _SESSIONS),
    "stop": Entry("netvps.cli.session.lifecycle:stop", "stop sessions; their files are kept", _SESSIONS),
    "start": Entry("netvps.cli.session.lifecycle:start", "start stopped or failed sessions", _SESSIONS),
    "restart": Entry("netvps.cli.session.lifecycle:restart", "stop sessions, then start them again", _SESSIONS),
    "wait": Entry("netvps.cli.scheduling.wait:wait", "wait until sessions run, are stopped or are gone", _SESSIONS),
    "lease": Entry("netvps.cli.scheduling.lease:lease", "let one program change a session, and no other", _SESSIONS),
    "pause": Entry("netvps.cli.session.change:pause", "freeze running sessions; a login resumes them", _SESSIONS),
    "resume": Entry("netvps.cli.session.change:resume", "let paused sessions go on where they were", _SESSIONS),
    "rename": Entry("netvps.cli.session.change:rename", "give a session another name", _SESSIONS),
    "resize": Entry("netvps.cli.session.change:resize", "change limits of sessions, without a restart", _SESSIONS),
    "set": Entry("netvps.cli.session.change:set_", "change settings of sessions: protection, labels, …", _SESSIONS),
    "why-awake": Entry(
        "netvps.cli.sleep.why_awake:why_awake", "say what keeps a session awake, and when it stops", _SESSIONS
    ),
    "rm": Entry("netvps.cli.session.lifecycle:rm", "remove sessions and their files, without a way back", _SESSIONS),
    "tui": Entry("netvps.cli.server.tui:tui", "show everything live on one screen, with keys for it", _SESSIONS),
    "web": Entry("netvps.cli.machine.programs:web", "show the same in browsers", _SESSIONS),
    "url": Entry("netvps.cli.http.url:url", "print the URL of a port of a session, or open it", _SESSIONS),
    "deploy": Entry("netvps.cli.deploy.deploy:deploy", "put services online from a file (plan, apply, …)", _SESSIONS),
    "snapshot": Entry(
        "netvps.cli.snapshot.snapshots:snapshot",
        "files of a session at one time (create, ls, restore, …)",
        _SESSIONS,
    ),
    "diff": Entry("netvps.cli.snapshot.diff:diff", "print what a snapshot of a session would hold", _SESSIONS),
    "clone": Entry("netvps.cli.snapshot.snapshots:clone", "make a session with the files of another", _SESSIONS),
    "move": Entry("netvps.cli.snapshot.move:move", "move a session to another runner, with its files", _SESSIONS),
    "watch": Entry("netvps.cli.session.watch:watch", "print every change of sessions as it happens", _SESSIONS),
    "run": Entry("netvps.cli.task.run:run", "run a command to its end, in a container of its own", _SESSIONS),
    "task": Entry(
        "netvps.cli.task.tasks:task", "commands that `run` started (ls, show, logs, wait, cancel)", _SESSIONS
    ),
    "share": Entry("netvps.cli.sharing.shares:share", "let another user watch or use a session", _ACCESS),
    "unshare": Entry("netvps.cli.sharing.shares:unshare", "end a share at once", _ACCESS),
    "shares": Entry(
        "netvps.cli.sharing.shares:shares", "list who may use a session, or what is shared with you", _ACCESS
    ),
    "login": Entry("netvps.cli.access.login:login", "remember a server and your API key as a context", _ACCESS),
    "register": Entry("netvps.cli.people.register:register", "make yourself an account on a server", _ACCESS),
    "logout": Entry("netvps.cli.access.login:logout", "forget a context", _ACCESS),
    "context": Entry("netvps.cli.server.contexts_command:context", "list contexts, or choose one", _ACCESS),
    "whoami": Entry("netvps.cli.access.whoami:whoami", "print who you are to the server, and which it is", _ACCESS),
    "config-ssh": Entry("netvps.cli.access.config_ssh:config_ssh", "set up plain ssh to your sessions", _ACCESS),
    "cert": Entry("netvps.cli.access.cert:cert", "sign an SSH key for machines without netvps", _ACCESS),
    "key": Entry("netvps.cli.access.keys:key", "your SSH keys (add, ls, rm)", _ACCESS),
    "invite": Entry("netvps.cli.people.invite:invite", "invitations to make an account (create, ls, rm)", _ACCESS),
    "user": Entry("netvps.cli.access.users:user", "people (add, ls, show, set, rm, api-key)", _ACCESS),
    "audit": Entry("netvps.cli.server.audit:audit", "who did what (ls, export, verify)", _MACHINES),
    "up": Entry("netvps.cli.machine.up:up", "start everything on this machine", _MACHINES),
    "down": Entry("netvps.cli.machine.down:down", "end what `up` started", _MACHINES),
    "status": Entry("netvps.cli.server.status:status", "print server, runners and sessions at a glance", _MACHINES),
    "server": Entry("netvps.cli.machine.programs:server", "run a control plane with its gateway", _MACHINES),
    "runner": Entry(
        "netvps.cli.machine.runners:runner", "run a runner, or see to them (ls, show, drain, join-token, …)", _MACHINES
    ),
    "network": Entry(
        "netvps.cli.machine.network:network", "the overlay network (show, peers, check, purge)", _MACHINES
    ),
    "backup": Entry("netvps.cli.machine.programs:backup", "copy the server's database and CA into one file", _MACHINES),
    "restore": Entry("netvps.cli.machine.programs:restore", "put a backup in their place", _MACHINES),
    "env": Entry("netvps.cli.env.env:env", "environments, the images of sessions (ls, pull, default, …)", _MACHINES),
    "registry": Entry("netvps.cli.env.registry:registry", "logins with which runners pull images", _MACHINES),
    "init": Entry("netvps.cli.install.init:init", "write a folder from which Docker Compose runs netvps", _MACHINES),
    "config": Entry(
        "netvps.cli.install.config:config", "settings of the programs, and where they come from", _MACHINES
    ),
    "service": Entry("netvps.cli.install.services:service", "units of systemd (render, install, uninstall)", _MACHINES),
    "uninstall": Entry("netvps.cli.machine.programs:uninstall", "remove what netvps made on this machine", _MACHINES),
    "sim": Entry("netvps.cli.machine.programs:sim", "run a server with simulated runners, for schedulers", _MACHINES),
    "doctor": Entry("netvps.cli.doctor.doctor:doctor", "check this machine and say what to do", _MACHINES),
    "help": Entry("netvps.cli.help.help:show_help", "print the help of a command, or the exit codes", _MISC),
    "completion": Entry("netvps.cli.help.completion:completion", "print a completion script for your shell", _MISC),
    "version": Entry("netvps.cli.server.version:version", "print versions of this program and of the server", _MISC),
    "man-pages": Entry("netvps.cli.help.man:man_pages", "write manual pages into a folder", _MISC),
}
ALIASES: Final = {
    "list": "ls",
    "ps": "ls",
    "delete": "rm",
    "remove": "rm",
    "shell": "ssh",
    "info": "show",
    "get": "show",
    "new": "create",
    "log": "logs",
    "unpause": "resume",
    "mv": "rename",
    "update": "set",
}
"""What people type who come from other programs; in groups of commands, too."""


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from netvps import __version__

        click.echo(f"netvps {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    aliases=ALIASES,
    epilog="Exit codes: netvps help exit-codes.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--context", "context_name", metavar="NAME", shell_complete=complete_context,
              help="Talk to this context's server (see `netvps context`).")  # fmt: skip
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print it.")
@click.pass_context
def root(ctx: click.Context, context_name: str | None) -> None:
    """VPS-like sessions on your own machines.

    \b
    On a machine with Docker:
      netvps up              start everything here
      netvps create          make yourself a VPS
      netvps ssh NAME        be in it
    """  # noqa: D301 — Click means the character
    ctx.obj = context_name


refuse_empty(root)


def main() -> NoReturn:
    """Runs `netvps` with the arguments of this process, and ends it.

    It ends without Python's own tidying: that of grpc takes 15 ms, and nothing here waits for it.
    """
    gc.set_threshold(_GARBAGE)
    streams.prepare()
    code = run(sys.argv[1:])
    with suppress(OSError, ValueError):  # the reader is gone
        sys.stdout.flush()
        sys.stderr.flush()
    if code == exit_codes.INTERRUPTED:  # ended by the signal itself, so that a loop of a shell ends, too
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code. Every error becomes one line on stderr, and never a traceback."""
    try:
        outcome = root.main(arguments, prog_name="netvps", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return exit_codes.USAGE
    except SystemExit as ended:  # Click's own end of a completion, and of a pipe without a reader
        return ended.code if isinstance(ended.code, int) else exit_codes.OK
    except BrokenPipeError:
        # Whoever read us has enough; Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.OK
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 — the last door before a person
        sentence, code = _describe(error)
        print(f"netvps: {clean(sentence)}", file=sys.stderr)
        return code
    return outcome if isinstance(outcome, int) else exit_codes.OK


def _describe(error: BaseException) -> tuple[str, int]:
    """An error as one sentence for a person, and as an exit code."""
    match error:
        case NetvpsError():
            outcome = runner_only.sentence(error), exit_codes.of(error)
        case exit_codes.Cancelled() | KeyboardInterrupt():
            outcome = str(error) or "interrupted", exit_codes.INTERRUPTED
        case click.Abort():  # how a question ends: by an answer, or by Ctrl-C
            interrupted = isinstance(error.__context__, KeyboardInterrupt)
            outcome = ("interrupted", exit_codes.INTERRUPTED) if interrupted else ("cancelled", exit_codes.CANCELLED)
        case click.ClickException():
            outcome = usage.sentence(error), error.exit_code
        case OSError() if problem := streams.output_problem(error):
            outcome = problem, exit_codes.UNKNOWN
        case _:
            from netvps.cli.doctor.bugs import report

            outcome = report(error), exit_codes.UNKNOWN
    return outcome
