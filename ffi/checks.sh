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
# The runtime of a sanitizer that comes with Rust's own builds of the compiler.
runtime() { find "$(rustc --print sysroot)" -name "librustc*rt.$1.a" 2>/dev/null | head -1; }
# Whether this component, or the standard library for this target, is there or could be fetched.
fetched() { rustup "$1" list --installed 2>/dev/null | grep -q "^$2" || rustup "$1" add "$2" >/dev/null 2>&1; }

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

# A library instrumented by a sanitizer lies in target/NAME afterwards. The option is not stable, so the
# stable compiler must be told to take it; what is tested is then what is shipped.
sanitized() {
  local name=$1
  shift
  RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$name" CARGO_TARGET_DIR="$target/$name" \
    cargo build "$@" --release --package pointsman-ffi --target "$triple"
}

# AddressSanitizer on both sides of the boundary, UndefinedBehaviorSanitizer and leaks on the C side.
asan() { # 3 min
  has clang || { missing clang; return; }
  [ -n "$(runtime asan)" ] || { missing "AddressSanitizer's runtime for Rust"; return; }
  [ -e "$(clang -print-file-name="libclang_rt.asan-$(uname -m).a")" ] ||
    { missing "AddressSanitizer's runtime for clang"; return; }
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
  has clang || { missing clang; return; }
  # The compiler of C may be older than Rust's; the newer runtime knows both.
  local runtime
  runtime=$(runtime tsan)
  [ -n "$runtime" ] || { missing "ThreadSanitizer's runtime for Rust"; return; }
  # The standard library's own synchronisation must be seen, or it looks like races.
  fetched component rust-src || { missing rust-src; return; }
  sanitized thread -Zbuild-std
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
  # The lines of ffi/README.md, and the other choice that they name.
  mkdir "$root/docs"
  cp ffi/examples/first.c "$root/docs/"
  local kind
  for kind in pointsman static; do
    { printf 'cmake_minimum_required(VERSION 3.13)\nproject(docs C)\nadd_executable(first first.c)\n'
      sed -n '/^```cmake/,/^```/{/^```/!p}' ffi/README.md | sed "s/pointsman::pointsman/pointsman::$kind/"
    } > "$root/docs/CMakeLists.txt"
    grep -q "pointsman::$kind" "$root/docs/CMakeLists.txt"
    cmake -S "$root/docs" -B "$root/docs/$kind" -DCMAKE_PREFIX_PATH="$root/usr" >/dev/null
    cmake --build "$root/docs/$kind" >/dev/null
    "$root/docs/$kind/first"
  done
  # Another version than the installed one is refused.
  sed -i 's/pointsman 0.1/pointsman 0.2/' "$root/consumer/CMakeLists.txt"
  if cmake -S "$root/consumer" -B "$root/other" -DCMAKE_PREFIX_PATH="$root/usr" >/dev/null 2>&1; then
    echo "version 0.2 was asked for and 0.1 taken"
    return 1
  fi
  rm -r "$root"
}

