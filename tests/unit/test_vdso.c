/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_vdso.c - the clock is the kernel's, and not what the program calls clock_gettime(). */
#include "support.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vdso.h"

static unsigned calls;

int clock_gettime(clockid_t which, struct timespec *now)
{
    calls++;
    return (int)syscall(SYS_clock_gettime, which, now);
}

static int64_t kernel_ns(clockid_t which)
{
    struct timespec now = {0, 0};

    assert_int_equal(syscall(SYS_clock_gettime, which, &now), 0);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int64_t ns_of(clockid_t which)
{
    struct timespec now = {0, 0};

    vdso_clock(which, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void the_clock_is_the_kernels(void **state)
{
    static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(clocks); i++) {
        int64_t before = kernel_ns(clocks[i]);
        int64_t now = ns_of(clocks[i]);

        assert_true(before <= now && now <= kernel_ns(clocks[i]));
    }
}

static void nobody_who_stands_before_libc_is_asked(void **state)
{
    (void)state;
    (void)ns_of(CLOCK_MONOTONIC);
    assert_int_equal(calls, 0);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(the_clock_is_the_kernels),
        ISOLATED(nobody_who_stands_before_libc_is_asked),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
