#!/usr/bin/env bash
# Checks of the C interface that need more than Rust and a C compiler: ffi/checks.sh NAME..., or all.
#
# A check that lacks a tool says "not checked: X missing" and passes on a user's machine; with CI set it
# fails.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
triple=$(rustc -vV | sed -n 's/^host: //p')

missing() {
  echo "not checked: $1 missing"
  [ -z "${CI:-}" ]
}
has() { command -v "$1" >/dev/null 2>&1; }
nightly() { cargo +nightly --version >/dev/null 2>&1; }

# Memory errors and leaks in every C program, without the ones whose point is to be many or to be loaded.
memcheck() { # 3 min
  has valgrind || { missing valgrind; return; }
  local runner="valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite"
  POINTSMAN_RUNNER="$runner" POINTSMAN_SCALE=100 cargo test -p pointsman-ffi --test programs -- \
    --skip loaded_and_unloaded --skip little_stack --skip allocate_nothing
  POINTSMAN_RUNNER="$runner" cargo test -p pointsman-ffi --test cpp
}

# Everything compiled by clang: its warnings differ from gcc's.
with_clang() { # 2 min
  has clang && has clang++ || { missing clang; return; }
  CC=clang CXX=clang++ cargo test -p pointsman-ffi --test header --test programs --test cpp --test examples
}

# A library instrumented by a sanitizer lies here afterwards.
sanitized() {
  local name=$1
  shift
  RUSTFLAGS="-Zsanitizer=$name ${extra_flags:-}" CARGO_TARGET_DIR="$target/$name" \
    cargo +nightly build "$@" --release --package pointsman-ffi --target "$triple"
  echo "built with -Zsanitizer=$name"
}

# AddressSanitizer on both sides of the boundary, UndefinedBehaviorSanitizer and leaks on the C side.
asan() { # 3 min
  nightly || { missing "nightly toolchain"; return; }
  has clang || { missing clang; return; }
  sanitized address
  # The runtime must see what the tests expect of it: an error in a known-bad program.
  local bad
  bad=$(mktemp -d)
  printf '#include <stdlib.h>\nint main(void) { char *p = malloc(8); free(p); return p[1]; }\n' > "$bad/bad.c"
  clang -fsanitize=address "$bad/bad.c" -o "$bad/bad" 2>/dev/null
  if "$bad/bad" 2>/dev/null; then echo "AddressSanitizer sees nothing"; return 1; fi
  rm -r "$bad"
  CC=clang CXX=clang++ POINTSMAN_CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all" \
    POINTSMAN_LIBRARY="$target/address/$triple/release" POINTSMAN_SCALE=10 \
    cargo test -p pointsman-ffi --test programs --test cpp --test examples -- \
    --skip loaded_and_unloaded --skip allocate_nothing --skip shared_library --skip little_stack \
    --skip readmes
}

# ThreadSanitizer on both sides, over the programs with threads.
tsan() { # 4 min
  nightly || { missing "nightly toolchain"; return; }
  has clang || { missing clang; return; }
  rustup +nightly component list 2>/dev/null | grep -q 'rust-src (installed)' ||
    rustup component add rust-src --toolchain nightly >/dev/null 2>&1 ||
    { missing rust-src; return; }
  sanitized thread -Zbuild-std
  # The compiler of C may be older than Rust's; the newer runtime knows both.
  local runtime
  runtime=$(find "$(rustc +nightly --print sysroot)" -name 'librustc*rt.tsan.a' | head -1)
  local flags="-fsanitize=thread -fno-sanitize-link-runtime -Wl,--whole-archive,$runtime,--no-whole-archive -lrt -lresolv -lm -ldl -lpthread"
  # A race that is there must be seen.
  local bad
  bad=$(mktemp -d)
  cat > "$bad/bad.c" <<'BAD'
#include <pthread.h>
static int shared;
static void *add(void *unused) { for (int i = 0; i < 1000; i++) shared++; return unused; }
int main(void) { pthread_t t; pthread_create(&t, 0, add, 0); add(0); return pthread_join(t, 0); }
BAD
  # shellcheck disable=SC2086
  clang -g "$bad/bad.c" $flags -o "$bad/bad"
  if TSAN_OPTIONS="halt_on_error=1" "$bad/bad" 2>/dev/null; then echo "ThreadSanitizer sees nothing"; return 1; fi
  rm -r "$bad"
  CC=clang CXX=clang++ TSAN_OPTIONS="halt_on_error=1" POINTSMAN_CFLAGS="$flags" \
    POINTSMAN_LIBRARY="$target/thread/$triple/release" POINTSMAN_SCALE=20 \
    cargo test -p pointsman-ffi --test programs --test cpp --test examples -- threads gateway owned
}

