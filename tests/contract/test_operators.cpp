/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_operators.cpp - what C++ demands of operator new and delete, in all their forms.
 *
 * Usage: test_operators OBJECT. OBJECT must be part of the name of the object that defines operator
 * new, so that a library that was not preloaded or linked does not pass for one that was tested.
 * The operators are called as functions: the compiler may leave out the calls that a
 * new-expression implies.
 */
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <dlfcn.h>
#include <malloc.h>
#include <sys/resource.h>

extern "C" {
#include <cmocka.h>
}

namespace
{

/* Volatile, or the compiler objects to sizes that cannot be had. */
const volatile std::size_t impossible_sizes[] = {
    PTRDIFF_MAX,
    std::size_t{PTRDIFF_MAX} + 1,
    SIZE_MAX - 65536,
    SIZE_MAX - 64,
};

/* Those that pass SIZE_MAX when they are rounded up to the alignment. */
const volatile std::size_t overflowing_sizes[] = {SIZE_MAX - 62, SIZE_MAX - 15, SIZE_MAX};

const std::size_t sizes[] = {0, 1, 16, 17, 100, 1000, 4096, 5000, 70000, 300000};

const std::size_t alignments[] = {1, 8, 16, 32, 64, 256, 4096, 65536, 1 << 20};

/* A way to get memory and the ways that give it back. Those without an alignment ignore it. */
struct form {
    const char *name;
    bool aligned;
    bool throws;
    void *(*allocate)(std::size_t size, std::align_val_t alignment);
    void (*release)(void *block, std::size_t size, std::align_val_t alignment);
};

const form forms[] = {
    {"new, delete", false, true,
     [](std::size_t size, std::align_val_t) { return ::operator new(size); },
     [](void *block, std::size_t, std::align_val_t) { ::operator delete(block); }},
    {"new, sized delete", false, true,
     [](std::size_t size, std::align_val_t) { return ::operator new(size); },
     [](void *block, std::size_t size, std::align_val_t) { ::operator delete(block, size); }},
    {"nothrow new, delete", false, false,
     [](std::size_t size, std::align_val_t) { return ::operator new(size, std::nothrow); },
     [](void *block, std::size_t, std::align_val_t) { ::operator delete(block); }},
    {"nothrow new, nothrow delete", false, false,
     [](std::size_t size, std::align_val_t) { return ::operator new(size, std::nothrow); },
     [](void *block, std::size_t, std::align_val_t) { ::operator delete(block, std::nothrow); }},
    {"new[], delete[]", false, true,
     [](std::size_t size, std::align_val_t) { return ::operator new[](size); },
     [](void *block, std::size_t, std::align_val_t) { ::operator delete[](block); }},
    {"new[], sized delete[]", false, true,
     [](std::size_t size, std::align_val_t) { return ::operator new[](size); },
     [](void *block, std::size_t size, std::align_val_t) { ::operator delete[](block, size); }},
    {"nothrow new[], delete[]", false, false,
     [](std::size_t size, std::align_val_t) { return ::operator new[](size, std::nothrow); },
     [](void *block, std::size_t, std::align_val_t) { ::operator delete[](block); }},
    {"nothrow new[], nothrow delete[]", false, false,
     [](std::size_t size, std::align_val_t) { return ::operator new[](size, std::nothrow); },
     [](void *block, std::size_t, std::align_val_t) { ::operator delete[](block, std::nothrow); }},
    {"aligned new, aligned delete", true, true,
     [](std::size_t size, std::align_val_t alignment) { return ::operator new(size, alignment); },
     [](void *block, std::size_t, std::align_val_t alignment) {
         ::operator delete(block, alignment);
     }},
    {"aligned new, sized aligned delete", true, true,
     [](std::size_t size, std::align_val_t alignment) { return ::operator new(size, alignment); },
     [](void *block, std::size_t size, std::align_val_t alignment) {
         ::operator delete(block, size, alignment);
     }},
    {"aligned nothrow new, aligned nothrow delete", true, false,
     [](std::size_t size, std::align_val_t alignment) {
         return ::operator new(size, alignment, std::nothrow);
     },
     [](void *block, std::size_t, std::align_val_t alignment) {
         ::operator delete(block, alignment, std::nothrow);
     }},
    {"aligned new[], aligned delete[]", true, true,
     [](std::size_t size, std::align_val_t alignment) { return ::operator new[](size, alignment); },
     [](void *block, std::size_t, std::align_val_t alignment) {
         ::operator delete[](block, alignment);
     }},
    {"aligned new[], sized aligned delete[]", true, true,
     [](std::size_t size, std::align_val_t alignment) { return ::operator new[](size, alignment); },
     [](void *block, std::size_t size, std::align_val_t alignment) {
         ::operator delete[](block, size, alignment);
     }},
    {"aligned nothrow new[], aligned nothrow delete[]", true, false,
     [](std::size_t size, std::align_val_t alignment) {
         return ::operator new[](size, alignment, std::nothrow);
     },
     [](void *block, std::size_t, std::align_val_t alignment) {
         ::operator delete[](block, alignment, std::nothrow);
     }},
};

/* For tests where the alignment is not the point. */
constexpr std::align_val_t some_alignment{64};

enum class outcome { block, null, bad_alloc, own_exception };

struct own_exception {
};

/* cmocka leaves a failed test by longjmp, which may not cross a try block: this has no asserts. */
outcome outcome_of(const form &form, std::size_t size)
{
    try {
        void *block = form.allocate(size, some_alignment);

        if (!block) {
            return outcome::null;
        }
        form.release(block, size, some_alignment);
        return outcome::block;
    } catch (const std::bad_alloc &) {
        return outcome::bad_alloc;
    } catch (const own_exception &) {
        return outcome::own_exception;
    }
}

void assert_outcome(outcome actual, outcome expected, const form &form)
{
    if (actual != expected) {
        fail_msg("%s: outcome %d, not %d", form.name, static_cast<int>(actual),
                 static_cast<int>(expected));
    }
}

bool all_bytes_are(const unsigned char *bytes, int value, std::size_t count)
{
    return count == 0 || (bytes[0] == value && std::memcmp(bytes, bytes + 1, count - 1) == 0);
}

/* ---- blocks ---- */

void check_blocks(const form &form, std::size_t size, std::size_t alignment)
{
    constexpr int held = 4;
    unsigned char *blocks[held];

    for (int i = 0; i < held; i++) {
        void *block = form.allocate(size, std::align_val_t{alignment});

        assert_non_null(block);
        assert_int_equal(reinterpret_cast<std::uintptr_t>(block) % alignment, 0);
        assert_int_equal(reinterpret_cast<std::uintptr_t>(block) % 16, 0);
        assert_true(malloc_usable_size(block) >= size);
        blocks[i] = static_cast<unsigned char *>(block);
        std::memset(block, i + 1, size);
    }
    for (int i = 0; i < held; i++) {
        assert_true(all_bytes_are(blocks[i], i + 1, size));
        form.release(blocks[i], size, std::align_val_t{alignment});
    }
}

void each_form_gives_usable_blocks(void **)
{
    for (const form &form : forms) {
        for (std::size_t size : sizes) {
            check_blocks(form, size, 16);
        }
    }
}

void each_aligned_form_respects_the_alignment(void **)
{
    for (const form &form : forms) {
        for (std::size_t alignment : alignments) {
            for (std::size_t size : sizes) {
                check_blocks(form, size, form.aligned ? alignment : 16);
            }
        }
    }
}

void zero_sizes_give_unique_blocks(void **)
{
    for (const form &form : forms) {
        void *first = form.allocate(0, some_alignment);
        void *second = form.allocate(0, some_alignment);

        assert_non_null(first);
        assert_non_null(second);
        assert_ptr_not_equal(first, second);
        form.release(first, 0, some_alignment);
        form.release(second, 0, some_alignment);
    }
}

void deleting_null_does_nothing(void **)
{
    for (const form &form : forms) {
        form.release(nullptr, 0, some_alignment);
        form.release(nullptr, 100, some_alignment);
    }
}

void deletes_give_the_memory_back(void **)
{
    constexpr std::size_t size = 1 << 20;

    for (const form &form : forms) {
        struct mallinfo2 before = mallinfo2();

        for (int round = 0; round < 300; round++) {
            form.release(form.allocate(size, some_alignment), size, some_alignment);
        }

        struct mallinfo2 after = mallinfo2();

        assert_true(after.uordblks + after.hblkhd < before.uordblks + before.hblkhd + 100 * size);
    }
}

void blocks_may_be_deleted_on_another_thread(void **)
{
    for (const form &form : forms) {
        std::vector<void *> blocks(3000);

        for (void *&block : blocks) {
            block = form.allocate(100, some_alignment);
        }
        std::thread([&] {
            for (void *block : blocks) {
                form.release(block, 100, some_alignment);
            }
        }).join();
    }
}

/* ---- failures ---- */

void an_impossible_size_throws_bad_alloc_or_gives_null(void **)
{
    for (const form &form : forms) {
        for (std::size_t size : impossible_sizes) {
            assert_outcome(outcome_of(form, size), form.throws ? outcome::bad_alloc : outcome::null,
                           form);
        }
    }
}

bool is_breakwater;

/* The C++ library's own aligned forms round up to 0 and give a block. */
void a_size_that_overflows_when_rounded_up_fails(void **)
{
    if (!is_breakwater) {
        skip();
    }
    for (const form &form : forms) {
        for (std::size_t size : overflowing_sizes) {
            assert_outcome(outcome_of(form, size), form.throws ? outcome::bad_alloc : outcome::null,
                           form);
        }
    }
}

int handler_calls;

void give_up_at_the_third_call()
{
    if (++handler_calls == 3) {
        std::set_new_handler(nullptr);
    }
}

void throw_bad_alloc_at_the_third_call()
{
    if (++handler_calls == 3) {
        throw std::bad_alloc();
    }
}

void throw_own_exception()
{
    handler_calls++;
    throw own_exception();
}

/* Runs one allocation that cannot succeed with a new-handler in place. */
outcome outcome_with_handler(const form &form, std::new_handler handler)
{
    handler_calls = 0;
    std::set_new_handler(handler);

    outcome result = outcome_of(form, impossible_sizes[1]);

    std::set_new_handler(nullptr);
    return result;
}

void the_handler_is_called_until_there_is_none(void **)
{
    for (const form &form : forms) {
        outcome actual = outcome_with_handler(form, give_up_at_the_third_call);

        assert_outcome(actual, form.throws ? outcome::bad_alloc : outcome::null, form);
        assert_int_equal(handler_calls, 3);
    }
}

void bad_alloc_of_the_handler_ends_the_loop(void **)
{
    for (const form &form : forms) {
        outcome actual = outcome_with_handler(form, throw_bad_alloc_at_the_third_call);

        assert_outcome(actual, form.throws ? outcome::bad_alloc : outcome::null, form);
        assert_int_equal(handler_calls, 3);
    }
}

void another_exception_of_the_handler_passes_through_new(void **)
{
    for (const form &form : forms) {
        if (form.throws) {
            assert_outcome(outcome_with_handler(form, throw_own_exception), outcome::own_exception,
                           form);
            assert_int_equal(handler_calls, 1);
        }
    }
}

void the_handler_is_not_called_on_success(void **)
{
    handler_calls = 0;
    std::set_new_handler(throw_own_exception);
    for (const form &form : forms) {
        assert_outcome(outcome_of(form, 1000), outcome::block, form);
    }
    std::set_new_handler(nullptr);
    assert_int_equal(handler_calls, 0);
}

rlimit address_space;

void lift_the_limit_at_the_second_call()
{
    if (++handler_calls == 2) {
        setrlimit(RLIMIT_AS, &address_space);
    }
}

/* What a handler is for: it makes room, and the allocation is tried again. */
outcome outcome_under_a_lifted_limit(const form &form)
{
    rlimit none = address_space;

    none.rlim_cur = 1;
    handler_calls = 0;
    std::set_new_handler(lift_the_limit_at_the_second_call);
    setrlimit(RLIMIT_AS, &none);

    outcome result = outcome_of(form, std::size_t{512} << 20);

    setrlimit(RLIMIT_AS, &address_space);
    std::set_new_handler(nullptr);
    return result;
}

void an_allocation_succeeds_once_the_handler_has_made_room(void **)
{
    assert_int_equal(getrlimit(RLIMIT_AS, &address_space), 0);
    for (const form &form : forms) {
        malloc_trim(0);
        assert_outcome(outcome_under_a_lifted_limit(form), outcome::block, form);
        assert_int_equal(handler_calls, 2);
    }
}

/* ---- the language's own use ---- */

struct alignas(256) wide {
    unsigned char bytes[300];
};

void new_expressions_and_containers_work(void **)
{
    std::vector<std::string> strings;
    std::vector<wide *> wides;

    for (int i = 0; i < 1000; i++) {
        strings.push_back(std::string(static_cast<std::size_t>(i), 'x'));
        wides.push_back(new wide());
        assert_int_equal(reinterpret_cast<std::uintptr_t>(wides.back()) % alignof(wide), 0);
    }
    for (std::size_t i = 0; i < strings.size(); i++) {
        assert_int_equal(strings[i].size(), i);
        delete wides[i];
    }
}

bool is_defined_by(const char *symbol, const char *object)
{
    Dl_info info{};

    return dladdr(dlsym(RTLD_DEFAULT, symbol), &info) && std::strstr(info.dli_fname, object);
}

} // namespace

