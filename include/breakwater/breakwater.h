/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* breakwater.h - the public interface of the Breakwater memory allocator.
 *
 * Two families with one implementation:
 *   - the standard names (malloc, free, ...), which libbreakwater.so and libbreakwater.a define and
 *     so interpose; they are declared by the C library's own headers;
 *   - the same functions under the prefix bw_, declared here, which interpose nothing.
 * Both hand out blocks of one heap: a block from malloc may go to bw_free and the reverse. This
 * holds where the program itself is linked to Breakwater, or has it preloaded; not where only a
 * library or plugin of it is, which may use the bw_ names by themselves (breakwater(7), CAVEATS).
 *
 * Ownership    A block belongs to the caller until it is freed; then no byte of it may be used.
 * Alignment    Every block is aligned to at least 16 bytes. Sizes and alignments are in bytes.
 * Usable size  Every byte up to bw_malloc_usable_size(block) may be read and written.
 * Errors       NULL with errno ENOMEM where a function says nothing else. Success leaves errno
 *              alone. A size over PTRDIFF_MAX always fails. A pointer that is not a live block's
 *              (freed twice, interior, of another allocator, of the stack) stops the process with
 *              one line on standard error that names the fault and the address; of blocks freed
 *              twice some are missed (breakwater(7), CAVEATS). What only asks for a block's size
 *              (bw_malloc_usable_size, bw_realloc with 0) may not see that a block is free, or
 *              that an address is inside one; nor bw_realloc that a block is free which can stay
 *              where it is.
 * Threads      Every function may be called from any thread at any time, also before constructors,
 *              after thread-local destructors, and in a child after fork(). None is a cancellation
 *              point. None is async-signal-safe.
 * Versions     Within one major version what is declared here stays, and a program need not be
 *              built anew (the library's soname is the major version).
 */
#ifndef BREAKWATER_BREAKWATER_H
#define BREAKWATER_BREAKWATER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#if defined(__clang__) && !defined(__cplusplus)
/* C90 without extensions has no bool but what <stdbool.h> gives there too. */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wc99-extensions"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define BW_VERSION_MAJOR 0
#define BW_VERSION_MINOR 1
#define BW_VERSION_PATCH 0

#ifdef __GNUC__
#define BW_API __attribute__((visibility("default")))
#else
#define BW_API
#endif

/* ISO C (C17, 7.22.3). A size of 0 gives a unique block that can be freed. */
BW_API void *bw_malloc(size_t size);

/* ISO C. The block is zeroed up to count * size; a product that overflows fails. */
BW_API void *bw_calloc(size_t count, size_t size);

/* ISO C, with glibc's choice for size 0: frees `block` and returns NULL, errno unchanged.
 * On failure `block` stays as it was and still belongs to the caller. */
BW_API void *bw_realloc(void *block, size_t size);

/* ISO C. NULL is accepted. errno is preserved on every path. */
BW_API void bw_free(void *block);

/* C23 (7.24.3.4): as bw_free. `size` must be the size the block was asked with; it is a hint and
 * is not checked. */
BW_API void bw_free_sized(void *block, size_t size);

/* C23 (7.24.3.5): as bw_free_sized, for blocks of bw_aligned_alloc. */
BW_API void bw_free_aligned_sized(void *block, size_t alignment, size_t size);

/* ISO C, as in glibc 2.36: any alignment is accepted and rounded up to a power of two; over 2^63
 * fails with EINVAL, 2^63 or an overflow of alignment plus size with ENOMEM. */
BW_API void *bw_aligned_alloc(size_t alignment, size_t size);

/* POSIX.1-2008. Returns 0, EINVAL (alignment 0, no power of two, or no multiple of
 * sizeof(void *)) or ENOMEM, which is in errno too then, as in glibc. Otherwise errno is untouched,
 * and on failure `*out`. */
BW_API int bw_posix_memalign(void **out, size_t alignment, size_t size);

/* GNU. As bw_realloc of count * size; a product that overflows fails with ENOMEM. */
BW_API void *bw_reallocarray(void *block, size_t count, size_t size);

/* GNU. As bw_aligned_alloc. */
BW_API void *bw_memalign(size_t alignment, size_t size);

/* GNU. Page-aligned; pvalloc also rounds the size up to a whole page. */
BW_API void *bw_valloc(size_t size);
BW_API void *bw_pvalloc(size_t size);

/* GNU. The bytes that may be used at `block`, at least those asked for; 0 for NULL. */
BW_API size_t bw_malloc_usable_size(void *block);

/* GNU. Gives free memory back to the kernel, all of it but `pad` bytes at the top of the heap.
 * Returns 1 if any went back, else 0: as while the process forks, for which it does not wait. */
BW_API int bw_malloc_trim(size_t pad);

/* Breakwater's own: gives all free memory back to the kernel that can be, wherever in the heap it
 * is, and asks every other thread to give up what it has cached at its next slow path. Returns the
 * bytes that went back, in whole units of 64 KiB where all of one is free: pages of it that were
 * never used count, once, and again those that went back while other blocks of it were in use. */
BW_API size_t bw_purge(void);

/* Breakwater's own: starts, or ends, a thread that gives free memory back also while the process
 * neither allocates nor frees; so does BREAKWATER_CONF=background_thread:true at the start.
 * Children that are forked have one too. Not to be called by two threads at once. True if it runs
 * now. */
BW_API bool bw_background_thread(bool run);

/* Breakwater's own: limits on the memory that the heap holds, in bytes; 0 for none. What counts is
 * what slabs and large blocks take, in units of 64 KiB, and free memory that has not gone back to
 * the kernel; descriptors (some 2% more) do not. Over the soft limit free memory goes back with the
 * next calls that take a slow path, step by step, caches included. Where the hard limit would be
 * passed, and giving free memory back does not help, there is no memory: NULL and ENOMEM. So do
 * BREAKWATER_CONF=soft_limit:BYTES,hard_limit:BYTES at the start. False, and nothing has changed,
 * if the soft limit is the higher one; or, where no block has been allocated before, if there is no
 * memory, or a fork by another thread does not end. */
BW_API bool bw_set_limits(size_t soft_bytes, size_t hard_bytes);

/* Breakwater's own: a function to call when the soft limit has been passed and free memory has gone
 * back (not again before the heap has grown by a sixteenth of the limit), and when an allocation
 * fails with a hard limit set (but not if no heap could have the size, as one over PTRDIFF_MAX). It
 * is called by a thread inside an allocating function, with no lock of the allocator held, never
 * inside itself, though perhaps by several threads at once, may call every function here, and must
 * return; `held_bytes` is what the heap holds then. To be set before there are other threads, or
 * while they are at rest; NULL for none. `context` stays the caller's. */
enum bw_limit { BW_LIMIT_SOFT, BW_LIMIT_HARD };
typedef void bw_limit_callback(enum bw_limit limit, size_t held_bytes, void *context);
BW_API void bw_on_limit(bw_limit_callback *callback, void *context);

/* GNU. Returns 0 for a value that glibc refuses for the parameter, else 1. Breakwater has no use
 * for glibc's tunables: they change nothing, except M_ARENA_MAX, which limits the arenas that
 * threads started from now on are spread over (0: by the processors); 0 then also if the process
 * forks, and that takes over some 20 ms. */
BW_API int bw_mallopt(int parameter, int value);

/* GNU's struct mallinfo and struct mallinfo2, whose fields are, in bytes unless said otherwise:
 * arena    got from the break;
 * ordblks  free runs of the page heap (a count);
 * smblks   blocks cached by the calling thread (a count);  fsmblks  their bytes;
 * hblks    regions mapped because the break could not grow (a count);
 * hblkhd   their bytes, and those mapped for blocks during forks;
 * uordblks in blocks the program holds, together with those cached by other threads;
 * fordblks free: in slabs, in depots, in this thread's cache, in runs kept and of the page heap,
 *          in what is mapped for forks;
 * keepcost the free run at the top of the heap: the break falls by it, unless others moved it.
 * usmblks is 0. The int fields of bw_mallinfo saturate. All are 0 if the process forks meanwhile
 * and that takes over some 20 ms: the fork may wait for the caller. So it is with the functions
 * below. */
struct bw_mallinfo {
    int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
struct bw_mallinfo2 {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
#if defined(__cplusplus) && defined(__GNUC__)
/* That a function has the name of its struct is GNU's choice. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
BW_API struct bw_mallinfo bw_mallinfo(void);
BW_API struct bw_mallinfo2 bw_mallinfo2(void);
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/* GNU. Writes statistics as XML to `stream`. Returns 0, or EINVAL for options other than 0. */
BW_API int bw_malloc_info(int options, FILE *stream);

/* GNU. Writes statistics as text to standard error. */
BW_API void bw_malloc_stats(void);

/* The old SVID name of free. */
BW_API void bw_cfree(void *block);

#ifdef __cplusplus
}
#endif

#if defined(__clang__) && !defined(__cplusplus)
#pragma clang diagnostic pop
#endif

#endif /* BREAKWATER_BREAKWATER_H */
