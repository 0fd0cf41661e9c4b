/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* no_memory.cpp - operator new without memory, wherever its C++ library comes from.
 *
 * Part of a program or of a plugin; without cmocka, which there is no static library of, and with
 * as little of the C++ library as can be: std::string alone would bring what throws into a static
 * program. What the operators owe besides is in test_operators.cpp.
 */
#include "no_memory.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <new>

namespace
{

constexpr std::align_val_t alignment{64};

/* Volatile, or the compiler objects to sizes that cannot be had. The second passes SIZE_MAX when it
 * is rounded up to the alignment: libstdc++'s own operators then give a block. */
const volatile std::size_t impossible_size = SIZE_MAX / 4;
const volatile std::size_t overflowing_size = SIZE_MAX - 15;

using form = void *(*)(std::size_t size);

const form throwing_forms[] = {
    [](std::size_t size) { return ::operator new(size); },
    [](std::size_t size) { return ::operator new[](size); },
    [](std::size_t size) { return ::operator new(size, alignment); },
    [](std::size_t size) { return ::operator new[](size, alignment); },
};

const form nothrow_forms[] = {
    [](std::size_t size) { return ::operator new(size, std::nothrow); },
    [](std::size_t size) { return ::operator new[](size, std::nothrow); },
    [](std::size_t size) { return ::operator new(size, alignment, std::nothrow); },
    [](std::size_t size) { return ::operator new[](size, alignment, std::nothrow); },
};

int handler_calls;

void give_up_at_the_second_call()
{
    if (++handler_calls == 2) {
        std::set_new_handler(nullptr);
    }
}

void throw_at_the_second_call()
{
    if (++handler_calls == 2) {
        throw std::bad_alloc();
    }
}

bool throws(form allocate, std::size_t size)
{
    try {
        allocate(size);
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

/* As libstdc++ refuses it: no handler can help. */
bool refuses_odd_alignments()
{
    for (std::size_t odd : {std::size_t{0}, std::size_t{3}, std::size_t{24}, std::size_t{5000}}) {
        const volatile std::size_t value = odd;
        const auto wrong = static_cast<std::align_val_t>(value);

        void *block = ::operator new(100, wrong, std::nothrow);

        try {
            if (block == nullptr) {
                block = ::operator new(100, wrong);
            }
            ::operator delete(block, wrong);
            return false;
        } catch (const std::bad_alloc &) {
        }
    }
    return true;
}

bool fails_with_handler(bool nothrow, form allocate, std::new_handler handler)
{
    handler_calls = 0;
    std::set_new_handler(handler);

    bool failed =
        nothrow ? allocate(impossible_size) == nullptr : throws(allocate, impossible_size);

    std::set_new_handler(nullptr);
    return failed && handler_calls == 2;
}

/* What is wrong, or NULL. */
const char *fault()
{
    if (!throws(throwing_forms[2], overflowing_size)) {
        return "the operators are not Breakwater's";
    }
    for (form allocate : throwing_forms) {
        if (!throws(allocate, impossible_size)) {
            return "no std::bad_alloc";
        }
        if (!fails_with_handler(false, allocate, give_up_at_the_second_call) ||
            !fails_with_handler(false, allocate, throw_at_the_second_call)) {
            return "a throwing form does not heed the new-handler";
        }
    }
    for (form allocate : nothrow_forms) {
        if (allocate(impossible_size)) {
            return "a nothrow form gives a block that cannot be";
        }
        if (!fails_with_handler(true, allocate, give_up_at_the_second_call) ||
            !fails_with_handler(true, allocate, throw_at_the_second_call)) {
            return "a nothrow form does not heed the new-handler";
        }
    }
    return refuses_odd_alignments() ? nullptr : "an alignment that is no power of two is accepted";
}

} // namespace

int check_no_memory()
{
    const char *found = fault();

    if (found) {
        std::fprintf(stderr, "FAILED: %s\n", found);
    }
    return found ? 1 : 0;
}
