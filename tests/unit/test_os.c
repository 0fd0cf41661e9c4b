/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_os.c - what the kernel calls give, and that the seam makes exactly the calls asked for fail.
 */
#include "support.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os.h"

enum { PAGES = 4, RANGES = 3 };

static void mapped_memory_is_zeroed_page_aligned_and_ours(void **state)
{
    size_t bytes = PAGES * os_page_bytes();
    char *memory = (char *)os_map(bytes);

    (void)state;
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % os_page_bytes(), 0);
    assert_true(is_all(memory, bytes, 0));
    memset(memory, 0x5a, bytes);
    os_unmap(memory, bytes);
    assert_false(is_readable(memory));
}

static bool unmapping_in_vain_purges(void *unused)
{
    size_t bytes = PAGES * os_page_bytes();
    char *memory = (char *)os_map(bytes);

    (void)unused;
    memset(memory, 0x5a, bytes);
    answer_call(SYS_munmap, ENOMEM);
    os_unmap(memory, bytes);
    return resident_pages(memory, bytes) == 0;
}

/* As where the kernel has made one mapping of several, and has no room for two. */
static void what_cannot_be_unmapped_has_no_pages(void **state)
{
    (void)state;
    /* LeakSanitizer unmaps something at the end. */
    assert_works_in_child(unmapping_in_vain_purges, NULL);
}

static void an_error_that_a_filter_gives_is_no_break(void **state)
{
    (void)state;
    assert_non_null(os_sbrk((intptr_t)os_page_bytes()));
    answer_call(SYS_brk, EPERM);
    assert_null(os_sbrk((intptr_t)os_page_bytes()));
    assert_int_equal(os_break(), 0);
    assert_null(os_sbrk((intptr_t)os_page_bytes()));
}

static void reserved_memory_is_unusable_until_committed(void **state)
{
    size_t page = os_page_bytes();
    char *memory = (char *)os_reserve(PAGES * page);

    (void)state;
    assert_non_null(memory);
    assert_false(is_readable(memory));
    assert_true(os_commit(memory + page, page));
    assert_false(is_readable(memory));
    assert_false(is_readable(memory + 2 * page));
    assert_true(is_all(memory + page, page, 0));
    memset(memory + page, 1, page);
    os_unmap(memory, PAGES * page);
}

static void purged_memory_has_no_pages_and_reads_as_zero(void **state)
{
    size_t bytes = PAGES * os_page_bytes();
    char *memory = (char *)os_map(bytes);

    (void)state;
    assert_non_null(memory);
    memset(memory, 0x5a, bytes);
    assert_int_equal(resident_pages(memory, bytes), PAGES);
    assert_true(os_purge(memory, bytes));
    assert_int_equal(resident_pages(memory, bytes), 0);
    assert_true(is_all(memory, bytes, 0));
    os_unmap(memory, bytes);
}

/* Without a reserve, the kernel hands out more than the machine can ever hold. */
static void only_what_is_not_handed_out_is_mapped_without_a_reserve(void **state)
{
    char *memory = (char *)os_map(PAGES * os_page_bytes());
    char *reserved = (char *)os_reserve(PAGES * os_page_bytes());

    (void)state;
    assert_non_null(memory);
    assert_non_null(reserved);
    assert_false(mapping_has_flag(memory, " nr"));
    assert_true(mapping_has_flag(reserved, " nr"));
}

/* Pages full of 0x5a, of which every second is to go back. */
static char *map_and_choose(struct iovec *ranges)
{
    size_t page = os_page_bytes();
    char *memory = (char *)os_map(2 * RANGES * page);

    assert_non_null(memory);
    memset(memory, 0x5a, 2 * RANGES * page);
    for (size_t i = 0; i < RANGES; i++) {
        ranges[i] = (struct iovec){.iov_base = memory + 2 * i * page, .iov_len = page};
    }
    return memory;
}

static void several_ranges_go_back_and_what_lies_between_stays(void **state)
{
    struct iovec ranges[RANGES];
    size_t page = os_page_bytes();
    char *memory = map_and_choose(ranges);

    (void)state;
    os_purge_ranges(ranges, RANGES);
    for (size_t i = 0; i < RANGES; i++) {
        assert_int_equal(ranges[i].iov_len, page);
        assert_int_equal(resident_pages(memory + 2 * i * page, page), 0);
        assert_true(is_all(memory + (2 * i + 1) * page, page, 0x5a));
    }
    os_purge_ranges(ranges, 0);
    os_unmap(memory, 2 * RANGES * page);
}

