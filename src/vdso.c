/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vdso.c - see vdso.h.
 *
 * Libraries that fake a program's clock define clock_gettime(), which calls malloc, at the first
 * time with a lock held. Slow paths of malloc read the clock: they would wait for that lock for
 * ever. So the function that the kernel maps into each process is called itself. Where there is
 * none, as under valgrind, libc's is.
 *
 * The format is that of the ELF specification. The kernel's object is one segment, and has GNU's
 * hash table for its symbols.
 *
 * Owns         the function's address.
 * Concurrency  any thread, no lock; of two that look at once, both find the same.
 * Called by    os.c and purge.c.
 */
#include "vdso.h"

#include <elf.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#include "util.h"

/* Where it is called as any C function is; elsewhere libc knows how. */
#if defined(__aarch64__)
#define CLOCK_NAME "__kernel_clock_gettime"
#elif defined(__x86_64__) || defined(__riscv)
#define CLOCK_NAME "__vdso_clock_gettime"
#else
#define CLOCK_NAME ""
#endif

typedef int clock_function(clockid_t which, struct timespec *now);

struct object {
    uintptr_t base; /* what its addresses are relative to */
    const char *names;
    const ElfW(Sym) * symbols;
    const uint32_t *gnu_hash; /* buckets, first symbol, words of the filter, ... */
};

static _Atomic(clock_function *) clock_found;

static const ElfW(Dyn) * find_dynamic(const ElfW(Ehdr) * header, uintptr_t *base)
{
    const ElfW(Phdr) *segments =
        (const ElfW(Phdr) *)(const void *)((const char *)header + header->e_phoff);
    const ElfW(Dyn) *dynamic = NULL;

    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type == PT_LOAD) {
            *base = (uintptr_t)header + segments[i].p_offset - segments[i].p_vaddr;
        } else if (segments[i].p_type == PT_DYNAMIC) {
            dynamic =
                (const ElfW(Dyn) *)(const void *)((const char *)header + segments[i].p_offset);
        }
    }
    return dynamic;
}

static bool read_object(const ElfW(Ehdr) * header, struct object *object)
{
    const ElfW(Dyn) *entry = find_dynamic(header, &object->base);

    for (; entry != NULL && entry->d_tag != DT_NULL; entry++) {
        const void *table = (const void *)(object->base + entry->d_un.d_ptr);

        switch (entry->d_tag) {
        case DT_STRTAB:
            object->names = (const char *)table;
            break;
        case DT_SYMTAB:
            object->symbols = (const ElfW(Sym) *)table;
            break;
        case DT_GNU_HASH:
            object->gnu_hash = (const uint32_t *)table;
            break;
        default:
            break;
        }
    }
    return object->names != NULL && object->symbols != NULL && object->gnu_hash != NULL;
}

/* Only its end tells how many symbols the table has: that of the last chain. */
static size_t count_symbols(const uint32_t *table)
{
    enum { WORDS_OF_HEADER = 4 };
    size_t buckets = table[0];
    size_t first = table[1];
    size_t filter_words = table[2] * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
    const uint32_t *bucket = table + WORDS_OF_HEADER + filter_words;
    const uint32_t *chain = bucket + buckets;
    size_t last = first;

    for (size_t i = 0; i < buckets; i++) {
        last = size_max(last, bucket[i]);
    }
    while ((chain[last - first] & 1) == 0) {
        last++;
    }
    return last + 1;
}

static clock_function *find_clock(void)
{
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)getauxval(AT_SYSINFO_EHDR);
    struct object object = {.base = 0};

    /* Symbols of sections have no name either. */
    if (CLOCK_NAME[0] == '\0' || header == NULL || !read_object(header, &object)) {
        return clock_gettime;
    }
    for (size_t i = count_symbols(object.gnu_hash); i > 0; i--) {
        const ElfW(Sym) *symbol = &object.symbols[i - 1];

        if (symbol->st_shndx != SHN_UNDEF &&
            strcmp(object.names + symbol->st_name, CLOCK_NAME) == 0) {
            return (clock_function *)(object.base + symbol->st_value);
        }
    }
    return clock_gettime;
}

void vdso_clock(clockid_t which, struct timespec *now)
{
    /* Relaxed: the function is there before anybody looks. */
    clock_function *function = atomic_load_explicit(&clock_found, memory_order_relaxed);

    if (unlikely(function == NULL)) {
        function = find_clock();
        atomic_store_explicit(&clock_found, function, memory_order_relaxed);
    }
    (void)function(which, now);
}
