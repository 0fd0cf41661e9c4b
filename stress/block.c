/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* block.c - filling, verifying and counting blocks.
 *
 * Invariant    a live block starts with its size and owner, each mixed with its address; one that
 *              is freed or moved does not. So memory that is handed out and still starts that way
 *              was handed out twice.
 * Concurrency  a block and its accounts are touched by one thread at a time; who passes a block on
 *              orders that.
 */
#include "block.h"

#include <errno.h>
#include <string.h>

#include "breakwater/breakwater.h"
#include "harness.h"

enum {
    FULL_BYTES = 256,   /* blocks up to this are written whole */
    STRIDE_BYTES = 512, /* in larger ones a word in this many bytes */
    OWNERS_MAX = 1 << 20,
    SMALL_BYTES = 512,
    MEDIUM_BYTES = 8192,
    ALIGNMENT_SHIFT_MOST = 17,
};

#define KEY_SIZE  UINT64_C(0x9e3779b97f4a7c15)
#define KEY_OWNER UINT64_C(0xc2b2ae3d27d4eb4f)
#define KEY_BODY  UINT64_C(0x165667b19e3779f9)
#define FREED     UINT64_C(0xdeaddeaddeaddead)

struct header {
    uint64_t size;
    uint64_t owner;
};

_Static_assert(sizeof(struct header) == 16, "the smallest block holds a header");

