/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* break_moves.c - fault: the program moves the break itself, or the break cannot move.
 *
 *   up        odd amounts between allocations: what the program got is its own, nothing overlaps
 *   down      below the heap's top: a clear message and the end of the process, or it carries on
 *             and never uses the part that was cut off; no other end
 *   blocked   a mapping right above the break: the heap goes on in mapped regions, and says so;
 *             what the machine can never hold is refused there too
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"

enum { ROUNDS = 300, BLOCK_BYTES = 40000, ODD_BYTES = 4097, CUT_ROUNDS = 40 };

static struct owned {
    unsigned char *start;
    size_t size;
} owned[ROUNDS];

static void *sbrk_or_die(intptr_t bytes)
{
    void *old = sbrk(bytes);

    CHECK((intptr_t)old != -1);
    return old;
}

static void verify_owned(void)
{
    for (size_t i = 0; i < ROUNDS; i++) {
        for (size_t at = 0; owned[i].start != NULL && at < owned[i].size; at++) {
            CHECK(owned[i].start[at] == 0xa5);
        }
    }
}

static void move_up(void)
{
    static void *blocks[ROUNDS];

    for (size_t i = 0; i < ROUNDS; i++) {
        owned[i].size = 1 + i * ODD_BYTES % 70001;
        owned[i].start = (unsigned char *)sbrk_or_die((intptr_t)owned[i].size);
        memset(owned[i].start, 0xa5, owned[i].size);
        blocks[i] = fault_block(BLOCK_BYTES + i * 997);
    }
    for (size_t i = 0; i < ROUNDS; i++) {
        fault_free(blocks[i], BLOCK_BYTES + i * 997);
    }
    verify_owned();
    (void)malloc_trim(0);
    verify_owned();
}

static void use_heap_after_cut(void)
{
    void *blocks[CUT_ROUNDS];

    for (size_t i = 0; i < CUT_ROUNDS; i++) {
        blocks[i] = fault_block(MIB + i);
    }
    for (size_t i = 0; i < CUT_ROUNDS; i++) {
        fault_free(blocks[i], MIB + i);
    }
}

/* What was cut off lies partly in free memory, partly in live blocks. */
static void move_down(size_t bytes, bool live)
{
    const struct rlimit no_core = {0, 0};
    char text[256] = {0};
    int ends[2];
    int status;

    CHECK(pipe(ends) == 0);
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)dup2(ends[1], STDERR_FILENO);
        void *block = fault_block(8 * MIB);

        if (!live) {
            fault_free(block, 8 * MIB);
        }
        (void)sbrk_or_die(-(intptr_t)bytes);
        use_heap_after_cut();
        _exit(EXIT_SUCCESS);
    }
    (void)close(ends[1]);
    ssize_t length = read(ends[0], text, sizeof(text) - 1);

    (void)close(ends[0]);
    CHECK(waitpid(child, &status, 0) == child);
    bool carried_on = WIFEXITED(status) && WEXITSTATUS(status) == 0 && length == 0;
    bool said_why = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
                    strstr(text, "breakwater: the program lowered the break below blocks in use") &&
                    strchr(text, '\n') == text + length - 1;

    CHECK(carried_on || said_why);
    CHECK(live || carried_on);
}

/* Has the machine been told to refuse no size at all? */
static bool refuses_nothing(void)
{
    FILE *file = fopen("/proc/sys/vm/overcommit_memory", "re");

    CHECK(file != NULL);
    int policy = fgetc(file);

    (void)fclose(file);
    return policy == '1';
}

static void ask_for_too_much(void)
{
    struct sysinfo machine;

    CHECK(sysinfo(&machine) == 0);
    size_t memory = (size_t)(machine.totalram + machine.totalswap) * machine.mem_unit;

    for (size_t bytes = 2 * memory; bytes < (size_t)1 << 46; bytes *= 2) {
        errno = 0;
        void *block = malloc(bytes);

        CHECK(refuses_nothing() || (block == NULL && errno == ENOMEM));
        free(block);
    }
}

/* Each longer than all that were freed before it, and more than there are regions. */
static void grow_again_and_again(void)
{
    enum { BLOCKS = 400 };

    for (size_t i = 0; i < BLOCKS; i++) {
        char *block = (char *)malloc(KIB * MIB + i * MIB / 4);

        CHECK(block != NULL);
        *block = 1;
        free(block);
    }
}

static void block_the_break(void)
{
    void *end = sbrk(0);
    uintptr_t above = ((uintptr_t)end + 4095) & ~(uintptr_t)4095;

    const void *mapping = mmap((void *)above, 4096, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    CHECK(mapping == (void *)above);
    use_heap_after_cut();
    CHECK(sbrk(0) == end);
    CHECK(mallinfo2().hblks > 0);
    ask_for_too_much();
    grow_again_and_again();
    use_heap_after_cut();
}

int main(int count, char **arguments)
{
    fault_start();
    CHECK(count == 2);
    free(fault_block(BLOCK_BYTES));
    if (strcmp(arguments[1], "up") == 0) {
        move_up();
    } else if (strcmp(arguments[1], "down") == 0) {
        for (size_t pages = 1; pages < 1000; pages += 111) {
            move_down(pages * 4096, false);
            move_down(pages * 4096, true);
        }
        move_down(1, true);
        move_down(5000001, false);
    } else {
        CHECK(strcmp(arguments[1], "blocked") == 0);
        block_the_break();
    }
    return EXIT_SUCCESS;
}