/* Does the kernel give several ranges of the calling process back in one call? */
static bool purges_at_once(struct iovec *ranges)
{
    enum { PIDFD_OF_ITSELF = -10000 };

    return syscall(SYS_process_madvise, PIDFD_OF_ITSELF, ranges, RANGES, MADV_DONTNEED, 0) ==
           RANGES * (long)os_page_bytes();
}

static void unless_asked_for_they_go_back_by_calls_that_filters_know(void **state)
{
    struct iovec ranges[RANGES];
    char *memory = map_and_choose(ranges);

    (void)state;
    answer_call(SYS_madvise, EPERM);
    os_purge_ranges(ranges, RANGES);
    for (size_t i = 0; i < RANGES; i++) {
        assert_int_equal(ranges[i].iov_len, 0);
    }
    assert_true(is_all(memory, 2 * RANGES * os_page_bytes(), 0x5a));
}

/* As map_and_choose(), for ranges that are to go back in one call: *at_once if the kernel can. */
static char *map_and_choose_at_once(struct iovec *ranges, bool *at_once)
{
    char *memory = map_and_choose(ranges);

    *at_once = purges_at_once(ranges);
    os_use_process_madvise();
    memset(memory, 0x5a, 2 * RANGES * os_page_bytes());
    return memory;
}

static void where_the_kernel_can_several_ranges_go_back_in_one_call(void **state)
{
    struct iovec ranges[RANGES];
    size_t page = os_page_bytes();
    bool at_once;
    char *memory = map_and_choose_at_once(ranges, &at_once);

    (void)state;
    answer_call(SYS_madvise, EPERM);
    os_purge_ranges(ranges, RANGES);
    for (size_t i = 0; i < RANGES; i++) {
        assert_int_equal(ranges[i].iov_len, at_once ? page : 0);
        assert_int_equal(resident_pages(memory + 2 * i * page, page), !at_once);
    }
}

static void where_that_call_is_refused_they_go_back_one_by_one(void **state)
{
    struct iovec ranges[RANGES];
    size_t page = os_page_bytes();
    char *memory = map_and_choose(ranges);

    (void)state;
    os_use_process_madvise();
    answer_call(SYS_process_madvise, EPERM);
    os_purge_ranges(ranges, RANGES);
    for (size_t i = 0; i < RANGES; i++) {
        assert_int_equal(ranges[i].iov_len, page);
        assert_int_equal(resident_pages(memory + 2 * i * page, page), 0);
    }
}

/* It is not the call that the kernel refuses. */
static void where_the_first_range_is_refused_the_others_go_back_in_one_call(void **state)
{
    struct iovec ranges[RANGES];
    size_t page = os_page_bytes();
    bool at_once;
    char *memory = map_and_choose_at_once(ranges, &at_once);

    (void)state;
    lock_pages(memory, page);
    answer_call(SYS_madvise, EPERM);
    os_purge_ranges(ranges, RANGES);
    for (size_t i = 0; i < RANGES; i++) {
        assert_int_equal(ranges[i].iov_len, at_once && i > 0 ? page : 0);
    }
}

static void a_kernel_that_says_yes_and_does_nothing_is_not_believed(void **state)
{
    struct iovec ranges[RANGES];
    size_t page = os_page_bytes();
    char *memory = map_and_choose(ranges);

    (void)state;
    os_use_process_madvise();
    answer_call(SYS_madvise, 0);
    answer_call(SYS_process_madvise, 0);
    os_purge_ranges(ranges, RANGES);
    for (size_t i = 0; i < RANGES; i++) {
        assert_int_equal(ranges[i].iov_len, 0);
    }
    assert_false(os_purge(memory, page));
    assert_true(is_all(memory, page, 0x5a));
}

/* Linux 5.18. */
static bool kernel_purges_locked_pages(void)
{
    enum { DONTNEED_LOCKED = 24 };

    return madvise(NULL, 0, DONTNEED_LOCKED) == 0;
}

static void locked_memory_goes_back_where_the_kernel_can(void **state)
{
    size_t page = os_page_bytes();
    char *memory = (char *)os_map(2 * page);
    size_t left = kernel_purges_locked_pages() ? 0 : 2;

    (void)state;
    assert_non_null(memory);
    memset(memory, 1, 2 * page);
    assert_int_equal(syscall(SYS_mlock, memory + page, page), 0);
    assert_true(os_purge(memory, 2 * page) == (left == 0));
    assert_int_equal(resident_pages(memory, 2 * page), left);
}