uint64_t block_random(struct block_accounts *accounts)
{
    uint64_t value = (accounts->random += KEY_SIZE);

    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

size_t block_random_size(struct block_accounts *accounts, size_t most)
{
    uint64_t kind = block_random(accounts) % 16;
    size_t bound = kind < 10 ? SMALL_BYTES : kind < 15 ? MEDIUM_BYTES : most;

    return block_random(accounts) % ((bound < most ? bound : most) + 1);
}

/* Patterns */

static uint64_t key_of(const void *block, uint64_t key)
{
    uint64_t mixed = (uint64_t)(uintptr_t)block * key;

    return mixed ^ (mixed >> 29);
}

static struct header header_of(const void *block)
{
    const struct header *stored = (const struct header *)block;

    return (struct header){stored->size ^ key_of(block, KEY_SIZE),
                           stored->owner ^ key_of(block, KEY_OWNER)};
}

static void header_write(void *block, uint64_t size, uint64_t owner)
{
    struct header *stored = (struct header *)block;

    stored->size = size ^ key_of(block, KEY_SIZE);
    stored->owner = owner ^ key_of(block, KEY_OWNER);
}

/* The word at `offset` of a block that was filled at `address`. */
static uint64_t body_word(uintptr_t address, struct header header, size_t offset)
{
    return ((uint64_t)(address + offset) * KEY_BODY) ^ (header.size * KEY_OWNER + header.owner);
}

/* The offset of the word after the one at `offset`; `bytes` or more: there is none. */
static size_t next_offset(size_t offset, size_t bytes)
{
    if (bytes <= FULL_BYTES || offset + sizeof(uint64_t) >= bytes) {
        return offset + sizeof(uint64_t);
    }
    size_t next = offset - offset % STRIDE_BYTES + STRIDE_BYTES;

    return next < bytes ? next : bytes - sizeof(uint64_t);
}

size_t block_usable_bytes(const void *block)
{
    return bw_malloc_usable_size((void *)(uintptr_t)block);
}

static void fill(void *block, size_t size, uint64_t owner, size_t usable)
{
    struct header header = {size, owner};
    char *bytes = (char *)block;

    header_write(block, size, owner);
    for (size_t offset = sizeof(header); offset < usable; offset = next_offset(offset, usable)) {
        *(uint64_t *)(void *)(bytes + offset) = body_word((uintptr_t)block, header, offset);
    }
}

/* Compare the body up to `bytes` of a block of `usable` bytes that was filled at `filled_at`. */
static void verify_body(const void *block, uintptr_t filled_at, struct header header, size_t usable,
                        size_t bytes)
{
    const char *start = (const char *)block;

    for (size_t offset = sizeof(header); offset + sizeof(uint64_t) <= bytes;
         offset = next_offset(offset, usable)) {
        uint64_t found = *(const uint64_t *)(const void *)(start + offset);

        if (found != body_word(filled_at, header, offset)) {
            stress_fail("block %p of %zu bytes has changed at byte %zu", block, (size_t)header.size,
                        offset);
        }
    }
}

static bool header_is_live(struct header header, size_t usable)
{
    return header.size <= usable && header.owner > 0 && header.owner < OWNERS_MAX;
}

static struct header verify_header(const void *block, size_t usable)
{
    struct header header = header_of(block);

    if (!header_is_live(header, usable)) {
        stress_fail("block %p of at most %zu bytes does not start as it was written", block,
                    usable);
    }
    return header;
}

void block_verify(const void *block)
{
    size_t usable = block_usable_bytes(block);

    verify_body(block, (uintptr_t)block, verify_header(block, usable), usable, usable);
}

uint64_t block_owner(const void *block)
{
    return header_of(block).owner;
}

/* Allocation */

/* Check, count and fill what an allocation returned; errno is as it left it. */
static void *adopt(struct block_accounts *accounts, void *block, size_t alignment, size_t size)
{
    if (block == NULL) {
        if (errno != ENOMEM || !accounts->may_fail) {
            stress_fail("no memory for %zu bytes aligned to %zu, errno %d", size, alignment, errno);
        }
        accounts->failures++;
        return NULL;
    }
    size_t usable = block_usable_bytes(block);

    if ((uintptr_t)block % alignment != 0 || usable < size || usable % sizeof(struct header) != 0) {
        stress_fail("block %p of %zu usable bytes for %zu aligned to %zu", block, usable, size,
                    alignment);
    }
    if (header_is_live(header_of(block), usable)) {
        stress_fail("block %p was handed out while it was live", block);
    }
    accounts->allocated_blocks++;
    accounts->allocated_bytes += usable;
    fill(block, size, accounts->owner, usable);
    return block;
}

void *block_alloc(struct block_accounts *accounts, size_t size)
{
    return adopt(accounts, bw_malloc(size), sizeof(struct header), size);
}

static void *alloc_zeroed(struct block_accounts *accounts, size_t size)
{
    unsigned char *block = (unsigned char *)bw_calloc(1 + size / 16, 16);

    for (size_t offset = 0; block != NULL && offset < size;
         offset += size <= FULL_BYTES ? 1 : sizeof(uint64_t) * 7) {
        if (block[offset] != 0) {
            stress_fail("byte %zu of %zu at %p is not zeroed", offset, size, (void *)block);
        }
    }
    return adopt(accounts, block, sizeof(struct header), size);
}

static void *alloc_by_posix(struct block_accounts *accounts, size_t alignment, size_t size)
{
    void *block = NULL;
    int error = bw_posix_memalign(&block, alignment, size);

    if (error != 0) {
        errno = error;
    }
    return adopt(accounts, block, alignment, size);
}

void *block_alloc_aligned(struct block_accounts *accounts, size_t alignment, size_t size)
{
    switch (block_random(accounts) % 3) {
    case 0:
        return alloc_by_posix(accounts, alignment, size);
    case 1:
        return adopt(accounts, bw_memalign(alignment, size), alignment, size);
    default:
        return adopt(accounts, bw_aligned_alloc(alignment, size), alignment, size);
    }
}

void *block_alloc_any(struct block_accounts *accounts, size_t size)
{
    switch (block_random(accounts) % 8) {
    case 0:
        return alloc_zeroed(accounts, size);
    case 1:
        return block_alloc_aligned(
            accounts, (size_t)16 << (block_random(accounts) % (ALIGNMENT_SHIFT_MOST - 4)), size);
    case 2:
        return adopt(accounts, bw_realloc(NULL, size), sizeof(struct header), size);
    default:
        return block_alloc(accounts, size);
    }
}

/* Resizing and freeing */

static void *resize_by_any(struct block_accounts *accounts, void *block, size_t size)
{
    return block_random(accounts) % 2 != 0 ? bw_realloc(block, size)
                                           : bw_reallocarray(block, size, 1);
}

void *block_resize(struct block_accounts *accounts, void *block, size_t size)
{
    size_t old_usable = block_usable_bytes(block);
    uintptr_t old_address = (uintptr_t)block;
    struct header header = verify_header(block, old_usable);

    verify_body(block, old_address, header, old_usable, old_usable);
    /* While it may move, it must not look live at its old place. */
    header_write(block, FREED, FREED);
    void *moved = resize_by_any(accounts, block, size);

    if (moved == NULL) {
        header_write(block, header.size, header.owner);
        verify_body(block, old_address, header, old_usable, old_usable);
        return adopt(accounts, NULL, sizeof(struct header), size);
    }
    size_t kept = size < old_usable ? size : old_usable;

    verify_body(moved, old_address, header, old_usable, kept);
    accounts->freed_blocks++;
    accounts->freed_bytes += old_usable;
    if (moved == block) {
        header_write(block, FREED, FREED);
    }
    return adopt(accounts, moved, sizeof(struct header), size);
}

void block_free(struct block_accounts *accounts, void *block)
{
    if (block == NULL) {
        return;
    }
    size_t usable = block_usable_bytes(block);
    struct header header = verify_header(block, usable);

    verify_body(block, (uintptr_t)block, header, usable, usable);
    header_write(block, FREED, FREED);
    accounts->freed_blocks++;
    accounts->freed_bytes += usable;
    if (block_random(accounts) % 8 == 0) {
        bw_free_sized(block, header.size);
    } else {
        bw_free(block);
    }
}
