#!/bin/sh
# Installs the library for C and C++: archive, shared library with its links, headers, pkg-config files,
# CMake package; both libraries stripped, their debug information beside them in .debug, where debuggers look.
# DESTDIR, if set, goes before every path.
set -eu

prefix=/usr/local
libdir=
includedir=
build=yes
debug=yes
from=
usage() {
  echo "usage: [DESTDIR=...] $0 [--prefix=DIR] [--libdir=DIR] [--includedir=DIR] [--no-build] [--no-debug] [--from=DIR]"
  echo "  --no-build   install what cargo built before"
  echo "  --no-debug   leave the debug information out"
  echo "  --from=DIR   install libpointsman.a and libpointsman.so from here instead of target/release"
}
for argument in "$@"; do
  case $argument in
    --prefix=?*) prefix=${argument#*=} ;;
    --libdir=*) libdir=${argument#*=} ;;
    --includedir=*) includedir=${argument#*=} ;;
    --no-build) build=no ;;
    --no-debug) debug=no ;;
    --from=*) from=${argument#*=} build=no ;;
    --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
prefix=${prefix%/}
libdir=${libdir:-$prefix/lib}
includedir=${includedir:-$prefix/include}
for path in "$prefix/" "$libdir" "$includedir"; do
  case $path in
    *[!-A-Za-z0-9_./+@~,:]*) echo "$0: odd characters in $path" >&2; exit 2 ;;
    /*) ;;
    *) echo "$0: $path is no absolute path" >&2; exit 2 ;;
  esac
done

cd "$(dirname "$0")/.."
if [ $build = yes ]; then cargo build --release --package pointsman-ffi; fi
from=${from:-${CARGO_TARGET_DIR:-target}/release}
for file in libpointsman.a libpointsman.so; do
  if [ ! -f "$from/$file" ]; then echo "$0: $from/$file is not there: build it first" >&2; exit 1; fi
done

version=$(sed -n 's/^#define POINTSMAN_VERSION "\(.*\)"/\1/p' include/pointsman.h)
major=${version%%.*}
rest=${version#*.}
minor=${rest%%.*}
soversion=0
system_libs="-lpthread -ldl -lm -lgcc_s"

# The way from libdir to includedir, if both are in the prefix, so that CMake finds it after a move.
case $libdir/ in
  "$prefix"/*)
    down=${libdir#"$prefix"}
    up=$(printf '%s' "$down" | sed 's,/[^/][^/]*,../,g')
    lib_to_include=$up${includedir#"$prefix"/} ;;
  *) lib_to_include= ;;
esac

root=${DESTDIR:-}
mkdir -p "$root$libdir/pkgconfig" "$root$libdir/cmake/pointsman" "$root$includedir"
cp include/pointsman.h include/pointsman.hpp "$root$includedir/"
# By new files and renames: programs that have the old one mapped keep it.
cp "$from/libpointsman.so" "$root$libdir/.libpointsman.so.new"
cp "$from/libpointsman.a" "$root$libdir/.libpointsman.a.new"
# OBJCOPY is for other machines' libraries: aarch64-linux-gnu-objcopy.
objcopy=${OBJCOPY:-objcopy}
if command -v "$objcopy" >/dev/null 2>&1; then
  rm -f "$root$libdir/.debug/libpointsman.a" "$root$libdir/.debug/libpointsman.so.$version.debug"
  if [ $debug = yes ]; then
    mkdir -p "$root$libdir/.debug"
    cp "$from/libpointsman.a" "$root$libdir/.debug/libpointsman.a"
    "$objcopy" --only-keep-debug "$from/libpointsman.so" "$root$libdir/.debug/libpointsman.so.$version.debug"
    chmod 644 "$root$libdir/.debug/"*
  fi
  "$objcopy" --strip-debug "$root$libdir/.libpointsman.a.new"
  "$objcopy" --strip-unneeded "$root$libdir/.libpointsman.so.new"
  if [ $debug = yes ]; then
    "$objcopy" --add-gnu-debuglink="$root$libdir/.debug/libpointsman.so.$version.debug" \
      "$root$libdir/.libpointsman.so.new"
  fi
else
  echo "$0: no $objcopy (binutils): the libraries keep their debug information" >&2
fi
chmod 644 "$root$libdir/.libpointsman.a.new"
chmod 755 "$root$libdir/.libpointsman.so.new"
mv -f "$root$libdir/.libpointsman.a.new" "$root$libdir/libpointsman.a"
mv -f "$root$libdir/.libpointsman.so.new" "$root$libdir/libpointsman.so.$version"
ln -sf "libpointsman.so.$version" "$root$libdir/libpointsman.so.$soversion"
ln -sf "libpointsman.so.$soversion" "$root$libdir/libpointsman.so"

fill() {
  sed -e "s|@PREFIX@|$prefix|" -e "s|@LIBDIR@|$libdir|" -e "s|@INCLUDEDIR@|$includedir|" \
    -e "s|@VERSION@|$version|" -e "s|@MAJOR@|$major|" -e "s|@MINOR@|$minor|" \
    -e "s|@SOVERSION@|$soversion|" -e "s|@LIB_TO_INCLUDE@|$lib_to_include|" \
    -e "s|@SYSTEM_LIBS@|$1|" "ffi/package/$2.in" > "$3"
}
fill "$system_libs" pointsman.pc "$root$libdir/pkgconfig/pointsman.pc"
fill "$system_libs" pointsman-static.pc "$root$libdir/pkgconfig/pointsman-static.pc"
fill "$(printf '%s' "$system_libs" | tr ' ' ';')" pointsman-config.cmake \
  "$root$libdir/cmake/pointsman/pointsman-config.cmake"
fill "" pointsman-config-version.cmake "$root$libdir/cmake/pointsman/pointsman-config-version.cmake"
if [ -z "$lib_to_include" ]; then
  sed -i.bak "s|\"\${_pointsman_libdir}/\"|\"$includedir\"|" \
    "$root$libdir/cmake/pointsman/pointsman-config.cmake"
  rm -f "$root$libdir/cmake/pointsman/pointsman-config.cmake.bak"
fi
echo "installed pointsman $version to $root$prefix"

# Programs find the shared library by the loader's cache, where the loader looks into this folder at all; elsewhere by
# an rpath.
if [ -z "$root" ]; then
  PATH=$PATH:/usr/sbin:/sbin
  if [ "$(id -u)" = 0 ] && command -v ldconfig >/dev/null 2>&1; then ldconfig; fi
  if ! ldconfig -p 2>/dev/null | grep -qF "$libdir/libpointsman.so.$soversion"; then
    echo "the loader does not look into $libdir: link with -Wl,-rpath,$libdir, or run ldconfig as root if it should"
  fi
fi
