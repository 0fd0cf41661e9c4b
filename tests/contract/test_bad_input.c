/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_bad_input.c - what is not a live block's address stops the process.
 *
 * Each fault happens in a child, which must die by SIGABRT and print one line, that names the fault
 * and the address, and nothing else. A fault is either seen at once, or, where noticing it needs a
 * look at the cache of another thread or deep into the own one, at the latest before the block
 * would be handed out a second time or the process ends: such a child goes on to use the class.
 *
 * A block that is freed again after it became available again, in some thread's cache, cannot be
 * told from one in use: those tests hold where there are no caches, with
 * BREAKWATER_CONF=checked:true.
 */
#include "subject.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define DOUBLE_FREE         "double free"
#define INVALID_FREE        "invalid free"
#define INVALID_REALLOC     "invalid realloc"
#define INVALID_USABLE_SIZE "invalid malloc_usable_size"

#define MIB ((size_t)1024 * 1024)

/* How a child that should have died ends instead. */
enum { SURVIVED = 40, BLOCK_HANDED_OUT_TWICE = 41, CHILD_FAILED = 42 };

static const size_t sizes[] = {1, 16, 128, 1000, 4096, 30000, 100000, MIB, 40 * MIB};

/* ---- the child ---- */

/* The address that the message must name; written by the child, read by the parent. */
static uintptr_t *fault_address;

static void *fault_at(void *address)
{
    *fault_address = (uintptr_t)address;
    return address;
}

static void *block_of(size_t size)
{
    unsigned char *block = tested.malloc(size);

    if (!block) {
        _exit(CHILD_FAILED);
    }
    block[0] = 1;
    return block;
}

static int compare_addresses(const void *left, const void *right)
{
    uintptr_t a = *(const uintptr_t *)left;
    uintptr_t b = *(const uintptr_t *)right;

    return (a > b) - (a < b);
}

/* Goes on as a program that has not noticed would, and ends like one. */
static void go_on_with(size_t size)
{
    enum { COUNT = 600 };
    static uintptr_t blocks[COUNT];
    size_t count = size < 64 * 1024 ? COUNT : COUNT / 20;

    for (size_t i = 0; i < count; i++) {
        blocks[i] = (uintptr_t)block_of(size);
    }
    qsort(blocks, count, sizeof(blocks[0]), compare_addresses);
    for (size_t i = 1; i < count; i++) {
        if (blocks[i] - blocks[i - 1] < size) {
            _exit(BLOCK_HANDED_OUT_TWICE);
        }
    }
    exit(SURVIVED);
}

/* ---- the parent ---- */

typedef void (*fault)(size_t size);

struct death {
    int status;
    char text[4096];
};

static void run_in_child(fault commit, size_t size, int standard_error)
{
    struct rlimit no_core = {0, 0};

    setrlimit(RLIMIT_CORE, &no_core);
    for (int number = 1; number < SIGRTMIN; number++) {
        signal(number, SIG_DFL);
    }
    dup2(standard_error, STDERR_FILENO);
    commit(size);
    _exit(SURVIVED);
}

static void read_to_end(int descriptor, char *text, size_t size)
{
    size_t length = 0;
    ssize_t count;

    while (length < size - 1 && (count = read(descriptor, text + length, size - 1 - length)) > 0) {
        length += (size_t)count;
    }
    text[length] = '\0';
}

static struct death death_of(fault commit, size_t size)
{
    struct death death;
    int ends[2];

    *fault_address = 0;
    fflush(NULL);
    assert_int_equal(pipe(ends), 0);

    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        run_in_child(commit, size, ends[1]);
    }
    close(ends[1]);
    read_to_end(ends[0], death.text, sizeof(death.text));
    close(ends[0]);
    assert_int_equal(waitpid(child, &death.status, 0), child);
    return death;
}

