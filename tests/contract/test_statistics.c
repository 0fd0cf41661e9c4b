/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_statistics.c - what malloc_trim, mallopt, mallinfo, malloc_info and malloc_stats owe the
 * caller: one test a statement. All hold for glibc 2.36 too, but where one asks for is_breakwater.
 */
#include "subject.h"
#include "xml.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define MIB ((size_t)1024 * 1024)

/* An errno that no allocator sets: it must still be there after a call that may not touch it. */
#define UNTOUCHED EDOM

/* Writes to many blocks and frees them again, so that `size` bytes of memory fall free. */
static void use_and_free(size_t block_size, size_t count)
{
    enum { MAX_COUNT = 20000 };
    static void *blocks[MAX_COUNT];

    assert_true(count <= MAX_COUNT);
    for (size_t i = 0; i < count; i++) {
        blocks[i] = tested.malloc(block_size);
        assert_non_null(blocks[i]);
        memset(blocks[i], 1, block_size);
    }
    for (size_t i = 0; i < count; i++) {
        tested.free(blocks[i]);
    }
}

/* ---- malloc_trim ---- */

static void malloc_trim_returns_1_when_memory_went_back(void **state)
{
    (void)state;
    use_and_free(3000, 20000);
    errno = UNTOUCHED;
    assert_int_equal(tested.malloc_trim(0), 1);
    assert_int_equal(errno, UNTOUCHED);
}

/* glibc gives the inside of free chunks back again each time, and counts it each time. */
static void malloc_trim_returns_0_when_there_is_nothing_left_to_give_back(void **state)
{
    (void)state;
    if (!tested.is_breakwater) {
        skip();
    }
    use_and_free(3000, 20000);
    use_and_free(MIB, 20);
    tested.malloc_trim(0);
    errno = UNTOUCHED;
    assert_int_equal(tested.malloc_trim(0), 0);
    assert_int_equal(tested.malloc_trim(0), 0);
    assert_int_equal(errno, UNTOUCHED);
}

static void malloc_trim_leaves_live_blocks_as_they_are(void **state)
{
    enum { COUNT = 2000 };
    static unsigned char *blocks[COUNT];

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = tested.malloc(5000);
        memset(blocks[i], (int)(i % 255) + 1, 5000);
    }
    for (size_t i = 0; i < COUNT; i++) {
        if (i % 50 != 0) {
            tested.free(blocks[i]);
        }
    }
    tested.malloc_trim(0);
    for (size_t i = 0; i < COUNT; i += 50) {
        assert_int_equal(blocks[i][0], i % 255 + 1);
        assert_memory_equal(blocks[i], blocks[i] + 1, 4999);
        tested.free(blocks[i]);
    }
}

static void malloc_trim_accepts_any_pad(void **state)
{
    static const size_t pads[] = {0, 1, 4096, MIB, PTRDIFF_MAX, SIZE_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pads); i++) {
        use_and_free(3000, 1000);

        int result = tested.malloc_trim(pads[i]);

        assert_true(result == 0 || result == 1);
        use_and_free(3000, 1000);
    }
}

static void memory_is_usable_after_a_trim(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        use_and_free(100, 20000);
        use_and_free(2 * MIB, 10);
        tested.malloc_trim(0);
    }

    unsigned char *block = tested.calloc(1, 2 * MIB);

    assert_non_null(block);
    assert_int_equal(block[0], 0);
    assert_memory_equal(block, block + 1, 2 * MIB - 1);
    tested.free(block);
}

static void *trim_of_another_thread(void *unused)
{
    (void)tested.malloc_trim(0);
    return unused;
}

/* What it has cached is small blocks. It may be through with them, and need large ones from now on.
 */