static void a_range_that_the_kernel_refuses_is_told_and_the_others_go_back(void **state)
{
    (void)state;
    for (size_t locked = 0; locked < RANGES; locked++) {
        struct iovec ranges[RANGES];
        size_t page = os_page_bytes();
        char *memory = map_and_choose(ranges);

        lock_pages(ranges[locked].iov_base, page);
        os_purge_ranges(ranges, RANGES);
        for (size_t i = 0; i < RANGES; i++) {
            assert_int_equal(ranges[i].iov_len, i == locked ? 0 : page);
            assert_true(is_all(memory + 2 * i * page, page, i == locked ? 0x5a : 0));
        }
        os_unmap(memory, 2 * RANGES * page);
    }
}

static void populated_memory_has_all_its_pages_and_keeps_what_it_holds(void **state)
{
    size_t bytes = PAGES * os_page_bytes();
    char *memory = (char *)os_map(bytes);

    (void)state;
    assert_non_null(memory);
    os_populate(memory, bytes);
    assert_int_equal(resident_pages(memory, bytes), kernel_populates() ? PAGES : 0);
    assert_true(is_all(memory, bytes, 0));
    memset(memory, 0x5a, bytes);
    os_populate(memory, bytes);
    assert_true(is_all(memory, bytes, 0x5a));
    os_unmap(memory, bytes);
}

static void the_break_moves_up_and_down_by_what_is_asked(void **state)
{
    uintptr_t before = os_break();
    intptr_t bytes = PAGES * (intptr_t)os_page_bytes();

    (void)state;
    assert_ptr_equal(os_sbrk(bytes), before);
    assert_int_equal(os_break(), before + (uintptr_t)bytes);
    assert_ptr_equal(os_sbrk(-bytes), before + (uintptr_t)bytes);
    assert_int_equal(os_break(), before);
}

static void a_break_that_cannot_grow_gives_null(void **state)
{
    uintptr_t before = os_break();

    (void)state;
    block_break();
    assert_null(os_sbrk((intptr_t)MIB));
    assert_int_equal(os_break(), before);
    unblock_break();
}

static void more_than_the_address_space_gives_null(void **state)
{
    (void)state;
    assert_null(os_map((size_t)1 << 60));
    assert_null(os_reserve((size_t)1 << 60));
}

static bool map_works(void)
{
    size_t bytes = os_page_bytes();
    void *memory = os_map(bytes);

    if (memory == NULL) {
        return false;
    }
    os_unmap(memory, bytes);
    return true;
}

static void only_the_calls_chosen_fail(void **state)
{
    (void)state;
    os_fail_calls(3, 2);
    for (int call = 1; call <= 6; call++) {
        assert_int_equal(map_works(), call != 3 && call != 4);
    }
    assert_int_equal(os_call_count(), 6);
}

static void counting_starts_anew_and_zero_ends_the_failures(void **state)
{
    (void)state;
    os_fail_calls(1, UINT64_MAX);
    assert_false(map_works());
    assert_false(map_works());
    os_fail_calls(0, 0);
    assert_int_equal(os_call_count(), 0);
    assert_true(map_works());
    assert_int_equal(os_call_count(), 1);
    os_fail_calls(2, 1);
    assert_true(map_works());
    assert_false(map_works());
    assert_true(map_works());
}

static void every_call_that_asks_for_memory_can_fail(void **state)
{
    size_t page = os_page_bytes();
    void *reserved = os_reserve(page);
    uintptr_t before = os_break();

    (void)state;
    os_fail_calls(1, UINT64_MAX);
    assert_null(os_map(page));
    assert_null(os_reserve(page));
    assert_false(os_commit(reserved, page));
    assert_null(os_sbrk((intptr_t)page));
    assert_int_equal(os_break(), before);
    assert_int_equal(os_call_count(), 4);
    os_fail_calls(0, 0);
    os_unmap(reserved, page);
}

static void calls_that_give_memory_back_do_not_fail(void **state)
{
    size_t page = os_page_bytes();
    char *memory = (char *)os_map(page);

    (void)state;
    assert_non_null(os_sbrk((intptr_t)page));
    os_fail_calls(1, UINT64_MAX);
    assert_true(os_purge(memory, page));
    assert_non_null(os_sbrk(-(intptr_t)page));
    os_unmap(memory, page);
    assert_false(is_readable(memory));
    assert_int_equal(os_call_count(), 0);
}