static void print_death(const struct death *death, size_t size)
{
    int signal_number = WIFSIGNALED(death->status) ? WTERMSIG(death->status) : 0;
    int exit_status = WIFEXITED(death->status) ? WEXITSTATUS(death->status) : 0;

    print_error("size %zu: signal %d, exit status %d, address %#lx, standard error \"%s\"\n", size,
                signal_number, exit_status, (unsigned long)*fault_address, death->text);
}

static bool died_of(const struct death *death, const char *what)
{
    char expected[200];

    snprintf(expected, sizeof(expected), "breakwater: %s of %#lx\n", what,
             (unsigned long)*fault_address);
    return WIFSIGNALED(death->status) && WTERMSIG(death->status) == SIGABRT &&
           strcmp(death->text, expected) == 0;
}

static bool dies_of(const char *what, fault commit, size_t size)
{
    struct death death = death_of(commit, size);
    bool died = died_of(&death, what);

    if (!died) {
        print_death(&death, size);
    }
    return died;
}

static void assert_dies_of(const char *what, fault commit, size_t size)
{
    if (!dies_of(what, commit, size)) {
        fail_msg("no death by %s", what);
    }
}

/* All sizes are tried, so that the message shows which layer lets the fault pass. */
static void assert_dies_at_every_size(const char *what, fault commit)
{
    size_t survived = 0;

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        survived += !dies_of(what, commit, sizes[i]);
    }
    if (survived > 0) {
        fail_msg("no death by %s at %zu sizes", what, survived);
    }
}

/* ---- double frees ---- */

static void free_twice(size_t size)
{
    void *block = fault_at(block_of(size));

    tested.free(block);
    tested.free(block);
}

static void freeing_a_block_twice_is_a_double_free(void **state)
{
    (void)state;
    assert_dies_at_every_size(DOUBLE_FREE, free_twice);
}

static void free_twice_with_another_between(size_t size)
{
    void *block = fault_at(block_of(size));
    void *other = block_of(size);

    tested.free(block);
    tested.free(other);
    tested.free(block);
    go_on_with(size);
}

static void freeing_a_block_twice_with_another_between_is_a_double_free(void **state)
{
    (void)state;
    assert_dies_at_every_size(DOUBLE_FREE, free_twice_with_another_between);
}

static void free_twice_with_many_between(size_t size)
{
    void *others[100];
    void *block = fault_at(block_of(size));

    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        others[i] = block_of(size);
    }
    tested.free(block);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        tested.free(others[i]);
    }
    tested.free(block);
    go_on_with(size);
}

static void freeing_a_block_twice_with_many_between_is_a_double_free(void **state)
{
    (void)state;
    assert_dies_at_every_size(DOUBLE_FREE, free_twice_with_many_between);
}

/* A thread that frees a block when it is told to. It is started before the first free: starting it
 * allocates, and might be given the very block. */
struct helper {
    pthread_t thread;
    pthread_barrier_t told;
    void *block;
};

static void *free_when_told(void *argument)
{
    struct helper *helper = argument;

    pthread_barrier_wait(&helper->told);
    tested.free(helper->block);
    return NULL;
}

static void helper_start(struct helper *helper, void *block)
{
    helper->block = block;
    if (pthread_barrier_init(&helper->told, NULL, 2) != 0 ||
        pthread_create(&helper->thread, NULL, free_when_told, helper) != 0) {
        _exit(CHILD_FAILED);
    }
}

/* The block has been freed, and the thread is gone, when this returns. */
static void helper_free(struct helper *helper)
{
    pthread_barrier_wait(&helper->told);
    pthread_join(helper->thread, NULL);
}

static void free_here_then_elsewhere(size_t size)
{
    void *block = fault_at(block_of(size));
    struct helper helper;

    helper_start(&helper, block);
    tested.free(block);
    helper_free(&helper);
    go_on_with(size);
}

static void freeing_again_on_another_thread_is_a_double_free(void **state)
{
    (void)state;
    assert_dies_at_every_size(DOUBLE_FREE, free_here_then_elsewhere);
}

