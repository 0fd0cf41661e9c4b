/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fuzz_api.c - a libFuzzer target: any sequence of calls, from several threads, against a model.
 *
 * An input is a program: three bytes an operation (what, which slot, how large), run by one of four
 * threads in turn, one operation at a time, so that an input always does the same. Operations are
 * every allocation function with every kind of size and alignment, resizing, freeing by any thread,
 * threads that end, trims, statistics, forks, and kernel calls that fail.
 *
 * The model knows of each live block where it is, what was asked for, and what it was filled with.
 * Checked: sizes, alignments, errno, zeroed memory, contents kept by realloc and by everything that
 * happens in between over all usable bytes, no two blocks overlap, failure only where memory was
 * refused or the size is impossible; after each input, with all blocks freed, every layer's
 * accounts.
 *
 * Built with FUZZ_MUTANT one function is broken on purpose: each must be found.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena.h"
#include "break.h"
#include "breakwater/breakwater.h"
#include "meta.h"
#include "os.h"
#include "page_heap.h"

enum {
    SLOTS = 64,
    THREADS = 4, /* the first is the caller */
    OPERATION_BYTES = 3,
    OPERATIONS_MAX = 2000,
    SIZES = 64,
    EDGE_BYTES =
        4096, /* of a block longer than twice that, the edges and a byte a page are filled */
    LIVE_BYTES_MAX = 64 * 1024 * 1024,
};

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail(#condition, __LINE__);                                                            \
        }                                                                                          \
    } while (0)

struct slot {
    unsigned char *start;
    size_t usable;
    unsigned char fill;
};

struct operation {
    unsigned char what;
    unsigned char where;
    unsigned char size;
};

static struct slot slots[SLOTS];
static size_t live_bytes;
static bool memory_refused; /* since the operation began, calls may have failed */

_Noreturn static void fail(const char *condition, int line)
{
    (void)dprintf(STDERR_FILENO, "fuzz_api.c:%d: FAILED: %s\n", line, condition);
    abort();
}

/* Functions under test, one of them broken in a mutant. */

#ifndef FUZZ_MUTANT
#define FUZZ_MUTANT 0
#endif

enum {
    MUTANT_OVERLAP = 1,
    MUTANT_SHORT,
    MUTANT_DIRTY,
    MUTANT_LOST,
    MUTANT_MISALIGNED,
    MUTANT_LEAK
};

static void *test_malloc(size_t size)
{
    if (FUZZ_MUTANT == MUTANT_OVERLAP && size == 100 && slots[1].start != NULL) {
        return slots[1].start;
    }
    if (FUZZ_MUTANT == MUTANT_SHORT && size == 5000) {
        return bw_malloc(size - 1000);
    }
    return bw_malloc(size);
}

static void *test_calloc(size_t count, size_t size)
{
    if (FUZZ_MUTANT == MUTANT_DIRTY && count * size == 1000) {
        return bw_malloc(1000);
    }
    return bw_calloc(count, size);
}

static void *test_realloc(void *block, size_t size)
{
    if (FUZZ_MUTANT == MUTANT_LOST && block != NULL && size == 30000) {
        void *other = bw_malloc(size);

        bw_free(block);
        return other;
    }
    return bw_realloc(block, size);
}

static void *test_aligned_alloc(size_t alignment, size_t size)
{
    if (FUZZ_MUTANT == MUTANT_MISALIGNED && alignment == 4096) {
        return bw_aligned_alloc(64, size + 64);
    }
    return bw_aligned_alloc(alignment, size);
}

static void test_free(void *block)
{
    if (FUZZ_MUTANT == MUTANT_LEAK && block != NULL && bw_malloc_usable_size(block) == 256) {
        return;
    }
    bw_free(block);
}

/* The model */