static void a_limit_bounds_the_address_space(void **state)
{
    struct rlimit before;
    struct rlimit lower;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
    lower = before;
    lower.rlim_cur = 64 * MIB;
    assert_int_equal(setrlimit(RLIMIT_DATA, &lower), 0);
    size_t bounded = os_address_space_bytes();

    assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
    assert_int_equal(bounded, 64 * MIB);
    assert_true(os_address_space_bytes() > 64 * MIB);
}

static void refuse_purges(unsigned count)
{
    size_t page = os_page_bytes();
    char *locked = (char *)os_map(page);

    assert_non_null(locked);
    lock_pages(locked, page);
    for (; count > 0; count--) {
        assert_false(os_purge(locked, page));
    }
    os_unmap(locked, page);
}

static void after_many_refusals_the_kernel_is_asked_now_and_then(void **state)
{
    enum { MANY = 64, FEW = MANY - 1 };
    size_t page = os_page_bytes();
    char *memory = (char *)os_map(page);
    unsigned unasked = 0;

    (void)state;
    assert_non_null(memory);
    refuse_purges(FEW);
    assert_true(os_purge(memory, page));
    /* The grant has ended that row. */
    refuse_purges(FEW);
    assert_true(os_purge(memory, page));
    refuse_purges(MANY + 1);
    *memory = 1;
    while (!os_purge(memory, page)) {
        assert_int_equal(*memory, 1);
        unasked++;
    }
    assert_in_range(unasked, MANY / 2, MANY);
    assert_int_equal(*memory, 0);
    assert_true(os_purge(memory, page));
    os_unmap(memory, page);
}

static void after_many_refusals_ranges_go_back_in_the_end(void **state)
{
    enum { MANY = 64 };
    struct iovec ranges[RANGES];
    size_t page = os_page_bytes();
    char *memory = map_and_choose(ranges);

    (void)state;
    os_use_process_madvise();
    refuse_purges(MANY + 1);
    for (unsigned round = 0; round < MANY && resident_pages(memory, page) != 0; round++) {
        for (size_t i = 0; i < RANGES; i++) {
            ranges[i].iov_len = page;
        }
        os_purge_ranges(ranges, RANGES);
    }
    assert_int_equal(resident_pages(memory, page), 0);
    os_unmap(memory, 2 * RANGES * page);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(mapped_memory_is_zeroed_page_aligned_and_ours),
        ISOLATED(what_cannot_be_unmapped_has_no_pages),
        ISOLATED(an_error_that_a_filter_gives_is_no_break),
        ISOLATED(reserved_memory_is_unusable_until_committed),
        ISOLATED(only_what_is_not_handed_out_is_mapped_without_a_reserve),
        ISOLATED(purged_memory_has_no_pages_and_reads_as_zero),
        ISOLATED(several_ranges_go_back_and_what_lies_between_stays),
        ISOLATED(unless_asked_for_they_go_back_by_calls_that_filters_know),
        ISOLATED(where_the_kernel_can_several_ranges_go_back_in_one_call),
        ISOLATED(where_the_first_range_is_refused_the_others_go_back_in_one_call),
        ISOLATED(a_kernel_that_says_yes_and_does_nothing_is_not_believed),
        ISOLATED(where_that_call_is_refused_they_go_back_one_by_one),
        ISOLATED(locked_memory_goes_back_where_the_kernel_can),
        ISOLATED(a_range_that_the_kernel_refuses_is_told_and_the_others_go_back),
        ISOLATED(after_many_refusals_the_kernel_is_asked_now_and_then),
        ISOLATED(after_many_refusals_ranges_go_back_in_the_end),
        ISOLATED(populated_memory_has_all_its_pages_and_keeps_what_it_holds),
        ISOLATED(the_break_moves_up_and_down_by_what_is_asked),
        ISOLATED(a_break_that_cannot_grow_gives_null),
        ISOLATED(more_than_the_address_space_gives_null),
        ISOLATED(only_the_calls_chosen_fail),
        ISOLATED(counting_starts_anew_and_zero_ends_the_failures),
        ISOLATED(every_call_that_asks_for_memory_can_fail),
        ISOLATED(calls_that_give_memory_back_do_not_fail),
        ISOLATED(a_limit_bounds_the_address_space),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
