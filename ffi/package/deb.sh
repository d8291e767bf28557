#!/bin/sh
# Makes the Debian packages of the C interface: libpointsman0 (the shared library), libpointsman-dev (headers, archive,
# pkg-config files, CMake package) and libpointsman0-dbgsym (their debug information).
#   ffi/package/deb.sh [--output=DIR] [--no-build]     writes them to target/debian, or to DIR
set -eu
cd "$(dirname "$0")/../.."
output=target/debian
build=
for argument in "$@"; do
  case $argument in
    --output=?*) output=${argument#*=} ;;
    --no-build) build=--no-build ;;
    *) echo "usage: $0 [--output=DIR] [--no-build]" >&2; exit 2 ;;
  esac
done
for tool in dpkg-deb dpkg objcopy; do
  command -v $tool >/dev/null || { echo "$0: $tool is missing" >&2; exit 1; }
done
machine=$(dpkg --print-architecture)
triplet=$(dpkg-architecture -q DEB_HOST_MULTIARCH 2>/dev/null || cc -print-multiarch)
libdir=usr/lib/$triplet
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
DESTDIR=$work/all sh ffi/install.sh --prefix=/usr "--libdir=/$libdir" $build >/dev/null
version=$(sed -n 's/^#define POINTSMAN_VERSION "\(.*\)"/\1/p' include/pointsman.h)

# The lowest C library that has every symbol that is asked for.
libc=$(objdump -T "$work/all/$libdir/libpointsman.so" | sed -n 's/.*(\?GLIBC_\([0-9.]*\).*/\1/p' | sort -V | tail -1)

# pack NAME SECTION DEPENDS DESCRIPTION PATH...: the paths leave the whole for this package.
pack() {
  name=$1 section=$2 depends=$3 description=$4 root=$work/$1
  shift 4
  for path in "$@"; do
    mkdir -p "$root/$(dirname "$path")"
    mv "$work/all/$path" "$root/$path"
  done
  mkdir -p "$root/DEBIAN" "$root/usr/share/doc/$name"
  cp LICENSE "$root/usr/share/doc/$name/copyright"
  cat > "$root/DEBIAN/control" <<CONTROL
Package: $name
Version: $version
Architecture: $machine
Multi-Arch: same
Section: $section
Priority: optional
Maintainer: The pointsman authors <pointsman@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends
Description: $description
CONTROL
  (cd "$root" && find usr -type f -exec md5sum {} +) > "$root/DEBIAN/md5sums"
  [ "$name" != libpointsman0 ] || echo "activate-noawait ldconfig" > "$root/DEBIAN/triggers"
  dpkg-deb --build --root-owner-group "$root" "$output/${name}_${version}_$machine.deb" >/dev/null
  echo "$output/${name}_${version}_$machine.deb"
}
mkdir -p "$output"
pack libpointsman0 libs "libc6 (>= $libc), libgcc-s1" \
  "names the LLM worker that should serve a request (shared library)" \
  "$libdir/libpointsman.so.0" "$libdir/libpointsman.so.$version"
pack libpointsman0-dbgsym debug "libpointsman0 (= $version)" \
  "debug information of libpointsman0 and of the archive" "$libdir/.debug"
pack libpointsman-dev libdevel "libpointsman0 (= $version), libc6-dev" \
  "names the LLM worker that should serve a request (for C and C++ programs)" \
  "$libdir" usr/include
# Nothing is left that no package has.
left=$(find "$work/all" -type f)
[ -z "$left" ] || { echo "$0: in no package: $left" >&2; exit 1; }