static void after_a_trim_a_thread_that_needs_a_large_block_gives_up_its_cache(void **state)
{
    pthread_t thread;

    (void)state;
    if (!tested.is_breakwater) {
        skip();
    }
    for (int round = 0; round < 10; round++) {
        use_and_free(500, 2000);
    }
    assert_true(tested.mallinfo2().fsmblks > 0);
    assert_int_equal(pthread_create(&thread, NULL, trim_of_another_thread, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    tested.free(tested.malloc(5 * MIB));
    assert_int_equal(tested.mallinfo2().fsmblks, 0);
}

static void trim(void)
{
    (void)tested.malloc_trim(0);
}

static void purge(void)
{
    (void)tested.purge();
}

/* A page is locked of a block that is free, and not the last of the heap: the kernel refuses the
 * usual call to give it back. */
static void assert_keeps_errno_at_locked_memory(void (*give_back)(void))
{
    enum { COUNT = 3, PAGE = 4096 };
    char *blocks[COUNT];
    size_t lowest = 0;

    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = tested.malloc(MIB);
        assert_non_null(blocks[i]);
        memset(blocks[i], 1, MIB);
        lowest = blocks[i] < blocks[lowest] ? i : lowest;
    }
    /* The system call, as sanitizers let mlock() do nothing. */
    char *page = blocks[lowest] + MIB / 2;
    bool is_locked = syscall(SYS_mlock, page, (size_t)PAGE) == 0;

    tested.free(blocks[lowest]);
    errno = UNTOUCHED;
    give_back();
    assert_int_equal(errno, UNTOUCHED);
    (void)syscall(SYS_munlock, page, (size_t)PAGE);
    for (size_t i = 0; i < COUNT; i++) {
        if (i != lowest) {
            tested.free(blocks[i]);
        }
    }
    if (!is_locked) {
        skip();
    }
}

static void giving_memory_back_keeps_errno_where_the_kernel_refuses(void **state)
{
    (void)state;
    if (!tested.is_breakwater) {
        skip();
    }
    assert_keeps_errno_at_locked_memory(trim);
    assert_keeps_errno_at_locked_memory(purge);
}

/* ---- mallopt ---- */

static void mallopt_returns_1_for_a_valid_value(void **state)
{
    static const int valid[][2] = {
        {M_MXFAST, 0},
        {M_MXFAST, 160},
        {M_MXFAST, 128},
        {M_TRIM_THRESHOLD, 128 * 1024},
        {M_TOP_PAD, 0},
        {M_TOP_PAD, 128 * 1024},
        {M_MMAP_THRESHOLD, 0},
        {M_MMAP_THRESHOLD, 32 * 1024 * 1024},
        {M_MMAP_MAX, 0},
        {M_MMAP_MAX, 65536},
        {M_CHECK_ACTION, 0},
        {M_CHECK_ACTION, 3},
        {M_PERTURB, 255},
        {M_PERTURB, 0},
        {M_ARENA_TEST, 8},
        {M_ARENA_MAX, 64},
        {M_MMAP_THRESHOLD, 128 * 1024},
    };

    (void)state;
    errno = UNTOUCHED;
    for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
        assert_int_equal(tested.mallopt(valid[i][0], valid[i][1]), 1);
    }
    assert_int_equal(errno, UNTOUCHED);
}

static void mallopt_returns_0_for_a_bad_value(void **state)
{
    static const int bad[][2] = {
        {M_MXFAST, 161}, {M_MXFAST, INT_MAX}, {M_MXFAST, -1}, {M_MXFAST, INT_MIN}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(tested.mallopt(bad[i][0], bad[i][1]), 0);
    }
}

static void memory_is_usable_after_mallopt(void **state)
{
    (void)state;
    assert_int_equal(tested.mallopt(M_ARENA_MAX, 1), 1);
    use_and_free(100, 10000);
    use_and_free(MIB, 10);
}

/* ---- mallinfo, mallinfo2 ---- */

static size_t bytes_in_use(void)
{
    struct subject_usage usage = tested.mallinfo2();

    return usage.uordblks + usage.hblkhd;
}

static void mallinfo2_counts_what_the_program_holds(void **state)
{
    enum { COUNT = 16 };
    static const size_t sizes[] = {2000, 50000, MIB};
    void *blocks[COUNT];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        tested.free(tested.malloc(sizes[i]));

        size_t before = bytes_in_use();

        for (int j = 0; j < COUNT; j++) {
            blocks[j] = tested.malloc(sizes[i]);
            assert_non_null(blocks[j]);
        }
        assert_true(bytes_in_use() >= before + (COUNT - 1) * sizes[i]);
        for (int j = 0; j < COUNT; j++) {
            tested.free(blocks[j]);
        }
        assert_true(bytes_in_use() <= before + COUNT * sizes[i]);
    }
}

static void mallinfo2_falls_when_large_blocks_are_freed(void **state)
{
    enum { COUNT = 64 };
    void *blocks[COUNT];
    size_t before = bytes_in_use();

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = tested.malloc(MIB);
    }

    size_t held = bytes_in_use();

    assert_true(held >= before + COUNT * MIB);
    for (int i = 0; i < COUNT; i++) {
        tested.free(blocks[i]);
    }
    assert_true(bytes_in_use() <= held - COUNT / 2 * MIB);
}

