# ./run bench: pgvector and vecckpt side by side in one private PostgreSQL 17 server, in a Debian 13 installation of its own
# below /var/tmp. The measuring is done by test/bench/bench.py inside it; results go to test/bench/results.

[[ $EUID == 0 ]] || exec sudo --preserve-env=DEBIAN_MIRROR,VECCKPT_BENCH,VECCKPT_DATA "$ROOT/run" bench "$@"

BENCH=${VECCKPT_BENCH:-/var/tmp/vecckpt-bench}
TREE=$BENCH/trixie
MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

bench_usage() {
  cat <<END
usage: ./run bench [--quick] [--data DIR] [OPTION...]

  --quick       fewer rows, points and repetitions: about three minutes
  --data DIR    folder with NAME.base.* and NAME.query.* files (u8bin, f16bin, fbin); default: VECCKPT_DATA, or the
                folder shared/data beside the repository. Everything below is passed on:
END
  in_tree python3 /bench/source/test/bench/bench.py --help | sed -n '/^options:/,$p' | sed 1,2d
}

# in_tree COMMAND...: runs it in the installation, with /proc and /dev, in namespaces that end with it, so that nothing it
# mounted or started is left behind.
in_tree() {
  unshare --mount --pid --fork --kill-child bash -c '
    tree=$1 && shift
    mount -t proc proc "$tree/proc" && mount --rbind /dev "$tree/dev" && mount --make-rslave "$tree/dev"
    exec chroot "$tree" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/bench DEBIAN_FRONTEND=noninteractive "$@"
  ' in_tree "$TREE" "$@"
}

# ---- Debian 13 with PostgreSQL 17 and pgvector
install_tree() {
  local packages=(postgresql-17 postgresql-17-pgvector postgresql-server-dev-17 g++ make libhnswlib-dev libhwy-dev
    libxxhash-dev python3 python3-psycopg2 gnuplot-nox) stamp
  stamp="$TREE/bench/installed"
  [[ ! -f $stamp || $(<"$stamp") != "${packages[*]}" ]] || return 0
  if [[ ! -x $TREE/usr/bin/apt-get || -d $TREE/debootstrap ]]; then
    command -v debootstrap >/dev/null || { apt-get update -q && apt_install debootstrap; }
    say "installing Debian trixie into $TREE"
    rm -rf "$TREE"
    mkdir -p "$BENCH"
    debootstrap --variant=minbase trixie "$TREE" "$MIRROR" >"$BENCH/install.log" 2>&1 ||
      die "debootstrap failed, see $BENCH/install.log"
  fi
  say "installing PostgreSQL 17, pgvector and a compiler there"
  # No cluster of Debian's, and no service is started.
  mkdir -p "$TREE/etc/postgresql-common" "$TREE/bench"
  printf 'create_main_cluster = false\n' >"$TREE/etc/postgresql-common/createcluster.conf"
  printf '#!/bin/sh\nexit 101\n' >"$TREE/usr/sbin/policy-rc.d"
  chmod 755 "$TREE/usr/sbin/policy-rc.d"
  cp /etc/resolv.conf "$TREE/etc/resolv.conf"
  { in_tree apt-get update -q && in_tree apt-get install -y --no-install-recommends "${packages[@]}"; } </dev/null \
    >>"$BENCH/install.log" 2>&1 || die "installing packages failed, see $BENCH/install.log"
  printf '%s' "${packages[*]}" >"$stamp"
}

# ---- Our extension, from a copy of the source: objects of another PostgreSQL must not be mixed in
copy_source() {
  local source=$TREE/bench/source
  mkdir -p "$source"
  rm -rf "$source/sql" "$source/test"
  find "$source/src" \( -name '*.cpp' -o -name '*.hpp' \) -delete 2>/dev/null || true
  tar -C "$ROOT" -c --exclude='*.o' --exclude='*.d' --exclude=results Makefile vecckpt.control sql src test/bench |
    tar -C "$source" -x --no-same-owner
}
build_in_tree() {
  local log=$BENCH/build.log
  in_tree make -C /bench/source -j "$JOBS" PG_CONFIG=/usr/lib/postgresql/17/bin/pg_config install >"$log" 2>&1 &&
    in_tree g++ -std=c++20 -O3 -march=native -Wall -Wextra -o /bench/raw_hnswlib \
      /bench/source/test/bench/raw_hnswlib.cpp -lpthread >>"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    die "building for PostgreSQL 17 failed, see $log"
  }
}

data=${VECCKPT_DATA:-}
[[ -n $data || ! -d $ROOT/../shared/data ]] || data=$ROOT/../shared/data
arguments=()
while (($#)); do
  case $1 in
    --data) data=${2:?--data needs a folder} && shift ;;
    --data=*) data=${1#--data=} ;;
    -h | --help) help=1 ;;
    *) arguments+=("$1") ;;
  esac
  shift
done

install_tree
copy_source
if [[ -n ${help:-} ]]; then
  bench_usage
  exit
fi
[[ -d $data ]] || die "no folder with vectors; name one with --data"
build_in_tree

# The vectors are linked or copied, so that the server's user can read them.
install -d -o postgres -g postgres "$TREE/bench/work" 2>/dev/null || install -d "$TREE/bench/work"
in_tree chown postgres: /bench/work
rm -rf "$TREE/bench/vectors"
mkdir "$TREE/bench/vectors"
cp "$data"/*.base.*bin "$data"/*.query.*bin "$TREE/bench/vectors/"

in_tree runuser -u postgres -- python3 -u /bench/source/test/bench/bench.py --vectors /bench/vectors --work /bench/work \
  --raw /bench/raw_hnswlib ${arguments[@]+"${arguments[@]}"}

mkdir -p "$ROOT/test/bench/results"
cp "$TREE"/bench/work/results/* "$ROOT/test/bench/results/"
say "results are in test/bench/results"
