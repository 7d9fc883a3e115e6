# Sourced by scripts/up: netvps as a copy of its own on this machine, which every account may run. See docs/install.md.
# shellcheck shell=bash
#
#   BASE/versions/DIGEST/   an environment with the locked packages and netvps; DIGEST is that of the sources
#   BASE/current            a link to one of them, replaced as a whole
#   LINKS/netvps            a link to BASE/current/bin/netvps, on the PATH
#
# As root BASE is /opt/netvps and LINKS /usr/local/bin; else they are ~/.local/share/netvps and ~/.local/bin. NETVPS_PREFIX
# is put before those of root, for packages and tests.

prefix=${NETVPS_PREFIX:-}
unset NETVPS_PREFIX # the programs refuse variables that they do not know
if [ "$(id -u)" = 0 ]; then base=$prefix/opt/netvps links=$prefix/usr/local/bin
else base=$HOME/.local/share/netvps links=$HOME/.local/bin; fi

# install_program: the copy is that of these sources. Sets `installed` where it was not.
install_program() {
  local version folder
  version=$(sources_digest)
  folder=$base/versions/$version
  if [ ! -e "$folder/complete" ] || [ "$(readlink "$base/current")" != "versions/$version" ]; then
    (
      umask 022
      mkdir -p "$base/versions" "$links"
      exec 9>"$base/.lock"
      flock 9
      build_program "$folder"
      point "$base/current" "versions/$version"
    )
    installed=yes
  fi
  link_program
  remove_old_programs "$version"
  export PATH="$base/current/bin:$PATH"
}

sources_digest() {
  (cd "$root" && find netvps tui tunnel -type f ! -path '*/__pycache__/*' ! -path 'netvps/agents/*' -print0 | sort -z \
    | xargs -0 sha256sum requirements.lock pyproject.toml hatch_build.py README.md LICENSE | sha256sum | cut -c1-12)
}

# build_program FOLDER: makes it, if it is not complete.
build_program() {
  local python
  [ ! -e "$1/complete" ] || return 0
  python=$(find_python shared) || { need_venv_package; python=$(find_python shared); } \
    || fail "needs Python 3.11 or newer with venv, where every account can run it"
  rm -rf "$1"
  if [ -e "$base/current" ]; then say "updating netvps in $base"
  else say "installing netvps in $base (this takes a minute)"; fi
  reuse_packages "$python" "$1" || {
    rm -rf "$1"
    "$python" -m venv "$1"
    "$1/bin/pip" install -q --disable-pip-version-check --require-hashes -r "$root/requirements.lock"
  }
  cp "$root/requirements.lock" "$1/requirements.lock"
  "$1/bin/python" -m pip install -q --disable-pip-version-check --no-deps "$root"
  touch "$1/complete"
}

# reuse_packages PYTHON FOLDER: makes it from the packages of a present copy, this account's or root's, if those are the
# locked ones. Files are shared by hard links where that is allowed; pip replaces files, and never writes into one.
reuse_packages() {
  local old from
  for old in "$base/current" /opt/netvps/current; do
    cmp -s "$old/requirements.lock" "$root/requirements.lock" || continue
    rm -rf "$2"
    "$1" -m venv --without-pip "$2" || return 1
    from=$(cd "$2/lib" && echo python3*)
    rm -rf "$2/lib/$from/site-packages"
    cp -al "$old/lib/$from/site-packages" "$2/lib/$from/" 2>/dev/null \
      || { rm -rf "$2/lib/$from/site-packages"; cp -a "$old/lib/$from/site-packages" "$2/lib/$from/" 2>/dev/null; } \
      || continue
    "$2/bin/python" -m pip --version >/dev/null 2>&1 && return
  done
  return 1
}

# point LINK TARGET: replaces a symbolic link in one step: a program that starts meanwhile finds the old one or the new.
point() {
  ln -sfn "$2" "$1.new"
  mv -T "$1.new" "$1"
}

link_program() {
  local link=$links/netvps target=$base/current/bin/netvps
  if [ "$(readlink "$link" 2>/dev/null)" != "$target" ]; then
    if [ -e "$link" ] && [ ! -L "$link" ]; then
      say "'netvps' is $target: $link is another program"
      return
    fi
    point "$link" "$target"
  fi
  case ":$person_path:" in
    *":$links:"*) ;;
    *) say "'netvps' is in $links, which is not on your PATH: log in again, or: export PATH=\"$links:\$PATH\"" ;;
  esac
}

# remove_old_programs VERSION: all but this one and the one before, which may still run.
remove_old_programs() {
  local name
  while read -r name; do rm -rf "$base/versions/$name"
  done < <(cd "$base/versions" && ls -t | grep -vx "$1" | tail -n +2)
}