static void mallinfo2_adds_up(void **state)
{
    void *block = tested.malloc(10 * MIB);
    struct subject_usage usage = tested.mallinfo2();

    (void)state;
    assert_true(usage.uordblks + usage.fordblks <= usage.arena + usage.hblkhd);
    assert_true(usage.keepcost <= usage.fordblks);
    assert_true(usage.fsmblks <= usage.fordblks);
    assert_int_equal(usage.usmblks, 0);
    tested.free(block);
}

static void mallinfo_agrees_with_mallinfo2(void **state)
{
    struct subject_usage narrow = tested.mallinfo();
    struct subject_usage wide = tested.mallinfo2();

    (void)state;
    assert_int_equal(narrow.arena, wide.arena);
    assert_int_equal(narrow.ordblks, wide.ordblks);
    assert_int_equal(narrow.smblks, wide.smblks);
    assert_int_equal(narrow.hblks, wide.hblks);
    assert_int_equal(narrow.hblkhd, wide.hblkhd);
    assert_int_equal(narrow.usmblks, wide.usmblks);
    assert_int_equal(narrow.fsmblks, wide.fsmblks);
    assert_int_equal(narrow.uordblks, wide.uordblks);
    assert_int_equal(narrow.fordblks, wide.fordblks);
    assert_int_equal(narrow.keepcost, wide.keepcost);
}

/* ---- malloc_info, malloc_stats ---- */

/* A file that reading back needs no allocator for. */
struct capture {
    FILE *file;
    char text[1 << 20];
};

static struct capture capture;

static void capture_start(void)
{
    memset(&capture, 0, sizeof(capture));
    capture.file = tmpfile();
    assert_non_null(capture.file);
}

static void capture_end(void)
{
    fflush(capture.file);
    rewind(capture.file);
    assert_true(fread(capture.text, 1, sizeof(capture.text) - 1, capture.file) <
                sizeof(capture.text) - 1);
    fclose(capture.file);
}

static void malloc_info_writes_xml_and_returns_0(void **state)
{
    void *held[] = {tested.malloc(100), tested.malloc(5000), tested.malloc(MIB)};

    (void)state;
    tested.free(tested.malloc(1000));
    capture_start();
    assert_int_equal(tested.malloc_info(0, capture.file), 0);
    capture_end();
    assert_true(xml_is_well_formed(capture.text, "malloc"));
    for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
        tested.free(held[i]);
    }
}

static void *use_memory(void *unused)
{
    tested.free(tested.malloc(100));
    return unused;
}