static size_t size_of(unsigned char code)
{
    static const size_t sizes[SIZES] = {
        0,      1,      8,      15,     16,      17,      24,      31,      32,      33,    48,
        63,     64,     65,     100,    127,     128,     129,     200,     255,     256,   257,
        300,    500,    512,    513,    1000,    1023,    1024,    1025,    1500,    2000,  2048,
        3000,   4095,   4096,   4097,   5000,    8192,    9000,    10000,   16384,   16400, 20000,
        21840,  21841,  30000,  32768,  32769,   40000,   65535,   65536,   65537,   70000, 100000,
        131072, 131073, 200000, 300000, 1048576, 1048577, 3000000, 5000001, 16000000};

    return sizes[code % SIZES] + (code >= 2 * SIZES ? code / SIZES : 0);
}

static size_t alignment_of(unsigned char code)
{
    return (size_t)1 << (code % 21);
}

static void fill_part(struct slot *slot, size_t from, size_t to)
{
    memset(slot->start + from, slot->fill, to - from);
}

static void verify_part(const struct slot *slot, size_t from, size_t to)
{
    for (size_t at = from; at < to; at++) {
        CHECK(slot->start[at] == slot->fill);
    }
}

/* Calls `each` for the parts of [0, bytes) that are filled. */
static void fill(struct slot *slot)
{
    if (slot->usable <= (size_t)2 * EDGE_BYTES) {
        fill_part(slot, 0, slot->usable);
        return;
    }
    fill_part(slot, 0, EDGE_BYTES);
    for (size_t at = EDGE_BYTES; at < slot->usable - EDGE_BYTES; at += EDGE_BYTES) {
        slot->start[at] = slot->fill;
    }
    fill_part(slot, slot->usable - EDGE_BYTES, slot->usable);
}

/* Of a block filled when it was `filled` bytes long, the first `bytes`. */
static void verify(const struct slot *slot, size_t filled, size_t bytes)
{
    size_t least = bytes < filled ? bytes : filled;

    if (filled <= (size_t)2 * EDGE_BYTES) {
        verify_part(slot, 0, least);
        return;
    }
    verify_part(slot, 0, least < EDGE_BYTES ? least : EDGE_BYTES);
    for (size_t at = EDGE_BYTES; at < least && at < filled - EDGE_BYTES; at += EDGE_BYTES) {
        CHECK(slot->start[at] == slot->fill);
    }
    if (least > filled - EDGE_BYTES) {
        verify_part(slot, filled - EDGE_BYTES, least);
    }
}

static void check_no_overlap(const struct slot *slot)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct slot *other = &slots[i];

        if (other != slot && other->start != NULL) {
            CHECK(slot->start + slot->usable <= other->start ||
                  other->start + other->usable <= slot->start);
        }
    }
}

/* A call that was to give `size` bytes gave `block`. */
static void accept(struct slot *slot, void *block, size_t size, size_t alignment)
{
    if (block == NULL) {
        CHECK(errno == ENOMEM);
        CHECK(memory_refused);
        return;
    }
    CHECK((uintptr_t)block % 16 == 0);
    CHECK((uintptr_t)block % alignment == 0);
    slot->start = (unsigned char *)block;
    slot->usable = bw_malloc_usable_size(block);
    CHECK(slot->usable >= size);
    CHECK(slot->usable > 0);
    check_no_overlap(slot);
    slot->fill = (unsigned char)(slot->fill * 5 + 1);
    live_bytes += slot->usable;
    fill(slot);
}

static void drop(struct slot *slot)
{
    if (slot->start == NULL) {
        return;
    }
    verify(slot, slot->usable, slot->usable);
    errno = 77;
    live_bytes -= slot->usable;
    test_free(slot->start);
    CHECK(errno == 77);
    slot->start = NULL;
}

/* Operations */