int main(int argc, char **argv)
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(each_form_gives_usable_blocks),
        cmocka_unit_test(each_aligned_form_respects_the_alignment),
        cmocka_unit_test(zero_sizes_give_unique_blocks),
        cmocka_unit_test(deleting_null_does_nothing),
        cmocka_unit_test(deletes_give_the_memory_back),
        cmocka_unit_test(blocks_may_be_deleted_on_another_thread),
        cmocka_unit_test(an_impossible_size_throws_bad_alloc_or_gives_null),
        cmocka_unit_test(a_size_that_overflows_when_rounded_up_fails),
        cmocka_unit_test(the_handler_is_called_until_there_is_none),
        cmocka_unit_test(bad_alloc_of_the_handler_ends_the_loop),
        cmocka_unit_test(another_exception_of_the_handler_passes_through_new),
        cmocka_unit_test(the_handler_is_not_called_on_success),
        cmocka_unit_test(an_allocation_succeeds_once_the_handler_has_made_room),
        cmocka_unit_test(new_expressions_and_containers_work),
    };

    if (argc != 2 || !is_defined_by("_Znwm", argv[1])) {
        std::fprintf(stderr, "operator new is not that of %s\n", argc > 1 ? argv[1] : "?");
        return EXIT_FAILURE;
    }
    is_breakwater = !std::strstr(argv[1], "libstdc++");
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
