#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# compiler.sh COMPILER - a C or C++ compiler writes the same object file as under glibc, byte for
# byte. For gcc, clang, g++ and clang++.
. "$(dirname "$0")/lib.sh"

compiler=$1
require "$compiler" gcc

# A C file of some thousand lines with structures, loops, switches and tables to optimise.
generate_c() {
    local n
    printf '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n'
    for ((n = 0; n < 120; n++)); do
        printf 'struct s%d { int a[%d]; double d; struct s%d *next; };\n' "$n" $((n % 13 + 1)) "$n"
        printf 'static const int table%d[] = { %s };\n' "$n" "$(seq -s, "$n" $((n + 40)))"
        printf 'double f%d(struct s%d *p, unsigned n)\n{\n    double sum = %d;\n' "$n" "$n" "$n"
        printf '    for (; p; p = p->next)\n        for (unsigned i = 0; i < n; i++)\n'
        printf '            switch ((i ^ (unsigned)table%d[i %% 41]) %% 5) {\n' "$n"
        printf '            case 0: sum += p->a[i %% %d] * p->d; break;\n' $((n % 13 + 1))
        printf '            case 1: sum -= (double)strlen("literal %d"); break;\n' "$n"
        printf '            case 2: p->a[0] += (int)i; break;\n'
        printf '            default: sum *= 1.0 + %d; }\n    return sum;\n}\n' "$n"
    done
}

# A C++ file that instantiates much of the standard library.
generate_cxx() {
    local n
    printf '#include <%s>\n' algorithm functional map memory string unordered_map vector
    for ((n = 0; n < 5; n++)); do
        printf 'struct key%d { std::string text; int n; bool operator<(const key%d &o) const ' "$n" "$n"
        printf '{ return n < o.n || text < o.text; } };\n'
        printf 'int g%d(const std::vector<std::string> &in)\n{\n' "$n"
        printf '    std::map<key%d, std::vector<std::shared_ptr<key%d>>> m;\n' "$n" "$n"
        printf '    std::unordered_map<std::string, std::function<int(key%d)>> u;\n' "$n"
        printf '    for (auto &s : in) { m[{s, %d}].push_back(std::make_shared<key%d>()); ' "$n" "$n"
        printf 'u[s] = [&](key%d k) { return k.n + (int)m.size(); }; }\n' "$n"
        printf '    std::vector<key%d> v; for (auto &p : m) v.push_back(p.first);\n' "$n"
        printf '    std::sort(v.begin(), v.end()); return (int)v.size() + u[in[0]](v[0]);\n}\n'
    done
}

case $compiler in
*++)
    source=$work/unit.cpp options=(-std=c++17 -O1)
    generate_cxx >"$source"
    ;;
*)
    source=$work/unit.c options=(-std=c11 -O2 -g)
    generate_c >"$source"
    ;;
esac

same_result "$compiler" "${options[@]}" -c "$source" -o unit.o
# gcc's driver starts the compiler proper, which does the work, as another program.
case $compiler in
gcc) proper=$(gcc -print-prog-name=cc1) ;;
g++) proper=$(g++ -print-prog-name=cc1plus) ;;
*) proper=$compiler ;;
esac
taken_by_breakwater malloc "$proper" --version