static void free_elsewhere_then_here(size_t size)
{
    void *block = fault_at(block_of(size));
    struct helper helper;

    helper_start(&helper, block);
    helper_free(&helper);
    tested.free(block);
    go_on_with(size);
}

static void freeing_what_another_thread_freed_is_a_double_free(void **state)
{
    (void)state;
    assert_dies_at_every_size(DOUBLE_FREE, free_elsewhere_then_here);
}

static void free_on_two_other_threads(size_t size)
{
    void *block = fault_at(block_of(size));
    struct helper first;
    struct helper second;

    helper_start(&first, block);
    helper_start(&second, block);
    helper_free(&first);
    helper_free(&second);
    go_on_with(size);
}

static void freeing_on_two_other_threads_is_a_double_free(void **state)
{
    (void)state;
    assert_dies_at_every_size(DOUBLE_FREE, free_on_two_other_threads);
}

static void free_here_and_elsewhere_at_once(size_t size)
{
    void *block = fault_at(block_of(size));
    struct helper helper;

    helper_start(&helper, block);
    pthread_barrier_wait(&helper.told);
    tested.free(block);
    pthread_join(helper.thread, NULL);
}

static void freeing_on_two_threads_at_once_is_a_double_free(void **state)
{
    (void)state;
    assert_dies_at_every_size(DOUBLE_FREE, free_here_and_elsewhere_at_once);
}

/* With caches too: runs of large blocks are shared. */
static void freeing_a_large_block_on_two_threads_at_once_is_a_double_free(void **state)
{
    enum { ROUNDS = 20 };

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        assert_dies_of(DOUBLE_FREE, free_here_and_elsewhere_at_once, 140000);
        assert_dies_of(DOUBLE_FREE, free_here_and_elsewhere_at_once, 3 * MIB);
    }
}

/* More blocks than any cache holds: the first ones freed are back in their slabs by the end. */
static void free_again_from_the_slab(size_t size)
{
    enum { MAX_COUNT = 100000 };
    static void *blocks[MAX_COUNT];
    size_t count = 64 * MIB / size < MAX_COUNT ? 64 * MIB / size : MAX_COUNT;

    for (size_t i = 0; i < count; i++) {
        blocks[i] = block_of(size);
    }
    for (size_t i = 0; i < count; i++) {
        tested.free(blocks[i]);
    }
    tested.free(fault_at(blocks[count / 3]));
    go_on_with(size);
}

static void freeing_a_block_that_went_back_to_its_slab_is_a_double_free(void **state)
{
    static const size_t slab_sizes[] = {16, 100, 1000, 4096, 30000};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(slab_sizes); i++) {
        assert_dies_of(DOUBLE_FREE, free_again_from_the_slab, slab_sizes[i]);
    }
}

static size_t blocks_between;

static void free_all_then_the_first_again(size_t size)
{
    static void *blocks[400];

    for (size_t i = 0; i <= blocks_between; i++) {
        blocks[i] = block_of(size);
    }
    for (size_t i = 0; i <= blocks_between; i++) {
        tested.free(blocks[i]);
    }
    tested.free(fault_at(blocks[0]));
    go_on_with(size);
}

/* The first has gone back to its slab, with a full stack or half of one, or has not yet. */
static void freeing_the_first_of_any_number_again_is_a_double_free(void **state)
{
    static const size_t stack_sizes[] = {16, 100, 512, 1024, 2000, 4096, 16384, 60000};
    static const size_t counts[] = {1, 3, 7, 13, 15, 31, 32, 63, 64, 127, 253, 300, 399};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(stack_sizes); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(counts); j++) {
            blocks_between = counts[j];
            assert_dies_of(DOUBLE_FREE, free_all_then_the_first_again, stack_sizes[i]);
        }
    }
}

static void free_after_realloc_to_zero(size_t size)
{
    void *block = fault_at(block_of(size));

    tested.realloc(block, 0);
    tested.free(block);
}

static void freeing_what_realloc_freed_is_a_double_free(void **state)
{
    (void)state;
    assert_dies_at_every_size(DOUBLE_FREE, free_after_realloc_to_zero);
}

