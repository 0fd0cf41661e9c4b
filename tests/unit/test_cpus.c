/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_cpus.c - the processors the process may use, of those there are. */
#include "support.h"

#include <sched.h>
#include <unistd.h>

#include "cpus.h"

static void there_is_at_least_one_and_no_more_than_the_mask_has(void **state)
{
    cpu_set_t mask;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(mask), &mask), 0);
    assert_in_range(cpus_usable(), 1, (uint32_t)CPU_COUNT(&mask));
}

static void pin_to_one(void)
{
    cpu_set_t mask;
    cpu_set_t one;
    size_t cpu = 0;

    assert_int_equal(sched_getaffinity(0, sizeof(mask), &mask), 0);
    while (!CPU_ISSET(cpu, &mask)) {
        cpu++;
    }
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

static void a_mask_of_one_processor_means_one(void **state)
{
    (void)state;
    pin_to_one();
    assert_int_equal(cpus_usable(), 1);
}

static void *ask_when_pinned(void *cpus)
{
    pin_to_one();
    *(uint32_t *)cpus = cpus_usable();
    return NULL;
}

/* As servers do that have a thread for each processor. */
static void a_thread_that_is_pinned_does_not_speak_for_all(void **state)
{
    uint32_t usable = cpus_usable();
    uint32_t cpus = 0;

    (void)state;
    run_threads(1, ask_when_pinned, &cpus);
    assert_int_equal(cpus, usable);
}

static void asking_opens_no_file_for_good(void **state)
{
    int before = dup(STDIN_FILENO);

    (void)state;
    assert_true(before >= 0);
    (void)close(before);
    for (int round = 0; round < 3; round++) {
        (void)cpus_usable();
    }
    int after = dup(STDIN_FILENO);

    assert_int_equal(after, before);
    (void)close(after);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(there_is_at_least_one_and_no_more_than_the_mask_has),
        ISOLATED(a_mask_of_one_processor_means_one),
        ISOLATED(a_thread_that_is_pinned_does_not_speak_for_all),
        ISOLATED(asking_opens_no_file_for_good),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
