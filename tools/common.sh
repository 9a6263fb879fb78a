# Shared by run and the scripts in tools/: where things are, who runs servers, what must be installed.
# Sourced by bash with set -euo pipefail, after ROOT is set.

umask 022
LOCAL=$ROOT/.local
JOBS=$(nproc 2>/dev/null || echo 2)
PORT=54329 # only names a socket: the private servers do not listen on TCP

say() { printf '%s\n' "$*"; }
die() {
  printf 'run: %s\n' "$*" >&2
  exit 1
}

# ---- PostgreSQL's programs -------------------------------------------------------------------------------

find_postgres() {
  PG_MAJOR=${PG_MAJOR:-15}
  if [[ -z ${PG_CONFIG:-} ]]; then
    PG_CONFIG=/usr/lib/postgresql/$PG_MAJOR/bin/pg_config
    [[ -x $PG_CONFIG ]] || PG_CONFIG=$(command -v pg_config || true)
  fi
  [[ -n $PG_CONFIG && -x $PG_CONFIG ]] || return 1
  [[ -f $("$PG_CONFIG" --pgxs) && -f $("$PG_CONFIG" --includedir-server)/postgres.h ]] || return 1
  PGBIN=$("$PG_CONFIG" --bindir)
  PGXS_TEST=$(dirname "$("$PG_CONFIG" --pgxs)")/../test
  [[ -x $PGBIN/initdb ]] || return 1
  export PG_CONFIG
}

# ---- Who does what: PostgreSQL refuses to run as root, and installing needs root -------------------------

as_root() {
  if [[ $EUID == 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root and there is no sudo; run as root: $*"
  fi
}

as_server() {
  if [[ $EUID == 0 ]]; then
    # From a folder that the user can enter, else every program complains about it.
    (cd "${SERVER_DIR:-/}" && runuser -u postgres -- "$@")
  else
    (cd "${SERVER_DIR:-/}" && "$@")
  fi
}

# make_server_dir NAME: sets SERVER_DIR to a folder that the server's user owns: .local/NAME where it can be reached and
# is short enough for a socket path, else one under /var/tmp whose path .local/NAME.path records.
make_server_dir() {
  local name=$1 record=$LOCAL/$1.path
  mkdir -p "$LOCAL"
  if [[ -f $record ]]; then
    SERVER_DIR=$(<"$record")
    [[ -d $SERVER_DIR ]] && return
  fi
  SERVER_DIR=$LOCAL/$name
  mkdir -p "$SERVER_DIR"
  [[ $EUID != 0 ]] || chown postgres: "$SERVER_DIR"
  if ((${#SERVER_DIR} > 70)) || ! as_server test -w "$SERVER_DIR" 2>/dev/null; then
    rmdir "$SERVER_DIR"
    SERVER_DIR=$(mktemp -d "/var/tmp/vecckpt.XXXXXX")
    [[ $EUID != 0 ]] || chown postgres: "$SERVER_DIR"
  fi
  printf '%s\n' "$SERVER_DIR" >"$record"
}

# find_server_dir NAME: the folder that make_server_dir made, or failure.
find_server_dir() {
  [[ -f $LOCAL/$1.path ]] || return 1
  SERVER_DIR=$(<"$LOCAL/$1.path")
  [[ -d $SERVER_DIR ]]
}

remove_server_dir() {
  find_server_dir "$1" || return 0
  case $SERVER_DIR in
    "$LOCAL/$1" | /var/tmp/vecckpt.*) rm -rf "$SERVER_DIR" ;;
    *) die "will not remove $SERVER_DIR, which is not ours" ;;
  esac
  rm -f "$LOCAL/$1.path"
}

# ---- Setup and build -------------------------------------------------------------------------------------

missing_packages() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) == "install ok installed" ]] || printf '%s\n' "$package"
  done
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    -o Dpkg::Options::=--force-confold "$@" </dev/null
}

