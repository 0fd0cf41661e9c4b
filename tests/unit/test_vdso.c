/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_vdso.c - the clock is the kernel's, and not what the program calls clock_gettime(). */
#include "support.h"

#include <elf.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vdso.h"

static unsigned calls;

/* What the kernel maps, as it did on some machines: the one symbol that is defined is a section's.
 */
struct image {
    ElfW(Ehdr) header;
    ElfW(Phdr) segments[2];
    ElfW(Dyn) dynamic[4];
    char names[8];
    ElfW(Sym) symbols[2];
    uint32_t hash_header[4];
    ElfW(Addr) filter;
    uint32_t bucket;
    uint32_t chain;
};

static const struct image nameless = {
    .header = {.e_phoff = offsetof(struct image, segments), .e_phnum = 2},
    .segments = {{.p_type = PT_LOAD},
                 {.p_type = PT_DYNAMIC, .p_offset = offsetof(struct image, dynamic)}},
    .dynamic = {{.d_tag = DT_STRTAB, .d_un = {.d_ptr = offsetof(struct image, names)}},
                {.d_tag = DT_SYMTAB, .d_un = {.d_ptr = offsetof(struct image, symbols)}},
                {.d_tag = DT_GNU_HASH, .d_un = {.d_ptr = offsetof(struct image, hash_header)}},
                {.d_tag = DT_NULL}},
    .symbols = {{.st_name = 0}, {.st_info = STT_SECTION, .st_shndx = 1}},
    .hash_header = {1, 1, 1, 0},
    .bucket = 1,
    .chain = 1,
};

/* The same file as for a machine that it does not know by name. */
#undef __x86_64__
#undef __aarch64__
#undef __riscv
#define vdso_clock      clock_elsewhere
#define getauxval(type) ((uintptr_t)&nameless)
void clock_elsewhere(clockid_t which, struct timespec *now);
#include "vdso.c"
#undef vdso_clock
#undef getauxval

int clock_gettime(clockid_t which, struct timespec *now)
{
    calls++;
    return (int)syscall(SYS_clock_gettime, which, now);
}

static int64_t kernel_ns(clockid_t which)
{
    struct timespec now = {0, 0};

    assert_int_equal(syscall(SYS_clock_gettime, which, &now), 0);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int64_t ns_of(clockid_t which)
{
    struct timespec now = {0, 0};

    vdso_clock(which, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void the_clock_is_the_kernels(void **state)
{
    static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(clocks); i++) {
        int64_t before = kernel_ns(clocks[i]);
        int64_t now = ns_of(clocks[i]);

        assert_true(before <= now && now <= kernel_ns(clocks[i]));
    }
}

static void nobody_who_stands_before_libc_is_asked(void **state)
{
    (void)state;
    (void)ns_of(CLOCK_MONOTONIC);
    /* But where nothing is mapped that could be asked, as under emulators of a processor. */
    assert_int_equal(calls, getauxval(AT_SYSINFO_EHDR) == 0 ? 1 : 0);
}

static void elsewhere_it_is_libcs(void **state)
{
    struct timespec now = {0, 0};

    (void)state;
    clock_elsewhere(CLOCK_MONOTONIC, &now);
    assert_int_equal(calls, 1);
    assert_true(now.tv_sec > 0);
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(the_clock_is_the_kernels),
        ISOLATED(nobody_who_stands_before_libc_is_asked),
        ISOLATED(elsewhere_it_is_libcs),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
