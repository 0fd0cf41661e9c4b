/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* api.c - the family under the prefix bw_: arguments checked as breakwater.h says, then heap.c and
 * resize.c.
 *
 * Owns         the stream that statistics at exit go to.
 * Concurrency  any thread.
 * Called by    interpose.c; the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include "background.h"
#include "breakwater/breakwater.h"
#include "conf.h"
#include "heap.h"
#include "life.h"
#include "limit.h"
#include "os.h"
#include "resize.h"
#include "stats.h"
#include "upkeep.h"

#define ALIGNMENT_MOST ((size_t)1 << 63)

/* The one bound that glibc's mallopt() checks. */
enum { MXFAST_MOST = 80 * sizeof(size_t) / 4 };

/* Lower ones are left to the program. */
enum { EXIT_DESCRIPTOR_LEAST = 100, EXIT_BUFFER_BYTES = 1024 };

void *bw_malloc(size_t size)
{
    return heap_alloc(size);
}

void bw_free(void *block)
{
    heap_free(block);
}

void *bw_calloc(size_t count, size_t size)
{
    size_t bytes;

    if (unlikely(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    return heap_alloc_zeroed(bytes);
}

void *bw_realloc(void *block, size_t size)
{
    if (block == NULL) {
        return heap_alloc(size);
    }
    if (size == 0) {
        (void)heap_usable_size(block, FAULT_INVALID_REALLOC);
        heap_free(block);
        return NULL;
    }
    return heap_resize(block, size);
}

void *bw_reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;

    if (unlikely(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    return bw_realloc(block, bytes);
}

void bw_free_sized(void *block, size_t size)
{
    (void)size;
    heap_free(block);
}

void bw_free_aligned_sized(void *block, size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    heap_free(block);
}

int bw_posix_memalign(void **out, size_t alignment, size_t size)
{
    if (!is_power_of_two(alignment) || alignment % sizeof(void *) != 0) {
        return EINVAL;
    }
    void *block = heap_alloc_aligned(alignment, size);

    if (block == NULL) {
        return ENOMEM;
    }
    *out = block;
    return 0;
}

void *bw_memalign(size_t alignment, size_t size)
{
    if (unlikely(alignment > ALIGNMENT_MOST)) {
        errno = EINVAL;
        return NULL;
    }
    return heap_alloc_aligned(power_of_two_up(size_max(alignment, BLOCK_ALIGN)), size);
}

void *bw_aligned_alloc(size_t alignment, size_t size)
{
    return bw_memalign(alignment, size);
}

COLD void *bw_valloc(size_t size)
{
    return heap_alloc_aligned(os_page_bytes(), size);
}

COLD void *bw_pvalloc(size_t size)
{
    size_t page = os_page_bytes();

    if (unlikely(size > PTRDIFF_MAX - page)) {
        errno = ENOMEM;
        return NULL;
    }
    return heap_alloc_aligned(page, align_up(size, page));
}

size_t bw_malloc_usable_size(void *block)
{
    return block != NULL ? heap_usable_size(block, FAULT_USABLE_SIZE) : 0;
}

COLD size_t bw_purge(void)
{
    int saved_errno = errno;
    size_t bytes = heap_trim(0);

    errno = saved_errno;
    return bytes;
}

COLD bool bw_background_thread(bool run)
{
    if (run) {
        return background_start();
    }
    background_stop();
    return false;
}

COLD bool bw_set_limits(size_t soft_bytes, size_t hard_bytes)
{
    if (hard_bytes != 0 && soft_bytes > hard_bytes) {
        return false;
    }
    /* Reads the options first, which would overwrite what is set here. */
    if (!life_start_patiently()) {
        return false;
    }
    limit_set(soft_bytes, hard_bytes);
    upkeep_notice_limits();
    return true;
}

void bw_on_limit(bw_limit_callback *callback, void *context)
{
    limit_on(callback, context);
}

COLD int bw_malloc_trim(size_t pad)
{
    int saved_errno = errno;
    size_t bytes = heap_trim(pad);

    errno = saved_errno;
    return bytes > 0;
}

COLD int bw_mallopt(int parameter, int value)
{
    if (parameter == M_MXFAST) {
        return value >= 0 && value <= (int)MXFAST_MOST;
    }
    if (parameter == M_ARENA_MAX && value >= 0) {
        return life_limit_arenas((uint32_t)value);
    }
    return 1;
}

COLD struct bw_mallinfo2 bw_mallinfo2(void)
{
    struct stats_memory memory = stats_memory();

    return (struct bw_mallinfo2){
        .arena = memory.break_bytes,
        .ordblks = memory.free_runs,
        .smblks = memory.cached_blocks,
        .hblks = memory.mapped_regions,
        .hblkhd = memory.mapped_bytes + memory.fork_bytes,
        .fsmblks = memory.cached_bytes,
        .uordblks = memory.used_bytes,
        .fordblks = memory.free_bytes,
        .keepcost = memory.top_free_bytes,
    };
}

static int saturated(size_t value)
{
    return value > INT_MAX ? INT_MAX : (int)value;
}

COLD struct bw_mallinfo bw_mallinfo(void)
{
    struct bw_mallinfo2 info = bw_mallinfo2();

    return (struct bw_mallinfo){
        .arena = saturated(info.arena),
        .ordblks = saturated(info.ordblks),
        .smblks = saturated(info.smblks),
        .hblks = saturated(info.hblks),
        .hblkhd = saturated(info.hblkhd),
        .fsmblks = saturated(info.fsmblks),
        .uordblks = saturated(info.uordblks),
        .fordblks = saturated(info.fordblks),
        .keepcost = saturated(info.keepcost),
    };
}

COLD int bw_malloc_info(int options, FILE *stream)
{
    if (options != 0) {
        return EINVAL;
    }
    stats_print_xml(stream);
    return 0;
}

void bw_malloc_stats(void)
{
    stats_print_text(stderr);
}

COLD void bw_cfree(void *block)
{
    heap_free(block);
}

/* Statistics at exit: many programs close standard error before. */

static struct {
    int descriptor; /* a copy of it; below 0: none */
    bool is_known;
    struct stat file;
} exit_stream = {.descriptor = -1};

/* After background_construct(), which reads the options. */
__attribute__((constructor(CONSTRUCT_STATISTICS))) static void api_construct(void)
{
    if (conf.stats_print) {
        exit_stream.is_known = fstat(STDERR_FILENO, &exit_stream.file) == 0;
        exit_stream.descriptor = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, EXIT_DESCRIPTOR_LEAST);
    }
}

/* The program may have closed the copy, and standard error too, and have other files there. */
COLD static bool is_exit_stream(int descriptor)
{
    struct stat now;

    return exit_stream.is_known && descriptor >= 0 && fstat(descriptor, &now) == 0 &&
           now.st_dev == exit_stream.file.st_dev && now.st_ino == exit_stream.file.st_ino;
}

__attribute__((destructor(CONSTRUCT_LAYERS))) static void api_destruct(void)
{
    FILE *stream = NULL;

    if (!conf.stats_print) {
        return;
    }
    /* In a handler of a signal, which exits, with our locks held. */
    if (gate_has_caller(cache_gate(cache_self))) {
        warn_line((const char *const[]){"no statistics: malloc or free was interrupted", NULL});
        return;
    }
    if (is_exit_stream(exit_stream.descriptor)) {
        stream = fdopen(exit_stream.descriptor, "w");
    }
    if (stream != NULL) {
        static char buffer[EXIT_BUFFER_BYTES];

        /* Or stdio asks the kernel for a terminal's settings, which a filter may kill for. */
        (void)setvbuf(stream, buffer, _IOFBF, sizeof(buffer));
        stats_print_text(stream);
        (void)fclose(stream);
    } else if (is_exit_stream(STDERR_FILENO)) {
        stats_print_text(stderr);
    }
}
