# The libFuzzer executables of test/fuzz, built with clang. Sourced by the scripts of ./run.

FUZZERS=(codec_fuzzer half_fuzzer liveness_fuzzer manifest_fuzzer segment_fuzzer)

build_fuzzers() {
  cmake -S "$ROOT" -B "$ROOT/build/fuzz" -DCMAKE_CXX_COMPILER=clang++ -DVECCKPT_FUZZ=ON &&
    cmake --build "$ROOT/build/fuzz" -j "$JOBS" --target "${FUZZERS[@]}"
}

# run_fuzzer NAME CORPUS ARGUMENT...: from the seeds and what is in CORPUS, a folder, which takes what is learnt. Fails if an
# input breaks a promise, and leaves it in .local/fuzz.
run_fuzzer() {
  local name=$1 corpus=$2
  shift 2
  mkdir -p "$corpus"
  "${FIXED_ADDRESSES[@]}" "$ROOT/build/fuzz/$name" -artifact_prefix="$LOCAL/fuzz/$name-" -print_final_stats=1 "$@" "$corpus" \
    "$ROOT/test/fuzz/seeds/${name%_fuzzer}"
}

# How many inputs a fuzzer's log says it has tried.
inputs_tried() {
  sed -n 's/^stat::number_of_executed_units: *//p' "$1" | tail -n 1
}