static void free_after_trim(size_t size)
{
    void *block = fault_at(block_of(size));

    tested.free(block);
    tested.malloc_trim(0);
    tested.free(block);
    go_on_with(size);
}

/* What is no longer part of the heap may be called either. */
static void freeing_what_was_given_back_to_the_kernel_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct death death = death_of(free_after_trim, sizes[i]);

        if (!died_of(&death, DOUBLE_FREE) && !died_of(&death, INVALID_FREE)) {
            print_death(&death, sizes[i]);
            fail();
        }
    }
}

/* ---- invalid frees: `size` is the offset or the number of the case ---- */

static void free_of_stack(size_t offset)
{
    _Alignas(64) unsigned char on_stack[256];

    tested.free(fault_at(on_stack + offset));
}

static void freeing_a_stack_address_is_invalid(void **state)
{
    (void)state;
    assert_dies_of(INVALID_FREE, free_of_stack, 0);
    assert_dies_of(INVALID_FREE, free_of_stack, 16);
    assert_dies_of(INVALID_FREE, free_of_stack, 1);
}

static _Alignas(64) unsigned char global[256];
static _Alignas(64) const unsigned char constant[256];

static void free_of_global(size_t offset)
{
    tested.free(fault_at(global + offset));
}

static void free_of_constant(size_t offset)
{
    tested.free(fault_at((void *)(uintptr_t)(constant + offset)));
}

static void free_of_code(size_t offset)
{
    tested.free(fault_at((void *)((uintptr_t)free_of_code + offset)));
}

static void freeing_a_global_or_code_is_invalid(void **state)
{
    (void)state;
    assert_dies_of(INVALID_FREE, free_of_global, 0);
    assert_dies_of(INVALID_FREE, free_of_global, 128);
    assert_dies_of(INVALID_FREE, free_of_constant, 0);
    assert_dies_of(INVALID_FREE, free_of_code, 0);
}

static void free_of_number(size_t number)
{
    tested.free(fault_at((void *)number));
}

static void freeing_an_impossible_address_is_invalid(void **state)
{
    static const size_t numbers[] = {1,
                                     8,
                                     16,
                                     4096,
                                     65536,
                                     UINT64_C(0x7ffffffff000),
                                     UINT64_C(0x7fffffffffff),
                                     UINT64_C(0x800000000000),
                                     UINT64_C(0x7fffffffffffffff),
                                     UINT64_C(0x8000000000000000),
                                     UINT64_C(0xffff800000000000),
                                     UINT64_C(0xffffffffff600000),
                                     SIZE_MAX - 15,
                                     SIZE_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        assert_dies_of(INVALID_FREE, free_of_number, numbers[i]);
    }
}

static void free_inside_a_small_block(size_t offset)
{
    tested.free(fault_at((char *)block_of(128) + offset));
}

/* In blocks whose size is no power of two, some addresses inside look like those of other blocks.
 */
static void free_inside_an_odd_block(size_t offset)
{
    tested.free(fault_at((char *)block_of(1100) + offset));
    go_on_with(1100);
}

static void freeing_an_address_inside_a_small_block_is_invalid(void **state)
{
    static const size_t offsets[] = {1, 4, 8, 15, 16, 32, 64, 112, 127};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
        assert_dies_of(INVALID_FREE, free_inside_a_small_block, offsets[i]);
        assert_dies_of(INVALID_FREE, free_inside_an_odd_block, 8 * offsets[i]);
    }
}

static void free_inside_a_large_block(size_t offset)
{
    tested.free(fault_at((char *)block_of(MIB) + offset));
}

static void freeing_an_address_inside_a_large_block_is_invalid(void **state)
{
    static const size_t offsets[] = {1, 8, 16, 4096, 65535, 65536, 131072, MIB - 16};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
        assert_dies_of(INVALID_FREE, free_inside_a_large_block, offsets[i]);
    }
}

