# ./run attack MINUTES [KIND]: writers, changes of definitions, faults and damage against a primary and a standby, whose
# indexes are compared with sequential scans all the time (test/attack). KIND: plain; small, with the library with fault points,
# whose extents are tiny; sanitized. Fails if anything was found; what the servers were like stays then.
source "$ROOT/tools/attacks.sh"

minutes=${1:-}
kind=${2:-plain}
[[ $minutes =~ ^[0-9]*\.?[0-9]+$ && $kind =~ ^(plain|small|sanitized)$ ]] || die "usage: ./run attack MINUTES [plain|small|sanitized]"
# shellcheck disable=SC2046
setup $(attack_packages) cmake libgtest-dev
LOGS=$LOCAL/logs
mkdir -p "$LOGS"
{ build_extension && install_extension; } >"$LOGS/build.log" 2>&1 || die "the extension cannot be built; see $LOGS/build.log"
build_attack "$kind" >"$LOGS/build-attack.log" 2>&1 || die "the library cannot be built; see $LOGS/build-attack.log"
attack "$kind" "$minutes" | tee "$LOGS/attack.log"
exit "${PIPESTATUS[0]}"