# Installing the server package would create and start a cluster "main": switched off for the time of the installation.
install_server() {
  local conf=/etc/postgresql-common/createcluster.conf saved
  [[ -z $(missing_packages postgresql-common) ]] || apt_install postgresql-common
  saved=$(mktemp)
  cat "$conf" >"$saved" 2>/dev/null || true
  printf 'create_main_cluster = false\n' | as_root tee "$conf" >/dev/null
  local status=0
  apt_install "postgresql-$PG_MAJOR" || status=$?
  as_root tee "$conf" <"$saved" >/dev/null
  rm -f "$saved"
  return $status
}

# Groups of tests that VECCKPT_SKIP leaves out.
skipped() { [[ " ${VECCKPT_SKIP:-} " == *" $1 "* ]]; }

# Debian's Python (tools/attacks.sh), which has Debian's psycopg2.
attack_packages() { printf '%s\n' python3 python3-psycopg2; }

# What only tests need.
test_packages() {
  skipped source || printf '%s\n' clang-format
  { skipped core && skipped asan && skipped tsan && skipped fuzz && skipped sanitized && skipped attack; } || printf '%s\n' cmake libgtest-dev libbenchmark-dev
  skipped fuzz || printf '%s\n' clang libclang-rt-dev
  skipped attack || attack_packages
  skipped regress || printf '%s\n' locales
}

# Before programs whose sanitizers may not find room in a randomized address space; nothing where that is not allowed.
FIXED_ADDRESSES=()
! setarch "$(uname -m)" -R true 2>/dev/null || FIXED_ADDRESSES=(setarch "$(uname -m)" -R)

# setup [PACKAGE...]: those as well.
setup() {
  find_postgres || true
  if ! command -v dpkg-query >/dev/null; then
    find_postgres || die "PostgreSQL's server and its development files are missing (PG_CONFIG names pg_config)"
    return
  fi
  local packages=(g++ make procps perl libipc-run-perl libhwy-dev libxxhash-dev "$@") missing
  find_postgres || packages+=("postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR")
  mapfile -t missing < <(missing_packages "${packages[@]}")
  if ((${#missing[@]})); then
    say "installing: ${missing[*]}"
    as_root apt-get update -q </dev/null
    if [[ " ${missing[*]} " == *" postgresql-$PG_MAJOR "* ]]; then
      install_server
    fi
    apt_install "${missing[@]}"
  fi
  find_postgres || die "PostgreSQL $PG_MAJOR is installed, but its pg_config was not found; set PG_CONFIG"
}

build_extension() {
  make -C "$ROOT" -s -j "$JOBS" PG_CONFIG="$PG_CONFIG"
}

# ---- The core alone, by CMake (tools/test.sh, tools/sanitized.sh)
SANITIZERS=address,undefined,float-cast-overflow

# configure_core NAME [CMAKE OPTION...]: in build/NAME.
configure_core() {
  local dir=$ROOT/build/$1
  shift
  mkdir -p "$dir"
  rm -rf "$dir/report"
  cmake -S "$ROOT" -B "$dir" "$@"
}

# The extension with fault points (src/base/fault_point.hpp), in a copy of the sources; nothing of it is installed.
FAULT_POINTS_DIR=$ROOT/build/fault_points
build_fault_points() {
  mkdir -p "$FAULT_POINTS_DIR"
  (cd "$ROOT" && tar -cf - Makefile *.control $(find src -name '*.[ch]pp')) | tar -C "$FAULT_POINTS_DIR" -xf -
  make -C "$FAULT_POINTS_DIR" -s -j "$JOBS" PG_CONFIG="$PG_CONFIG" FAULT_POINTS=1
}

# The server looks for extensions in its own folders only.
install_extension() {
  if [[ -w $("$PG_CONFIG" --pkglibdir) && -w $("$PG_CONFIG" --sharedir)/extension ]]; then
    make -C "$ROOT" -s install PG_CONFIG="$PG_CONFIG" >/dev/null
  else
    say "installing the extension into $("$PG_CONFIG" --pkglibdir) needs root"
    as_root make -C "$ROOT" -s install PG_CONFIG="$PG_CONFIG" >/dev/null
  fi
}
