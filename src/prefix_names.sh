#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# prefix_names.sh READELF OBJCOPY ARCHIVE - give the layers' own names in the archive the prefix bw_.
#
# In the shared library they are hidden. In an archive hidden names are seen by what is linked to it:
# a program with a function fatal() of its own would not link, or worse, have us call it.
set -eu
readelf=$1 objcopy=$2 archive=$3
map=$archive.names

"$readelf" --symbols --wide "$archive" |
    awk '($5 == "GLOBAL" || $5 == "WEAK") && $6 == "HIDDEN" && $(NF - 1) != "UND" &&
        $NF !~ /^bw_/ { print $NF, "bw__" $NF }' |
    sort -u >"$map"
[ -s "$map" ] || { echo "$archive: no names to prefix" >&2 && exit 1; }
"$objcopy" --redefine-syms="$map" "$archive"
rm -f "$map"