static void allocate(struct slot *slot, const struct operation *operation)
{
    size_t size = size_of(operation->size);
    size_t alignment = 16;
    void *block = NULL;

    drop(slot);
    if (live_bytes + size > LIVE_BYTES_MAX) {
        return;
    }
    errno = 0;
    switch (operation->what % 8) {
    case 0:
    case 1:
        block = test_malloc(size);
        break;
    case 2:
        block = test_calloc(operation->where % 5 + 1, size / (operation->where % 5U + 1));
        size = size / (operation->where % 5U + 1) * (operation->where % 5U + 1);
        for (size_t at = 0; block != NULL && at < size; at++) {
            CHECK(((unsigned char *)block)[at] == 0);
        }
        break;
    case 3:
        alignment = alignment_of(operation->where);
        block = test_aligned_alloc(alignment, size);
        break;
    case 4:
        alignment = alignment_of(operation->where);
        if (alignment < sizeof(void *)) {
            CHECK(bw_posix_memalign(&block, alignment, size) == EINVAL && block == NULL);
            return;
        }
        errno = bw_posix_memalign(&block, alignment, size);
        break;
    case 5:
        alignment = 4096;
        block = operation->where % 2 == 0 ? bw_valloc(size) : bw_pvalloc(size);
        break;
    case 6:
        alignment = alignment_of(operation->where);
        block = bw_memalign(alignment, size);
        break;
    default:
        block = bw_reallocarray(NULL, size / 8, 8);
        size = size / 8 * 8;
    }
    accept(slot, block, size, alignment);
}

static void resize(struct slot *slot, const struct operation *operation)
{
    size_t size = size_of(operation->size);
    size_t old_usable = slot->usable;
    size_t old_live = live_bytes;

    if (slot->start == NULL || live_bytes + size > LIVE_BYTES_MAX) {
        return;
    }
    verify(slot, slot->usable, slot->usable);
    errno = 0;
    void *block = test_realloc(slot->start, size);

    if (block == NULL && size > 0) {
        CHECK(errno == ENOMEM && memory_refused);
        verify(slot, slot->usable, slot->usable);
        return;
    }
    live_bytes = old_live - old_usable;
    slot->start = (unsigned char *)block;
    if (block == NULL) {
        return;
    }
    verify(slot, old_usable, size < old_usable ? size : old_usable);
    accept(slot, block, size, 16);
}

static void ask_for_the_impossible(const struct operation *operation)
{
    volatile size_t size = (size_t)PTRDIFF_MAX + 1 + size_of(operation->size);
    void *block = &block;
    void *const untouched = block;

    errno = 0;
    switch (operation->what % 4) {
    case 0:
        CHECK(bw_malloc(size) == NULL);
        break;
    case 1:
        CHECK(bw_calloc(size / 2, size / 2) == NULL);
        break;
    case 2:
        CHECK(bw_aligned_alloc(64, size) == NULL);
        break;
    default:
        CHECK(bw_posix_memalign(&block, 64, size) == ENOMEM && block == untouched);
        errno = ENOMEM;
    }
    CHECK(errno == ENOMEM);
}

static void allocate_in_a_child(const struct operation *operation)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        for (unsigned i = 0; i < SLOTS; i += 3) {
            drop(&slots[i]);
            allocate(&slots[i], operation);
        }
        _exit(EXIT_SUCCESS);
    }
    CHECK(child > 0);
    /* libFuzzer's clock interrupts. */
    long ended = TEMP_FAILURE_RETRY(waitpid(child, &status, 0));

    CHECK(ended == child && status == 0);
}

static void look_at_statistics(void)
{
    struct bw_mallinfo2 info = bw_mallinfo2();

    CHECK(info.uordblks <= info.arena + info.hblkhd);
    CHECK(info.fordblks <= info.arena + info.hblkhd);
    CHECK(bw_malloc_usable_size(NULL) == 0);
    bw_free(NULL);
}

static void execute(const struct operation *operation)
{
    struct slot *slot = &slots[operation->where % SLOTS];

    switch (operation->what / 8 % 8) {
    case 0:
    case 1:
    case 2:
        allocate(slot, operation);
        break;
    case 3:
        resize(slot, operation);
        break;
    case 4:
    case 5:
        drop(slot);
        break;
    case 6:
        ask_for_the_impossible(operation);
        break;
    default:
        if (operation->what % 8 == 0) {
            (void)bw_malloc_trim(size_of(operation->size));
        } else if (operation->what % 8 == 1 && operation->size == 7) {
            allocate_in_a_child(operation);
        } else {
            look_at_statistics();
        }
    }
}