static void free_inside_an_aligned_block(size_t alignment)
{
    char *block = tested.memalign(alignment, 100);

    tested.free(fault_at(block + 16));
}

static void freeing_an_address_inside_an_aligned_block_is_invalid(void **state)
{
    (void)state;
    assert_dies_of(INVALID_FREE, free_inside_an_aligned_block, 128);
    assert_dies_of(INVALID_FREE, free_inside_an_aligned_block, 4096);
    assert_dies_of(INVALID_FREE, free_inside_an_aligned_block, MIB);
}

static void *mapping_of(size_t size)
{
    void *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (mapping == MAP_FAILED) {
        _exit(CHILD_FAILED);
    }
    return mapping;
}

static void free_of_mapping(size_t size)
{
    tested.free(fault_at(mapping_of(size)));
}

static void free_of_unmapped(size_t size)
{
    void *mapping = mapping_of(size);

    munmap(mapping, size);
    tested.free(fault_at(mapping));
}

static void freeing_memory_from_mmap_is_invalid(void **state)
{
    (void)state;
    assert_dies_of(INVALID_FREE, free_of_mapping, 4096);
    assert_dies_of(INVALID_FREE, free_of_mapping, 64 * MIB);
    assert_dies_of(INVALID_FREE, free_of_unmapped, 4096);
    assert_dies_of(INVALID_FREE, free_of_unmapped, 64 * MIB);
}

/* Comes from the break, as the heap does. */
static void free_of_foreign_break(size_t size)
{
    unsigned char *foreign;

    tested.free(block_of(100));
    foreign = sbrk((intptr_t)size);
    if (foreign == (void *)-1) {
        _exit(CHILD_FAILED);
    }
    foreign[0] = 1;
    tested.free(block_of(100));
    tested.free(block_of(MIB));
    tested.free(fault_at(foreign));
}

static void freeing_what_the_program_got_by_sbrk_is_invalid(void **state)
{
    (void)state;
    assert_dies_of(INVALID_FREE, free_of_foreign_break, 4096);
    assert_dies_of(INVALID_FREE, free_of_foreign_break, MIB);
}

static void free_of_end(size_t size)
{
    char *block = block_of(size);

    tested.free(fault_at(block + tested.malloc_usable_size(block)));
}

static void freeing_the_end_of_a_large_block_is_invalid(void **state)
{
    (void)state;
    assert_dies_of(INVALID_FREE, free_of_end, MIB);
    assert_dies_of(INVALID_FREE, free_of_end, 40 * MIB);
}

static void cfree_of_stack(size_t offset)
{
    _Alignas(64) unsigned char on_stack[256];

    tested.cfree(fault_at(on_stack + offset));
}

static void free_sized_of_stack(size_t offset)
{
    _Alignas(64) unsigned char on_stack[256];

    tested.free_sized(fault_at(on_stack + offset), 100);
}

static void free_aligned_sized_of_stack(size_t offset)
{
    _Alignas(64) unsigned char on_stack[256];

    tested.free_aligned_sized(fault_at(on_stack + offset), 64, 64);
}

static void every_name_of_free_refuses_a_stack_address(void **state)
{
    (void)state;
    assert_dies_of(INVALID_FREE, cfree_of_stack, 0);
    assert_dies_of(INVALID_FREE, free_sized_of_stack, 0);
    assert_dies_of(INVALID_FREE, free_aligned_sized_of_stack, 0);
}

/* ---- realloc and malloc_usable_size ---- */

static void realloc_of_stack(size_t size)
{
    _Alignas(64) unsigned char on_stack[256];

    tested.realloc(fault_at(on_stack), size);
}

static void reallocarray_of_stack(size_t size)
{
    _Alignas(64) unsigned char on_stack[256];

    tested.reallocarray(fault_at(on_stack), size, 10);
}

static void reallocating_a_stack_address_is_invalid(void **state)
{
    (void)state;
    assert_dies_of(INVALID_REALLOC, realloc_of_stack, 10);
    assert_dies_of(INVALID_REALLOC, realloc_of_stack, MIB);
    assert_dies_of(INVALID_REALLOC, reallocarray_of_stack, 100);
}

