"""Deliberate mistakes: what is typed, the exit code, and how the one line on standard error begins."""

from __future__ import annotations

from typing import Final

from netvps.exit_codes import CONFIGURATION, CONFLICT, NOT_ALLOWED, NOT_FOUND, UNAVAILABLE, USAGE

_NAME = "is not a name: use 1 to 40 lower-case letters, digits and '-', with a letter or digit first and last; see "
_SIZE = "is not a size: give a number and K, M, G or T, for example 2G; see "
_TIME = "is not a time: give for example 30s, 10m or 1h30m; see "
_CREATE, _LS = "`netvps create --help`", "`netvps ls --help`"
_UNSET = "the value is empty: give one, or leave it out (is a variable of your shell unset?)"
_UNSET_REQUIRED = "the value is empty: give one (is a variable of your shell unset?)"

MISTAKES: Final[tuple[tuple[str, int, str], ...]] = (
    # commands and options
    ("crate", USAGE, "there is no command 'crate'; did you mean create?; see `netvps --help`"),
    ("xyzzy", USAGE, "there is no command 'xyzzy'; see `netvps --help`"),
    ("runner swep", USAGE, "there is no command 'swep'; did you mean sweep?; see `netvps runner --help`"),
    ("user ad bob", USAGE, "there is no command 'ad'; did you mean add?; see `netvps user --help`"),
    ("help crate", USAGE, "there is no command 'crate'; did you mean create?; see `netvps --help`"),
    ("ls --colour", USAGE, f"there is no option --colour; see {_LS}"),
    ("create --ownr bob", USAGE, f"there is no option --ownr; did you mean --owner or --on?; see {_CREATE}"),
    ("create --owner", USAGE, "--owner needs a value after it"),
    ("ls --all=yes", USAGE, "--all takes no value: give it alone"),
    ("ls extra", USAGE, f"more arguments than this command takes: extra; see {_LS}"),
    ("show", USAGE, "NAME is missing; see `netvps show --help`"),
    ("stop", USAGE, "NAME is missing; see `netvps stop --help`"),
    ("exec dev1", USAGE, "COMMAND is missing; see `netvps exec --help`"),
    ("show dev1 -o xml", USAGE, "--output: 'xml' is not one of 'table', 'wide', 'json', 'jsonl', 'yaml', 'name'"),
    ("completion csh", USAGE, "SHELL: 'csh' is not one of 'bash', 'zsh', 'fish'"),
    # empty, as an unset variable of a shell is
    ("create ''", USAGE, f"NAME: {_UNSET}; see {_CREATE}"),
    ("create --image ''", USAGE, f"--image: {_UNSET}; see {_CREATE}"),
    ("create --memory=", USAGE, f"--memory: {_UNSET}; see {_CREATE}"),
    ("create --owner ''", USAGE, f"--owner: {_UNSET}; see {_CREATE}"),
    ("rm --yes ''", USAGE, f"NAME: {_UNSET_REQUIRED}; see `netvps rm --help`"),
    ("ssh ''", USAGE, f"NAME: {_UNSET_REQUIRED}; see `netvps ssh --help`"),
    ("cp notes.txt ''", USAGE, f"SOURCE: {_UNSET_REQUIRED}; see `netvps cp --help`"),
    ("--context '' ls", USAGE, f"--context: {_UNSET}; see `netvps --help`"),
    ("runner show ''", USAGE, f"NAME: {_UNSET_REQUIRED}; see `netvps runner show --help`"),
    # names
    ("create Dev1", USAGE, f"NAME: 'Dev1' {_NAME}{_CREATE}"),
    ("create a_b", USAGE, f"NAME: 'a_b' {_NAME}{_CREATE}"),
    ("create dev1.", USAGE, "NAME: '' is not a name: use 1 to 32 lower-case letters"),
    (f"create {'a' * 41}", USAGE, f"NAME: '{'a' * 41}' {_NAME}{_CREATE}"),
    ("create x.alice --owner bob", USAGE, "NAME says owner alice, and --owner says bob: give one of them"),
    ("create dev1", CONFLICT, "session dev1 exists already: choose another name, or netvps ssh dev1"),
    ("create x --owner alcie", NOT_FOUND, "no user alcie: see netvps user ls; did you mean alice?"),
    ("show 'Dev 1'", USAGE, f"NAME: 'Dev 1' {_NAME}`netvps show --help`"),
    ("show dve1", NOT_FOUND, "no session dve1.root: see netvps ls; did you mean dev1?"),
    ("stop dve1", NOT_FOUND, "no session dve1.root: see netvps ls; did you mean dev1?"),
    ("start other", NOT_FOUND, "no session other.root: see netvps ls"),
    ("restart dve1", NOT_FOUND, "no session dve1.root: see netvps ls; did you mean dev1?"),
    ("rm dve1 --yes", NOT_FOUND, "no session dve1.root: see netvps ls; did you mean dev1?"),
    ("logs dve1", NOT_FOUND, "no session dve1.root: see netvps ls; did you mean dev1?"),
    ("exec dve1 -- ls", NOT_FOUND, "no session dve1.root: see netvps ls; did you mean dev1?"),
    ("ssh dve1", NOT_FOUND, "no session dve1.root: see netvps ls; did you mean dev1?"),
    ("events dve1", NOT_FOUND, "no session dve1.root: see netvps ls; did you mean dev1?"),
    ("show dev1.bbo", NOT_FOUND, "no session dev1.bbo: see netvps ls"),
    ("ls --owner alcie", NOT_FOUND, "no user alcie: see netvps user ls; did you mean alice?"),
    ("runner show lab2", NOT_FOUND, "no runner lab2: see netvps runner ls; did you mean lab1?"),
    ("network peers lab2", NOT_FOUND, "no runner lab2: see netvps runner ls; did you mean lab1?"),
    ("network check dve1", NOT_FOUND, "no session dve1.root: see netvps ls; did you mean dev1?"),
    ("user add Bob", USAGE, "NAME: 'Bob' is not a name: use 1 to 32 lower-case letters"),
    ("user add alice", CONFLICT, "user alice exists already: choose another name"),
    ("user rm alcie --yes", NOT_FOUND, "no user alcie: see netvps user ls; did you mean alice?"),
    ("key rm SHA256:x", NOT_FOUND, "user root has no key SHA256:x: see netvps key ls"),
    ("share dev1 bbo", NOT_FOUND, "no user bbo: see netvps user ls"),
    ("share dve1 bob", NOT_FOUND, "no session dve1.root: see netvps ls"),
    ("share dev1 bob --role own", USAGE, "--role: 'own' is not one of 'view', 'use'"),
    ("share dev1 root", USAGE, "user: root owns the session: share it with another user"),
    ("share dev1 bob --until 2001-01-01", USAGE, "--until: '2001-01-01' is over: give a time in the future"),
    ("unshare dev1 bob", NOT_FOUND, "session dev1.root is not shared with bob: see netvps shares dev1.root"),
    ("ssh dev1 --terminal No", USAGE, "--terminal: 'No' is not a label"),
    ("--context lab ls", NOT_FOUND, "there is no context 'lab': there are local; `netvps login HOST` adds one"),
    ("context use lab", NOT_FOUND, "there is no context 'lab': there are local; `netvps login HOST` adds one"),
    # sizes, numbers, times
    ("create --memory 2", USAGE, "--memory: 2 is less than 6291456 (6 MiB); 0 means no limit"),
    ("create --memory lots", USAGE, f"--memory: 'lots' {_SIZE}{_CREATE}"),
    ("create --memory -1", USAGE, f"--memory: '-1' {_SIZE}{_CREATE}"),
    ("create --shm-size 1", USAGE, "--shm-size: 1 is not between 65536 (64 KiB) and"),
    ("create --cpus many", USAGE, f"--cpus: 'many' is not a number: give for example 1.5; see {_CREATE}"),
    ("create --cpus -1", USAGE, "--cpus: -1.0 is not between 0.01 and 1024; 0 means no limit"),
    ("create --pids 3", USAGE, "--pids: 3 is not between 16 and 4194304"),
    ("create --pids few", USAGE, f"--pids: 'few' is not a whole number: give for example 100; see {_CREATE}"),
    ("create --stop-grace soon", USAGE, f"--stop-grace: 'soon' {_TIME}{_CREATE}"),
    ("create --stop-grace 1h", USAGE, "--stop-grace: 3600.0 is not between 0 and 600 seconds"),
    ("stop dev1 --timeout now", USAGE, f"--timeout: 'now' {_TIME}`netvps stop --help`"),
    ("logs dev1 --tail 0", USAGE, "--tail: 0 is not between 1 and 100000; see `netvps logs --help`"),
    ("watch --from-revision x", USAGE, "--from-revision: 'x' is not a whole number: give for example 100; see "),
    # other values
    ("create --image 'UP case'", USAGE, "--image: 'UP case' is not an image reference: use NAME[:TAG], for example"),
    ("create --env A", USAGE, f"--env: 'A' is not KEY=VALUE: give for example --env NAME=value; see {_CREATE}"),
    ("create --env A=1 --env A=2", USAGE, f"--env: 'A' is given twice: give it once; see {_CREATE}"),
    ("create --env 1A=x", USAGE, "--env '1A': a name is letters, digits and '_', no digit first"),
    ("create --label UP=x", USAGE, "--label 'UP': a key is up to 63 of a-z, 0-9, '-_./', with a letter or digit first"),
    ("create --on rack=3", USAGE, "--on: column 1: there is no field 'rack': use name, state, cordoned, "),
    ("runner label box1 rack", USAGE, "KEY: 'rack' is not KEY=VALUE or KEY-: give for example rack=3"),
    ("create --network lan", USAGE, f"--network: 'lan' is not one of 'default', 'overlay', 'none'; see {_CREATE}"),
    ("create --ssh-key /none", USAGE, f"--ssh-key: file '/none' does not exist; see {_CREATE}"),
    ("ls --state runing", USAGE, "--state: 'runing' is not one of 'pending', 'preparing', 'starting', 'running', "),
    ("ls --sort size", USAGE, "order_by: column 1: 'size' is no field, with asc or desc: use name, owner, "),
    ("ls -l =x", USAGE, f"-l: '=x' is not KEY or KEY=VALUE: give for example -l team=x; see {_LS}"),
    ("exec -u 'a b' dev1 id", USAGE, "--user: 'a b' is not the name of a Unix user: give for example root; see "),
    ("key add /none", USAGE, "FILE: /none cannot be read: No such file or directory"),
    ("forward dev1 http", USAGE, "PORT: 'http' is not PORT or LOCAL:REMOTE: give for example 8080:80"),
    ("cp a b", USAGE, "no session is named: write NAME:PATH, for example a dev1:; see `netvps cp --help`"),
    ("cp notes.txt", USAGE, "TARGET is missing: give what to copy, and where to, for example notes.txt dev1:"),
    # what does not go together, or not here
    ("ls --all --owner bob", USAGE, f"--all and --owner exclude each other: give one of them; see {_LS}"),
    ("ls --watch -o json", USAGE, "--watch prints tables; `netvps watch -o jsonl` streams changes for programs"),
    ("stop dev1 --no-wait --wait-snapshot", USAGE, "--wait-snapshot and --copies exclude --no-wait: give"),
    ("create --ssh --no-wait", USAGE, "--ssh excludes --dry-run and --no-wait: it logs in once the session runs"),
    ("network check a b c", USAGE, "name two sessions that should reach each other, one, or none"),
    ("exec -t dev1 sh", USAGE, "-t needs a terminal, and standard input is none: leave -t out"),
    ("ssh -p 22 dev1", USAGE, "option -p is not for you to give: the port comes from the server"),
    ("rm dev1", USAGE, "this removes its files and snapshots, without a way back: confirm with --yes where"),
    ("user rm alice", USAGE, "this revokes all keys of that person: confirm with --yes where there is no terminal"),
    ("runner rm lab1 --yes", CONFLICT, "runner lab1 has 1 session: move them first, with netvps runner drain lab1"),
    ("user rm root --yes", CONFLICT, "you cannot remove yourself: ask another admin"),
    # programs
    ("up --listen here", USAGE, "--listen: 'here' is wrong: give an IP address of this machine, or 0.0.0.0 for all"),
    ("up --ssh-port 0", USAGE, "--ssh-port: '0' is wrong: give a value greater than or equal to 1; see "),
    ("server --drain 2d", USAGE, "--drain: '2d' is wrong: give a number; see `netvps server --help`"),
    ("runner run --server box", USAGE, "--server: 'box' is wrong: give HOST:PORT, for example gateway.example:7443"),
    ("backup", USAGE, "FILE is missing; see `netvps backup --help`"),
    ("env bootstrap", USAGE, "NAME is missing; see `netvps env bootstrap --help`"),
)  # fmt: skip

OF_A_USER: Final[tuple[tuple[str, int, str], ...]] = (
    ("user ls", NOT_ALLOWED, "user alice with role user may not call UserService/ListUsers: it needs role admin"),
    ("create x --owner bob", NOT_ALLOWED, "user alice may not create sessions of others: it needs role admin"),
    ("show dev1.root", NOT_FOUND, "no session dev1.root: see netvps ls"),
)
"""By alice, who is no admin and has no session."""

WITHOUT_A_SERVER: Final[tuple[tuple[str, int, str], ...]] = (
    ("ls", UNAVAILABLE, "no netvps server answers at unix:"),
    ("create web", UNAVAILABLE, "no netvps server answers at unix:"),
    ("logout local", CONFIGURATION, "context 'local' is this machine and cannot be forgotten"),
)
