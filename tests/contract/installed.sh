#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# installed.sh SOURCE BUILD - programs find the installed library, by pkg-config and by CMake, as shared
# library and archive, and CMake projects that have this one as a part find it too.
set -euo pipefail

source=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
libdir=$work/usr/$(sed -n 's/^CMAKE_INSTALL_LIBDIR:[A-Z]*=//p' "$build/CMakeCache.txt")
export LD_LIBRARY_PATH=$libdir
# As in the presets: make takes half as long again, and builds all at once where it is told no number.
export CMAKE_GENERATOR=Ninja

fail()
{
    echo "FAILED: $1" >&2
    exit 1
}

cmake --install "$build" --prefix "$work/usr" >/dev/null
cat >"$work/program.c" <<'END'
#include <breakwater/breakwater.h>
#include <stdio.h>
#include <stdlib.h>

/* Linked, and so malloc's too. */
int main(void)
{
    void *block = malloc(100);

    printf("%d.%d.%d\n", BW_VERSION_MAJOR, BW_VERSION_MINOR, BW_VERSION_PATCH);
    return block == NULL || bw_malloc_usable_size(block) < 100;
}
END

# The header is for every standard of both languages, and says nothing that a compiler warns of.
echo '#include <breakwater/breakwater.h>' >"$work/header.c"
for compiler in cc clang; do
    command -v $compiler >/dev/null || continue
    for language in c:c90 c:c99 c:c11 c:c17 c:c2x c++:c++98 c++:c++11 c++:c++17 c++:c++20; do
        $compiler -x ${language%:*} -std=${language#*:} -Wall -Wextra -Wshadow -Werror -pedantic-errors \
            -I"$work/usr/include" -fsyntax-only "$work/header.c" || fail "the header in $language, $compiler"
    done
done

# One with the library beside pkgconfig's directory, one as Debian has it, one with a place of its own.
export PKG_CONFIG_PATH=$libdir/pkgconfig
read -ra flags <<<"$(pkg-config --cflags --libs breakwater)"
cc "$work/program.c" "${flags[@]}" -o "$work/by_pkg_config"
version=$("$work/by_pkg_config") || fail "a program linked by pkg-config"
[[ $version == "$(pkg-config --modversion breakwater)" ]] || fail "the header's version is $version"
for directories in "/usr lib/x86_64-linux-gnu" "/usr /opt/lib64"; do
    read -r prefix libdir <<<"$directories"
    cmake -S "$source" -B "$work/configured" -DBUILD_TESTING=OFF -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR="$libdir" >/dev/null
    [[ $libdir == /* ]] && place=$libdir || place=$prefix/$libdir
    mkdir -p "$work/root$place/pkgconfig"
    cp "$work/configured/src/breakwater.pc" "$work/root$place/pkgconfig"
    found=$(PKG_CONFIG_PATH=$work/root$place/pkgconfig pkg-config --variable=libdir breakwater)
    found=$(realpath -m "$found")
    [[ $found == "$work/root$place" || $found == "$place" ]] ||
        fail "pkg-config says $found for a library in $place"
done

# Calls malloc nowhere.
cat >"$work/copies.c" <<'END'
#include <string.h>

int main(void)
{
    return strcmp(strdup("copy"), "copy");
}
END
cc -Wl,--as-needed "$work/copies.c" "${flags[@]}" -o "$work/copies"
readelf --dynamic "$work/copies" | grep 'NEEDED.*libbreakwater' >/dev/null ||
    fail "a program that calls malloc nowhere, linked by pkg-config, has not got the library"
cat >"$work/plugin.c" <<'END'
#include <breakwater/breakwater.h>

void plugin_run(void);
void plugin_run(void)
{
    bw_free(bw_malloc(100));
}
END
# The thread ends, with what the plugin keeps for it, after the plugin was closed.
cat >"$work/host.c" <<'END'
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

static pthread_barrier_t barrier;
static void (*run)(void);

static void *body(void *argument)
{
    run();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return argument;
}

int main(int count, char **arguments)
{
    void *plugin = count == 2 ? dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    pthread_t thread;

    if (plugin == NULL || (*(void **)&run = dlsym(plugin, "plugin_run")) == NULL) {
        return EXIT_FAILURE;
    }
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, body, NULL);
    pthread_barrier_wait(&barrier);
    dlclose(plugin);
    pthread_barrier_wait(&barrier);
    return pthread_join(thread, NULL);
}
END

# A package each for what runs programs and what builds them, and none with the archive.
installs() {
    local component=$1 expected=$2 files
    cmake --install "$build" --component "$component" --prefix "$work/$component" >/dev/null
    files=$(find "$work/$component" ! -type d -printf '%f\n' | sort | tr '\n' ' ')
    # shellcheck disable=SC2053 # A pattern.
    [[ $files == $expected ]] || fail "component $component: $files"
}
installs runtime 'breakwater.7 libbreakwater.so.[0-9]* '
installs static 'libbreakwater.a '
installs development 'breakwater-config*.cmake *breakwater.h breakwater.pc libbreakwater.so '
mkdir "$work/finder"
cat >"$work/finder/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(finder LANGUAGES C)
find_package(breakwater QUIET OPTIONAL_COMPONENTS shared static)
message("found ${breakwater_FOUND} ${breakwater_shared_FOUND} ${breakwater_static_FOUND}")
END
# finds EXPECTED COMPONENT...: what is found where only these are installed.
finds() {
    local expected=$1 component
    shift
    rm -rf "$work/parts" "$work/finds"
    mkdir "$work/parts"
    for component in "$@"; do
        cp -a "$work/$component/." "$work/parts"
    done
    cmake -S "$work/finder" -B "$work/finds" -DCMAKE_PREFIX_PATH="$work/parts" >"$work/found.log" 2>&1 ||
        { cat "$work/found.log" >&2; fail "find_package with $*"; }
    grep -qx "found $expected" "$work/found.log" ||
        { cat "$work/found.log" >&2; fail "find_package with $*"; }
}
finds '1 TRUE TRUE' development runtime static
finds '1 TRUE ' development runtime
finds '1  TRUE' development static
finds '0  ' development

cat >"$work/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES C)
if(DEFINED SOURCE)
    add_subdirectory(${SOURCE} breakwater)
else()
    find_package(breakwater REQUIRED COMPONENTS shared static)
endif()
foreach(linkage shared static)
    add_executable(by_${linkage} program.c)
    target_link_libraries(by_${linkage} PRIVATE breakwater::${linkage})
    add_library(plugin_${linkage} MODULE plugin.c)
    target_link_libraries(plugin_${linkage} PRIVATE breakwater::${linkage})
endforeach()
add_executable(copies copies.c)
target_link_libraries(copies PRIVATE breakwater::static)
add_executable(copies_shared copies.c)
target_link_options(copies_shared PRIVATE LINKER:--as-needed)
target_link_libraries(copies_shared PRIVATE breakwater::shared)
find_package(Threads REQUIRED)
add_executable(host host.c)
target_link_libraries(host PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
END
cmake -S "$work" -B "$work/found" -DCMAKE_PREFIX_PATH="$work/usr" >/dev/null
# Who has it as a part may want all of theirs optimized at link time, as distributions do by CFLAGS,
# or compiled in batches.
cmake -S "$work" -B "$work/part" -DSOURCE="$source" -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_C_FLAGS=-flto -DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON -DCMAKE_UNITY_BUILD=ON >/dev/null
for kind in found part; do
    cmake --build "$work/$kind" --target by_shared --target by_static --target copies \
        --target copies_shared --target host --target plugin_shared --target plugin_static >/dev/null
    "$work/$kind/by_shared" && "$work/$kind/by_static" || fail "a program of CMake's, $kind"
    "$work/$kind/copies" || fail "a program that calls malloc nowhere, $kind"
    nm "$work/$kind/copies" | grep ' T malloc$' >/dev/null || fail "such a program has another malloc, $kind"
    readelf --dynamic "$work/$kind/copies_shared" | grep 'NEEDED.*libbreakwater' >/dev/null ||
        fail "such a program has not got the library, $kind"
    for linkage in shared static; do
        "$work/$kind/host" "$work/$kind/libplugin_$linkage.so" || fail "a plugin, $linkage, $kind"
    done
done
[[ ! -e $work/part/breakwater/tests ]] || fail "who has the project as a part builds its tests"