/* Threads: an operation is handed over, and waited for. */

struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const struct operation *operation; /* NULL: done */
    bool running;
    bool ends;
};

static struct worker workers[THREADS];

static void *work(void *argument)
{
    struct worker *worker = (struct worker *)argument;

    CHECK(pthread_mutex_lock(&worker->lock) == 0);
    while (!worker->ends) {
        if (worker->operation != NULL) {
            execute(worker->operation);
            worker->operation = NULL;
            CHECK(pthread_cond_signal(&worker->changed) == 0);
        } else {
            CHECK(pthread_cond_wait(&worker->changed, &worker->lock) == 0);
        }
    }
    CHECK(pthread_mutex_unlock(&worker->lock) == 0);
    return NULL;
}

static void start_worker(struct worker *worker)
{
    CHECK(pthread_mutex_init(&worker->lock, NULL) == 0);
    CHECK(pthread_cond_init(&worker->changed, NULL) == 0);
    worker->ends = false;
    worker->running = true;
    CHECK(pthread_create(&worker->thread, NULL, work, worker) == 0);
}

static void end_worker(struct worker *worker)
{
    if (!worker->running) {
        return;
    }
    CHECK(pthread_mutex_lock(&worker->lock) == 0);
    worker->ends = true;
    CHECK(pthread_cond_signal(&worker->changed) == 0);
    CHECK(pthread_mutex_unlock(&worker->lock) == 0);
    CHECK(pthread_join(worker->thread, NULL) == 0);
    worker->running = false;
}

static void hand_over(struct worker *worker, const struct operation *operation)
{
    if (!worker->running) {
        start_worker(worker);
    }
    CHECK(pthread_mutex_lock(&worker->lock) == 0);
    worker->operation = operation;
    CHECK(pthread_cond_signal(&worker->changed) == 0);
    while (worker->operation != NULL) {
        CHECK(pthread_cond_wait(&worker->changed, &worker->lock) == 0);
    }
    CHECK(pthread_mutex_unlock(&worker->lock) == 0);
}

/* An operation's thread is in the top bits of `what`: the caller, another, or a change. */
static void run_operation(const struct operation *operation)
{
    unsigned thread = operation->what >> 6;

    if (operation->what == 0xff) {
        os_fail_calls(1 + operation->where % 4, operation->size % 16);
        memory_refused = true;
    } else if (operation->what == 0xfe) {
        os_fail_calls(0, 0);
        memory_refused = false;
    } else if (operation->what == 0xfd) {
        end_worker(&workers[operation->where % THREADS]);
    } else if (thread == 0) {
        execute(operation);
    } else {
        hand_over(&workers[thread], operation);
    }
}

static void check_layers(void)
{
    for (unsigned index = 0; arena_by_index(index) != NULL; index++) {
        arena_check(arena_by_index(index));
    }
    page_heap_check();
    break_check();
    meta_check();
}

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count;
    (void)arguments;
    /* Remote frees on any machine. */
    CHECK(setenv("BREAKWATER_CONF", "arenas:3", 1) == 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < OPERATIONS_MAX && (i + 1) * OPERATION_BYTES <= size; i++) {
        const uint8_t *bytes = data + i * OPERATION_BYTES;
        const struct operation operation = {bytes[0], bytes[1], bytes[2]};

        run_operation(&operation);
    }
    os_fail_calls(0, 0);
    memory_refused = false;
    for (unsigned i = 0; i < SLOTS; i++) {
        drop(&slots[i]);
    }
    for (unsigned i = 1; i < THREADS; i++) {
        end_worker(&workers[i]);
    }
    (void)bw_malloc_trim(0);
    check_layers();
    CHECK(bw_mallinfo2().uordblks == 0);
    CHECK(live_bytes == 0);
    return 0;
}