# The Debian packages, installed into an empty root by dpkg itself; then programs are linked with what lies there.
deb() { # seconds
  has dpkg-deb || { missing dpkg-deb; return; }
  has pkg-config || { missing pkg-config; return; }
  local root lib work
  root=$(mktemp -d) work=$(mktemp -d)
  sh ffi/package/deb.sh --output="$work"
  mkdir -p "$root/var/lib/dpkg/updates" "$root/var/lib/dpkg/info"
  touch "$root/var/lib/dpkg/status"
  # The root has no C library of its own, and no ldconfig to run.
  dpkg --root="$root" --force-depends --force-not-root --no-triggers --force-script-chrootless \
    --install "$work"/*.deb >/dev/null 2>"$work/log" || { cat "$work/log"; return 1; }
  [ "$(dpkg --root="$root" --get-selections | grep -c '[[:space:]]install$')" = 3 ]
  lib=$(dirname "$(find "$root/usr/lib" -name libpointsman.so.0)")
  # Stripped, and what was stripped is where debuggers look for it.
  if readelf -S "$lib/libpointsman.so.0" | grep -q '\.debug_'; then echo "not stripped"; return 1; fi
  readelf -S "$lib/.debug/"libpointsman.so.*.debug | grep -q '\.debug_line'
  readelf --string-dump=.gnu_debuglink "$lib/libpointsman.so.0" | grep -q 'libpointsman.so.*.debug'
  if readelf -S "$lib/libpointsman.a" 2>/dev/null | grep -q '\.debug_'; then echo "archive not stripped"; return 1; fi
  local name
  for name in pointsman pointsman-static; do
    # shellcheck disable=SC2046
    PKG_CONFIG_LIBDIR="$lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$root" \
      sh -c "cc ffi/examples/first.c \$(pkg-config --cflags --libs $name) -o '$work/$name'"
    LD_LIBRARY_PATH="$lib" "$work/$name"
  done
  if has cmake; then
    mkdir "$work/cmake"
    cp ffi/examples/first.c "$work/cmake/"
    printf '%s\n' 'cmake_minimum_required(VERSION 3.13)' 'project(consumer C)' \
      'find_package(pointsman 0.1 REQUIRED)' 'add_executable(first first.c)' \
      'target_link_libraries(first PRIVATE pointsman::pointsman)' > "$work/cmake/CMakeLists.txt"
    cmake -S "$work/cmake" -B "$work/cmake/build" -Dpointsman_DIR="$lib/cmake/pointsman" >/dev/null
    cmake --build "$work/cmake/build" >/dev/null
    "$work/cmake/build/first"
  fi
  # Removed without a trace.
  dpkg --root="$root" --force-not-root --no-triggers --purge libpointsman-dev libpointsman0-dbgsym libpointsman0 \
    >/dev/null 2>&1
  [ -z "$(find "$root/usr" -name '*pointsman*' 2>/dev/null)" ]
  rm -r "$root" "$work"
}

# The programs whose cost is compared lie in $work as c and rust afterwards.
priced() {
  cargo build --release --package pointsman-ffi
  cargo build --release --package pointsman-ffi --example cost
  work=$(mktemp -d)
  ${CC:-cc} -O2 -std=c11 -D_GNU_SOURCE -Iinclude -Iffi/tests/c ffi/tests/c/cost.c \
    "$target/release/libpointsman.a" -lpthread -ldl -lm -lgcc_s -o "$work/c"
  strip -g -o "$work/rust" "$target/release/examples/cost"
  strip -g "$work/c"
}

# What the C interface adds to Rust's own cost, in instructions per select and complete.
cost() { # 3 min
  has valgrind || { missing valgrind; return; }
  local work
  priced
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
    # What checking every pointer and writing the answer takes, in calls that are not inlined; power-of-two
    # has a runner-up to pass on.
    [ $((c - rust)) -le $([ $policy = round_robin ] && echo 90 || echo 100) ]
  done
  rm -r "$work"
}

# The same as time, over the floor of the same run: medians of 15 rounds in turn. For a quiet machine, so
# not among all the checks.
timing() { # 1 min
  local work round
  priced
  for round in $(seq 15); do
    "$work/rust" floor 2000000 time >> "$work/floor.ns"
    "$work/rust" round_robin 1000000 time >> "$work/rust.ns"
    "$work/c" library round_robin 1000000 time >> "$work/c.ns"
  done
  median() { sort -n "$work/$1.ns" | sed -n 8p; }
  echo "$(median floor) $(median rust) $(median c)" | awk '{
    over = ($5 - $3) / $1
    printf "floor %.1f ns, Rust %.1f ns, C %.1f ns: %.1f floors more; the bar of 3 is %s\n",
      $1, $3, $5, over, over <= 3 ? "met" : "missed" }'
  rm -r "$work"
}

# A library that turned panics into aborts would end its host; so it is not built.
abort_is_refused() {
  if CARGO_PROFILE_DEV_PANIC=abort CARGO_TARGET_DIR="$target/abort" \
    cargo check -p pointsman-ffi 2> "$target/abort.log"; then
    echo "panic = \"abort\" was accepted"
    return 1
  fi
  grep -q 'cannot be built with panic' "$target/abort.log"
}

# Other machines and C libraries: compiled everywhere, and where a C compiler for them is at hand, linked
# and run.
platforms() { # 4 min
  abort_is_refused
  musl
  aarch64
  local for=aarch64-unknown-linux-musl
  fetched target $for || { missing "target $for"; return; }
  cargo check --release -p pointsman-ffi --target $for
}

# Static programs with another C library.
musl() {
  local for=x86_64-unknown-linux-musl unwinder work program
  fetched target $for || { missing "target $for"; return; }
  has musl-gcc || { missing musl-gcc; return; }
  cargo build --release -p pointsman-ffi --target $for
  # The compiler's own unwinder belongs to another C library; Rust's comes with its target.
  unwinder=$(rustc --print sysroot)/lib/rustlib/$for/lib/self-contained/libunwind.a
  work=$(mktemp -d)
  for program in surface errors prompts policy logs forks threads; do
    musl-gcc -static -std=c11 -D_GNU_SOURCE -O1 -Iinclude -Iffi/tests/c "ffi/tests/c/$program.c" \
      "$target/$for/release/libpointsman.a" "$unwinder" -nodefaultlibs -lc -o "$work/$program"
    "$work/$program" - $([ $program = threads ] && echo 64 1000) | tail -1
  done
  rm -r "$work"
}

# Another processor, whose memory model is weaker; emulated.
aarch64() {
  local for=aarch64-unknown-linux-gnu cc=aarch64-linux-gnu-gcc
  fetched target $for || { missing "target $for"; return; }
  has $cc || { missing $cc; return; }
  has qemu-aarch64 || { missing qemu-aarch64; return; }
  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$cc \
    cargo build --release -p pointsman-ffi --target $for
  # Without those that measure this process: the emulator's memory is in it.
  CC=$cc POINTSMAN_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu" POINTSMAN_SCALE=10 \
    POINTSMAN_LIBRARY="$target/$for/release" \
    cargo test -p pointsman-ffi --test programs -- --skip little_stack --skip loaded_and_unloaded
}

names="memcheck with_clang asan tsan with_cmake deb cost platforms"
case "${1:-list}" in
  list) echo "checks: $names timing" ;;
  all) for name in $names; do echo "== $name"; "$name"; done ;;
  *) for name in "$@"; do
    case " $names timing " in *" $name "*) "$name" ;; *) echo "checks: $names" >&2; exit 2 ;; esac
  done ;;
esac
