# ./run bench: pgvector and vecckpt side by side in one private PostgreSQL 17 server, in a Debian 13 installation of its own
# below /var/tmp. The measuring is done by test/bench/bench.py inside it; results go to test/bench/results.

[[ $EUID == 0 ]] || exec sudo --preserve-env=DEBIAN_MIRROR,VECCKPT_BENCH,VECCKPT_DATA "$ROOT/run" bench "$@"

source "$ROOT/tools/trees.sh"

BENCH=${VECCKPT_BENCH:-/var/tmp/vecckpt-bench}
TREE=$BENCH/trixie

bench_usage() {
  cat <<END
usage: ./run bench [--quick] [--data DIR] [OPTION...]

  --quick       fewer rows, points and repetitions: about three minutes
  --remove      removes that installation again
  --data DIR    folder with NAME.base.* and NAME.query.* files (u8bin, f16bin, fbin); default: VECCKPT_DATA, or the
                folder shared/data beside the repository. Everything below is passed on:
END
  in_bench python3 /bench/source/test/bench/bench.py --help | sed -n '/^options:/,$p' | sed 1,2d
}

# Debian 13 with PostgreSQL 17 and pgvector.
PACKAGES=(postgresql-17 postgresql-17-pgvector postgresql-server-dev-17 g++ make libhnswlib-dev libhwy-dev
  libxxhash-dev python3 python3-psycopg2 gnuplot-nox)
in_bench() { in_tree "$TREE" env HOME=/bench "$@"; }

# ---- Our extension, from a copy of the source: objects of another PostgreSQL must not be mixed in
build_in_tree() {
  local log=$BENCH/build.log
  in_bench make -C /bench/source -j "$JOBS" PG_CONFIG=/usr/lib/postgresql/17/bin/pg_config install >"$log" 2>&1 &&
    in_bench g++ -std=c++20 -O3 -march=native -Wall -Wextra -o /bench/raw_hnswlib \
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
    --remove)
      rm -rf --one-file-system "$TREE" "$BENCH"/{install,build}.log
      say "removed $TREE"
      exit
      ;;
    -h | --help) help=1 ;;
    --quick) quick=1 && arguments+=("$1") ;;
    *) arguments+=("$1") ;;
  esac
  shift
done

mkdir -p "$BENCH"
exec 9>>"$BENCH/lock"
flock -n 9 || die "another ./run bench is running"
install_tree "$TREE" trixie "$BENCH/install.log" "${PACKAGES[@]}"
copy_source "$TREE/bench/source"
if [[ -n ${help:-} ]]; then
  bench_usage
  exit
fi
[[ -d $data ]] || die "no folder with vectors; name one with --data"
build_in_tree

# The vectors are linked or copied, so that the server's user can read them.
install -d -o postgres -g postgres "$TREE/bench/work" 2>/dev/null || install -d "$TREE/bench/work"
in_bench chown postgres: /bench/work
rm -rf "$TREE/bench/vectors"
mkdir "$TREE/bench/vectors"
cp "$data"/*.base.*bin "$data"/*.query.*bin "$TREE/bench/vectors/"

in_bench runuser -u postgres -- python3 -u /bench/source/test/bench/bench.py --vectors /bench/vectors --work /bench/work \
  --raw /bench/raw_hnswlib ${arguments[@]+"${arguments[@]}"}

# Quick figures are for the one who asked, not for the repository.
results=$ROOT/test/bench/results
[[ -z ${quick:-} ]] || results=$LOCAL/bench
rm -rf "$results"
mkdir -p "$results"
cp "$TREE"/bench/work/results/* "$results/"
[[ -n ${SUDO_UID:-} ]] && chown -R "$SUDO_UID:$SUDO_GID" "$results"
say "results are in ${results#"$ROOT"/}"