/* How many arenas there are once another thread has used memory. */
static size_t arenas_with_another_thread(void)
{
    static const char arena[] = "<arena nr=";
    pthread_t thread;
    size_t count = 0;

    assert_int_equal(pthread_create(&thread, NULL, use_memory, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    capture_start();
    assert_int_equal(tested.malloc_info(0, capture.file), 0);
    capture_end();
    for (const char *at = capture.text; (at = strstr(at, arena)) != NULL; at++) {
        count++;
    }
    return count;
}

static void threads_use_no_more_arenas_than_mallopt_allows(void **state)
{
    (void)state;
    if (!tested.is_breakwater) {
        skip();
    }
    tested.free(tested.malloc(100));
    assert_int_equal(tested.mallopt(M_ARENA_MAX, 2), 1);
    assert_int_equal(tested.mallopt(M_ARENA_MAX, 1), 1);
    assert_int_equal(arenas_with_another_thread(), 1);
    assert_int_equal(tested.mallopt(M_ARENA_MAX, 2), 1);
    assert_int_equal(arenas_with_another_thread(), 2);
}

static void malloc_info_refuses_options_and_writes_nothing(void **state)
{
    static const int options[] = {1, 2, -1, INT_MAX, INT_MIN};

    (void)state;
    capture_start();
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        assert_int_equal(tested.malloc_info(options[i], capture.file), EINVAL);
    }
    capture_end();
    assert_string_equal(capture.text, "");
}

/* Has `descriptor` write to the capture while malloc_stats runs. */
static void capture_stats(int descriptor, FILE *stream)
{
    fflush(stream);

    int kept = dup(descriptor);

    capture_start();
    assert_true(dup2(fileno(capture.file), descriptor) >= 0);
    tested.malloc_stats();
    fflush(stream);
    dup2(kept, descriptor);
    close(kept);
    capture_end();
}

static void malloc_stats_writes_lines_to_standard_error(void **state)
{
    (void)state;
    capture_stats(STDERR_FILENO, stderr);
    assert_true(strlen(capture.text) > 10);
    assert_int_equal(capture.text[strlen(capture.text) - 1], '\n');
}

static void *write_stats_with_a_cancellation_pending(void *finished)
{
    pthread_cancel(pthread_self());
    tested.malloc_stats();
    *(bool *)finished = true;
    pthread_testcancel();
    return NULL;
}

/* Standard error is not buffered: each line is a write, which is a cancellation point. */
static void a_pending_cancellation_never_acts_inside_malloc_stats(void **state)
{
    bool finished = false;
    void *result = NULL;
    int kept = dup(STDERR_FILENO);
    pthread_t thread;

    (void)state;
    capture_start();
    assert_true(dup2(fileno(capture.file), STDERR_FILENO) >= 0);
    assert_int_equal(
        pthread_create(&thread, NULL, write_stats_with_a_cancellation_pending, &finished), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    dup2(kept, STDERR_FILENO);
    close(kept);
    capture_end();
    assert_true(finished);
    assert_ptr_equal(result, PTHREAD_CANCELED);
    assert_true(strlen(capture.text) > 10);
}

static void malloc_stats_writes_nothing_to_standard_output(void **state)
{
    int kept = dup(STDERR_FILENO);
    int nowhere = open("/dev/null", O_WRONLY);

    (void)state;
    dup2(nowhere, STDERR_FILENO);
    capture_stats(STDOUT_FILENO, stdout);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(nowhere);
    assert_string_equal(capture.text, "");
}

static void the_xml_check_refuses_what_is_not_well_formed(void **state)
{
    static const char *const malformed[] = {
        "",
        "text",
        "<malloc>",
        "<malloc></heap>",
        "<malloc><heap></malloc></heap>",
        "<malloc><heap></malloc>",
        "<malloc></malloc>text",
        "<malloc/><malloc/>",
        "<malloc size=3/>",
        "<malloc size=\"3/>",
        "<malloc size/>",
        "<malloc size=\"3\"count=\"4\"/>",
        "<malloc>a & b</malloc>",
        "<malloc>a < b</malloc>",
        "<heap/>",
        "<1malloc/>",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
        assert_false(xml_is_well_formed(malformed[i], "malloc"));
    }
    assert_true(xml_is_well_formed("<malloc version=\"1\">\n<heap nr=\"0\">\n<size from=\"1\" "
                                   "to=\"2\"/>text</heap>\n</malloc>\n",
                                   "malloc"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malloc_trim_returns_1_when_memory_went_back),
        cmocka_unit_test(malloc_trim_returns_0_when_there_is_nothing_left_to_give_back),
        cmocka_unit_test(malloc_trim_leaves_live_blocks_as_they_are),
        cmocka_unit_test(malloc_trim_accepts_any_pad),
        cmocka_unit_test(memory_is_usable_after_a_trim),
        cmocka_unit_test(giving_memory_back_keeps_errno_where_the_kernel_refuses),
        cmocka_unit_test(mallinfo2_counts_what_the_program_holds),
        cmocka_unit_test(mallinfo2_falls_when_large_blocks_are_freed),
        cmocka_unit_test(mallinfo2_adds_up),
        cmocka_unit_test(mallinfo_agrees_with_mallinfo2),
        cmocka_unit_test(malloc_info_writes_xml_and_returns_0),
        cmocka_unit_test(malloc_info_refuses_options_and_writes_nothing),
        cmocka_unit_test(malloc_stats_writes_lines_to_standard_error),
        cmocka_unit_test(malloc_stats_writes_nothing_to_standard_output),
        cmocka_unit_test(the_xml_check_refuses_what_is_not_well_formed),
        cmocka_unit_test(mallopt_returns_1_for_a_valid_value),
        cmocka_unit_test(mallopt_returns_0_for_a_bad_value),
        cmocka_unit_test(memory_is_usable_after_mallopt),
        cmocka_unit_test(threads_use_no_more_arenas_than_mallopt_allows),
        cmocka_unit_test(after_a_trim_a_thread_that_needs_a_large_block_gives_up_its_cache),
        cmocka_unit_test(a_pending_cancellation_never_acts_inside_malloc_stats),
    };

    subject_open(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
