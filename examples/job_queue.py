"""A queue: runs each line of FILE as a shell command, each in a session of its own, at most AT_ONCE at a time.

    python3 examples/job_queue.py FILE AT_ONCE

Prints what each command printed, in the order in which they end. Fails if one of them failed.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from server import endpoint

from netvps.client import Client, ExecStart, Exit, SessionSpec, SessionState, Stderr, StdinEof, Stdout


def run_job(client: Client, command: str) -> tuple[int, bytes]:
    """Runs a command in a new session, and removes that; returns its exit code and what it printed."""
    session = client.create_session("", SessionSpec(labels={"made-by": "job-queue"}))  # the server picks a name
    try:
        client.wait(session.name, SessionState.RUNNING, timeout=300)
        printed, code = b"", -1
        for message in client.exec(ExecStart(session.name, ("sh", "-c", command)), iter([StdinEof()])):
            match message:
                case Stdout(data) | Stderr(data):
                    printed += data
                case Exit(code):
                    pass
        return code, printed
    finally:
        client.delete_session(session.name)


def main() -> int:
    """Runs all jobs; the exit code is the number of those that failed."""
    commands, at_once, failed = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines(), int(sys.argv[2]), 0
    with Client(endpoint()) as client, ThreadPoolExecutor(at_once) as pool:  # threads may share a client
        jobs = {pool.submit(run_job, client, command): command for command in commands}
        for job in as_completed(jobs):
            code, printed = job.result()
            failed += code != 0
            print(f"{jobs[job]}: exit code {code}\n{printed.decode(errors='replace')}", end="", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
