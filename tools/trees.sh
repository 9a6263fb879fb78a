# Debian installations in folders of their own ("trees"), for PostgreSQL versions and tools that this machine does not have:
# made by debootstrap, entered by chroot. Needs root. Sourced by the scripts that use one, after tools/common.sh.

MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
TREES=${VECCKPT_TREES:-/var/tmp/vecckpt-trees}
# The suite of Debian that has a version of PostgreSQL; none has 16.
declare -A SUITES=([15]=bookworm [17]=trixie [18]=forky)

# lock_tree TREE: until the (sub)shell ends.
lock_tree() {
  mkdir -p "$TREES"
  exec 9>>"$1.lock"
  flock -n 9 || die "another run uses $1"
}

# in_tree TREE COMMAND...: runs it there with /proc and /dev, in namespaces that end with it, so that nothing it mounted
# or started is left behind. The folder TREE_DATA, where set, is its /mnt.
in_tree() {
  unshare --mount --pid --fork --kill-child bash -c '
    tree=$1 data=$2 && shift 2
    # A mount point of its own, so that commands in it can have mount namespaces of theirs.
    mount --bind "$tree" "$tree" && mount -t proc proc "$tree/proc" &&
      mount --rbind /dev "$tree/dev" && mount --make-rslave "$tree/dev" || exit
    [[ -z $data ]] || mount -o bind,ro "$data" "$tree/mnt" || exit
    exec chroot "$tree" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/tmp \
      DEBIAN_FRONTEND=noninteractive "$@"
  ' in_tree "$1" "${TREE_DATA:-}" "${@:2}"
}

# install_tree TREE SUITE LOG PACKAGE...: makes the tree, or brings it to this list of packages.
install_tree() {
  local tree=$1 suite=$2 log=$3 packages=("${@:4}") script=() stamp=$1/etc/vecckpt-packages
  [[ ! -f $stamp || $(<"$stamp") != "${packages[*]}" ]] || return 0
  mkdir -p "$(dirname "$tree")" "$(dirname "$log")"
  if [[ ! -x $tree/usr/bin/apt-get || -d $tree/debootstrap ]]; then
    command -v debootstrap >/dev/null || { apt-get update -q && apt_install debootstrap; } >"$log" 2>&1 ||
      die "debootstrap cannot be installed, see $log"
    # One that is older than the suite does not know its name.
    [[ -e /usr/share/debootstrap/scripts/$suite ]] || script=(/usr/share/debootstrap/scripts/sid)
    say "installing Debian $suite into $tree"
    rm -rf --one-file-system "$tree"
    debootstrap --variant=minbase "$suite" "$tree" "$MIRROR" "${script[@]}" >>"$log" 2>&1 ||
      die "debootstrap failed, see $log"
  fi
  say "installing packages there"
  # No cluster of Debian's, and no service is started.
  mkdir -p "$tree/etc/postgresql-common"
  printf 'create_main_cluster = false\n' >"$tree/etc/postgresql-common/createcluster.conf"
  printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
  chmod 755 "$tree/usr/sbin/policy-rc.d"
  cp /etc/resolv.conf "$tree/etc/resolv.conf"
  # A mirror may lag behind, and clocks differ.
  printf 'Acquire::Check-Valid-Until "false";\n' >"$tree/etc/apt/apt.conf.d/valid-until"
  # What a power failure spoils is made again.
  printf 'force-unsafe-io\n' >"$tree/etc/dpkg/dpkg.cfg.d/unsafe-io"
  { in_tree "$tree" apt-get update -q && in_tree "$tree" apt-get install -y --no-install-recommends "${packages[@]}"; } \
    </dev/null >>"$log" 2>&1 || die "installing packages failed, see $log"
  printf '%s' "${packages[*]}" >"$stamp"
}

# copy_source FOLDER: this repository as it is, in place of what is there, without what was built in either: an object can be
# newer than the source it was not made of. Only the folders build and .local stay.
copy_source() {
  mkdir -p "$1" &&
    find "$1" -mindepth 1 -maxdepth 1 ! -name build ! -name .local -exec rm -rf {} + &&
    tar -C "$ROOT" -c --exclude=./.git --exclude=./.local --exclude=./build --exclude='*.o' --exclude='*.d' --exclude='*.so' . |
    tar -C "$1" -x --no-same-owner
}
