/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* replaced.c - fault: a tool puts functions of its own in place of malloc, free, realloc and
 * memalign, wherever they are, but does not know the rest of the family (valgrind 3.19 is one).
 *
 * The program does what the tool would: it writes a jump where each of them begins. Asserts: blocks
 * that the rest of the family gets or frees are the tool's.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"

typedef void (*free_sized_t)(void *block, size_t size);
typedef void (*free_aligned_sized_t)(void *block, size_t alignment, size_t size);

enum { HEAP_BYTES = 1024 * 1024, HEADER_BYTES = 16, PAGE = 4096, COUNT = 10, SIZE = 30 };

static _Alignas(PAGE) char heap[HEAP_BYTES];
static size_t used;
static unsigned frees;

static bool is_of_tool(const void *block)
{
    return (const char *)block >= heap && (const char *)block < heap + HEAP_BYTES;
}

/* Each block's size lies before it. */
static size_t size_of(const void *block)
{
    size_t size;

    CHECK(is_of_tool(block));
    memcpy(&size, (const char *)block - HEADER_BYTES, sizeof(size));
    return size;
}

static void *tool_memalign(size_t alignment, size_t size)
{
    size_t start = (used + HEADER_BYTES + alignment - 1) / alignment * alignment;

    if (size > HEAP_BYTES || start > HEAP_BYTES - size) {
        return NULL;
    }
    memcpy(heap + start - HEADER_BYTES, &size, sizeof(size));
    used = start + size;
    return heap + start;
}

static void *tool_malloc(size_t size)
{
    return tool_memalign(HEADER_BYTES, size);
}

static void tool_free(void *block)
{
    CHECK(block == NULL || is_of_tool(block));
    frees += block != NULL;
}

static void *tool_realloc(void *block, size_t size)
{
    void *moved = tool_malloc(size);

    if (block != NULL && moved != NULL) {
        memcpy(moved, block, size < size_of(block) ? size : size_of(block));
        tool_free(block);
    }
    return moved;
}

static void *find(const char *name)
{
    void *address = dlsym(RTLD_DEFAULT, name);

    CHECK(address != NULL);
    return address;
}

/* From now on who calls the function of that name calls the other one. */
static void replace(const char *name, uintptr_t by)
{
    enum { JUMP_BYTES = 6 };
    static const unsigned char jump[JUMP_BYTES] = {0xff, 0x25}; /* jmp *(%rip) */
    char *code = (char *)find(name);
    char *page = code - (uintptr_t)code % PAGE;

    CHECK(mprotect(page, (size_t)2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    memcpy(code, jump, JUMP_BYTES);
    memcpy(code + JUMP_BYTES, &by, sizeof(by));
}

int main(void)
{
    fault_start();
#ifdef __x86_64__
    void *address = find("free_sized");
    free_sized_t free_sized;
    free_aligned_sized_t free_aligned_sized;
    volatile size_t too_many = SIZE_MAX;

    memcpy(&free_sized, &address, sizeof(address));
    address = find("free_aligned_sized");
    memcpy(&free_aligned_sized, &address, sizeof(address));
    replace("malloc", (uintptr_t)tool_malloc);
    replace("free", (uintptr_t)tool_free);
    replace("realloc", (uintptr_t)tool_realloc);
    replace("memalign", (uintptr_t)tool_memalign);

    char *block = (char *)malloc(SIZE);

    CHECK(is_of_tool(block));
    memset(block, 'x', SIZE);
    char *longer = (char *)reallocarray(block, COUNT, SIZE);

    CHECK(size_of(longer) == (size_t)COUNT * SIZE && longer[SIZE - 1] == 'x');
    const char *too_long = (char *)reallocarray(longer, too_many, SIZE);

    CHECK(too_long == NULL);
    unsigned before = frees;

    free_sized(longer, (size_t)COUNT * SIZE);
    free_aligned_sized(memalign(PAGE, SIZE), PAGE, SIZE);
    CHECK(frees == before + 2);
    block = (char *)pvalloc(1);
    CHECK((uintptr_t)block % PAGE == 0 && size_of(block) >= PAGE);
#else
    (void)fprintf(stderr, "fault_replaced knows no jump of this processor: nothing was tested\n");
#endif
    _exit(EXIT_SUCCESS);
}