# A project outside of the tree builds through CMake, against the shared library and the archive.
with_cmake() { # 2 min
  has cmake || { missing cmake; return; }
  cargo build --release --package pointsman-ffi
  local root
  root=$(mktemp -d)
  sh ffi/install.sh --prefix="$root/usr" --no-build
  mkdir "$root/consumer"
  cp ffi/examples/first.c ffi/examples/gateway.cpp "$root/consumer/"
  cat > "$root/consumer/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.13)
project(consumer C CXX)
set(CMAKE_CXX_STANDARD 17)
find_package(pointsman 0.1 REQUIRED)
find_package(Threads REQUIRED)
add_executable(first first.c)
target_link_libraries(first PRIVATE pointsman::pointsman)
add_executable(first_static first.c)
target_link_libraries(first_static PRIVATE pointsman::static)
add_executable(gateway gateway.cpp)
target_link_libraries(gateway PRIVATE pointsman::pointsman Threads::Threads)
CMAKE
  cmake -S "$root/consumer" -B "$root/build" -DCMAKE_PREFIX_PATH="$root/usr" >/dev/null
  cmake --build "$root/build" >/dev/null
  for program in first first_static gateway; do "$root/build/$program"; done
  # Another version than the installed one is refused.
  sed -i 's/pointsman 0.1/pointsman 0.2/' "$root/consumer/CMakeLists.txt"
  if cmake -S "$root/consumer" -B "$root/other" -DCMAKE_PREFIX_PATH="$root/usr" >/dev/null 2>&1; then
    echo "version 0.2 was asked for and 0.1 taken"
    return 1
  fi
  rm -r "$root"
}

# What the C interface adds to Rust's own cost, in instructions per select and complete.
cost() { # 3 min
  has valgrind || { missing valgrind; return; }
  cargo build --release --package pointsman-ffi
  cargo build --release --package pointsman-ffi --example cost
  local work
  work=$(mktemp -d)
  ${CC:-cc} -O2 -std=c11 -D_GNU_SOURCE -Iinclude -Iffi/tests/c ffi/tests/c/cost.c \
    "$target/release/libpointsman.a" -lpthread -ldl -lm -lgcc_s -o "$work/c"
  strip -g -o "$work/rust" "$target/release/examples/cost"
  strip -g "$work/c"
  # Instructions in these functions and what they call, per request.
  count() {
    local functions=$1
    shift
    valgrind --tool=callgrind --callgrind-out-file="$work/out" "$@" >/dev/null 2>&1
    callgrind_annotate --inclusive=yes --threshold=100 "$work/out" 2>/dev/null | tr -d , |
      awk -v f="$functions" '$0 ~ f && /^ *[0-9]/ { sum += $1 } END { printf "%d", sum / 100000 }'
  }
  local policy c rust
  for policy in round_robin power_of_two; do
    c=$(count ':pointsman_(select|complete) ' "$work/c" library "$policy" 100000)
    # All of main but the making of the router.
    rust=$(($(count ':cost::main ' "$work/rust" "$policy" 100000) -
      $(count 'Router::new |Router::set_policy |Router::add_worker ' "$work/rust" "$policy" 100000)))
    echo "$policy: $c instructions through C, $rust in Rust: $((c - rust)) more"
    # The bar is 60 on round-robin; power-of-two has a runner-up to pass on.
    [ $((c - rust)) -le $([ $policy = round_robin ] && echo 60 || echo 70) ]
  done
}

# Builds that would turn panics into aborts are refused; other platforms compile where they are at hand.
platforms() { # 1 min
  if CARGO_PROFILE_DEV_PANIC=abort CARGO_TARGET_DIR="$target/abort" \
    cargo check -p pointsman-ffi 2> "$target/abort.log"; then
    echo "panic = \"abort\" was accepted"
    return 1
  fi
  grep -q 'cannot be built with panic' "$target/abort.log"
  local platform
  for platform in x86_64-unknown-linux-musl aarch64-unknown-linux-gnu aarch64-unknown-linux-musl; do
    if rustup target list --installed 2>/dev/null | grep -qx "$platform" ||
      rustup target add "$platform" >/dev/null 2>&1; then
      cargo check -p pointsman-ffi --target "$platform"
    else
      missing "target $platform" || return 1
    fi
  done
}

names="memcheck with_clang asan tsan with_cmake cost platforms"
case "${1:-list}" in
  list) echo "checks: $names" ;;
  all) for name in $names; do echo "== $name"; "$name"; done ;;
  *) for name in "$@"; do
    case " $names " in *" $name "*) "$name" ;; *) echo "checks: $names" >&2; exit 2 ;; esac
  done ;;
esac
