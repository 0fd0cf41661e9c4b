/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_cpus.c - the processors the process may use, of those there are. */
#include "support.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "cgroup.h"
#include "cpus.h"

/* The names that the linker's --wrap gives. */
uint64_t __real_cgroup_least(const char *controller, uint64_t (*limit_of)(int directory));
uint64_t __wrap_cgroup_least(const char *controller, uint64_t (*limit_of)(int directory));

/* The process's only group, if a test has made one. */
static int group = -1;
static char root[] = "/tmp/breakwater-cpus-XXXXXX";
static uint64_t limit_of_group;

uint64_t __wrap_cgroup_least(const char *controller, uint64_t (*limit_of)(int directory))
{
    limit_of_group = group >= 0 ? limit_of(group) : __real_cgroup_least(controller, limit_of);
    return limit_of_group;
}

static void make_group(void)
{
    assert_non_null(mkdtemp(root));
    group = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(group >= 0);
}

static uint32_t cpus_of_mask(void)
{
    cpu_set_t mask;

    assert_int_equal(sched_getaffinity(0, sizeof(mask), &mask), 0);
    return (uint32_t)CPU_COUNT(&mask);
}

/* The group limits the process to so many processors, and what that makes of those of the mask. */
static void assert_limited_to(uint64_t limit)
{
    uint32_t all = cpus_of_mask();

    assert_int_equal(cpus_usable(), limit < all ? limit : all);
    assert_int_equal(limit_of_group, limit);
}

static void without_a_quota_all_of_the_mask_are_usable(void **state)
{
    (void)state;
    make_group();
    assert_limited_to(UINT64_MAX);
    assert_int_equal(rmdir(root), 0);
}

static void a_quota_is_rounded_up_to_processors(void **state)
{
    (void)state;
    make_group();
    write_file(root, "cpu.max", "150000 100000\n");
    assert_limited_to(2);
    write_file(root, "cpu.max", "100000 100000\n");
    assert_limited_to(1);
    write_file(root, "cpu.max", "250001 50000\n");
    assert_limited_to(6);
    write_file(root, "cpu.max", "max 100000\n");
    assert_limited_to(UINT64_MAX);
    assert_int_equal(unlinkat(group, "cpu.max", 0), 0);
    assert_int_equal(rmdir(root), 0);
}

static void so_is_one_of_the_first_version(void **state)
{
    (void)state;
    make_group();
    write_file(root, "cpu.cfs_period_us", "100000\n");
    assert_limited_to(UINT64_MAX);
    write_file(root, "cpu.cfs_quota_us", "-1\n");
    assert_limited_to(UINT64_MAX);
    write_file(root, "cpu.cfs_quota_us", "250000\n");
    assert_limited_to(3);
    assert_int_equal(unlinkat(group, "cpu.cfs_quota_us", 0), 0);
    assert_int_equal(unlinkat(group, "cpu.cfs_period_us", 0), 0);
    assert_int_equal(rmdir(root), 0);
}

static void there_is_at_least_one_and_no_more_than_the_mask_has(void **state)
{
    (void)state;
    assert_in_range(cpus_usable(), 1, cpus_of_mask());
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
        ISOLATED(without_a_quota_all_of_the_mask_are_usable),
        ISOLATED(a_quota_is_rounded_up_to_processors),
        ISOLATED(so_is_one_of_the_first_version),
        ISOLATED(a_mask_of_one_processor_means_one),
        ISOLATED(a_thread_that_is_pinned_does_not_speak_for_all),
        ISOLATED(asking_opens_no_file_for_good),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