static void realloc_inside_a_small_block(size_t offset)
{
    tested.realloc(fault_at((char *)block_of(128) + offset), 1000);
}

static void realloc_inside_a_large_block(size_t offset)
{
    tested.realloc(fault_at((char *)block_of(MIB) + offset), 2 * MIB);
}

static void reallocating_an_address_inside_a_block_is_invalid(void **state)
{
    (void)state;
    assert_dies_of(INVALID_REALLOC, realloc_inside_a_small_block, 1);
    assert_dies_of(INVALID_REALLOC, realloc_inside_a_small_block, 8);
    assert_dies_of(INVALID_REALLOC, realloc_inside_a_small_block, 16);
    assert_dies_of(INVALID_REALLOC, realloc_inside_a_large_block, 8);
    assert_dies_of(INVALID_REALLOC, realloc_inside_a_large_block, 65536);
}

static void realloc_of_number(size_t number)
{
    tested.realloc(fault_at((void *)number), 100);
}

static void reallocating_an_impossible_address_is_invalid(void **state)
{
    (void)state;
    assert_dies_of(INVALID_REALLOC, realloc_of_number, 16);
    assert_dies_of(INVALID_REALLOC, realloc_of_number, UINT64_C(0x800000000000));
    assert_dies_of(INVALID_REALLOC, realloc_of_number, SIZE_MAX);
}

static void realloc_of_freed(size_t size)
{
    void *block = fault_at(block_of(size));

    tested.free(block);
    tested.realloc(block, 2 * size);
    go_on_with(size);
}

static void reallocating_a_freed_large_block_is_invalid(void **state)
{
    (void)state;
    assert_dies_of(INVALID_REALLOC, realloc_of_freed, 300000);
    assert_dies_of(INVALID_REALLOC, realloc_of_freed, MIB);
    assert_dies_of(INVALID_REALLOC, realloc_of_freed, 40 * MIB);
}

/* The page of a block that realloc() cannot read before the handler has freed the block. */
static void *unreadable_page;
static size_t page_bytes;
static void *moving_block;

static void free_in_the_middle(int number)
{
    (void)number;
    mprotect(unreadable_page, page_bytes, PROT_READ | PROT_WRITE);
    tested.free(moving_block);
}

static void free_while_realloc_moves(size_t size)
{
    struct sigaction action = {.sa_handler = free_in_the_middle};
    void *stop;

    moving_block = fault_at(block_of(size));
    stop = block_of(size); /* nothing grows where it is */
    page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    unreadable_page = (void *)(((uintptr_t)moving_block + size / 2) & -page_bytes);
    if (sigaction(SIGSEGV, &action, NULL) != 0 ||
        mprotect(unreadable_page, page_bytes, PROT_NONE) != 0) {
        _exit(CHILD_FAILED);
    }
    if (tested.realloc(moving_block, 4 * size) == moving_block) {
        _exit(CHILD_FAILED);
    }
    tested.free(stop);
    go_on_with(size);
}

static void freeing_what_realloc_is_about_to_free_is_a_double_free(void **state)
{
    (void)state;
    assert_dies_of(DOUBLE_FREE, free_while_realloc_moves, 300000);
    assert_dies_of(DOUBLE_FREE, free_while_realloc_moves, 5 * MIB);
}

static void usable_size_of_stack(size_t offset)
{
    _Alignas(64) unsigned char on_stack[256];

    tested.malloc_usable_size(fault_at(on_stack + offset));
}

static void usable_size_inside_a_small_block(size_t offset)
{
    tested.malloc_usable_size(fault_at((char *)block_of(128) + offset));
}

static void usable_size_inside_a_large_block(size_t offset)
{
    tested.malloc_usable_size(fault_at((char *)block_of(MIB) + offset));
}

static void the_usable_size_of_what_is_no_block_is_invalid(void **state)
{
    (void)state;
    assert_dies_of(INVALID_USABLE_SIZE, usable_size_of_stack, 0);
    assert_dies_of(INVALID_USABLE_SIZE, usable_size_inside_a_small_block, 8);
    assert_dies_of(INVALID_USABLE_SIZE, usable_size_inside_a_small_block, 16);
    assert_dies_of(INVALID_USABLE_SIZE, usable_size_inside_a_large_block, 65536);
}

/* ---- no fault, no message ---- */

static void correct_use(size_t size)
{
    struct helper helper;

    helper_start(&helper, block_of(size));
    tested.free(block_of(size));
    tested.free(tested.realloc(block_of(size), 2 * size));
    helper_free(&helper);
    go_on_with(size);
}

static void correct_use_prints_nothing_and_survives(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct death death = death_of(correct_use, sizes[i]);

        assert_true(WIFEXITED(death.status));
        assert_int_equal(WEXITSTATUS(death.status), SURVIVED);
        assert_string_equal(death.text, "");
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(correct_use_prints_nothing_and_survives),
        cmocka_unit_test(freeing_a_block_twice_is_a_double_free),
        cmocka_unit_test(freeing_a_block_twice_with_another_between_is_a_double_free),
        cmocka_unit_test(freeing_the_first_of_any_number_again_is_a_double_free),
        cmocka_unit_test(freeing_a_block_twice_with_many_between_is_a_double_free),
        cmocka_unit_test(freeing_on_two_other_threads_is_a_double_free),
        cmocka_unit_test(freeing_a_large_block_on_two_threads_at_once_is_a_double_free),
        cmocka_unit_test(freeing_what_realloc_freed_is_a_double_free),
        cmocka_unit_test(freeing_a_stack_address_is_invalid),
        cmocka_unit_test(freeing_a_global_or_code_is_invalid),
        cmocka_unit_test(freeing_an_impossible_address_is_invalid),
        cmocka_unit_test(freeing_an_address_inside_a_small_block_is_invalid),
        cmocka_unit_test(freeing_an_address_inside_a_large_block_is_invalid),
        cmocka_unit_test(freeing_an_address_inside_an_aligned_block_is_invalid),
        cmocka_unit_test(freeing_memory_from_mmap_is_invalid),
        cmocka_unit_test(freeing_what_the_program_got_by_sbrk_is_invalid),
        cmocka_unit_test(freeing_the_end_of_a_large_block_is_invalid),
        cmocka_unit_test(every_name_of_free_refuses_a_stack_address),
        cmocka_unit_test(reallocating_a_stack_address_is_invalid),
        cmocka_unit_test(reallocating_an_address_inside_a_block_is_invalid),
        cmocka_unit_test(reallocating_an_impossible_address_is_invalid),
        cmocka_unit_test(reallocating_a_freed_large_block_is_invalid),
        cmocka_unit_test(freeing_what_realloc_is_about_to_free_is_a_double_free),
        cmocka_unit_test(the_usable_size_of_what_is_no_block_is_invalid),
    };
    const struct CMUnitTest tests_without_caches[] = {
        cmocka_unit_test(freeing_again_on_another_thread_is_a_double_free),
        cmocka_unit_test(freeing_what_another_thread_freed_is_a_double_free),
        cmocka_unit_test(freeing_on_two_threads_at_once_is_a_double_free),
        cmocka_unit_test(freeing_a_block_that_went_back_to_its_slab_is_a_double_free),
        cmocka_unit_test(freeing_what_was_given_back_to_the_kernel_is_found),
    };
    const char *conf = getenv("BREAKWATER_CONF");
    int failed;

    subject_open(argc, argv);
    fault_address = mmap(NULL, sizeof(*fault_address), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fault_address == MAP_FAILED) {
        return EXIT_FAILURE;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (conf && strcmp(conf, "checked:true") == 0) {
        failed += cmocka_run_group_tests(tests_without_caches, NULL, NULL);
    }
    return failed;
}
