/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* support.c - children that tests run and die in.
 *
 * A child's output goes to a pipe, so that what a passing test prints does not clutter the report
 * and what a dying process prints can be compared.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pace.h"
#include "tick.h"

enum { TEXT_BYTES = 16384, THREADS_MAX = 64, PAGES_AT_ONCE = 1024 };

struct child_end {
    int status;
    char text[TEXT_BYTES];
};

/* Children */

static void read_to_end(int file, char text[TEXT_BYTES])
{
    char rest[KIB];
    size_t length = 0;
    ssize_t got;

    do {
        bool fits = length < TEXT_BYTES - 1;

        got = fits ? read(file, text + length, TEXT_BYTES - 1 - length)
                   : read(file, rest, sizeof(rest));
        if (fits && got > 0) {
            length += (size_t)got;
        }
    } while (got > 0);
    text[length] = '\0';
}

/* In the parent: wait for `child`, whose output comes through `pipe_ends`. */
static void follow(pid_t child, const int pipe_ends[2], struct child_end *end)
{
    (void)close(pipe_ends[1]);
    read_to_end(pipe_ends[0], end->text);
    (void)close(pipe_ends[0]);
    assert_int_equal(waitpid(child, &end->status, 0), child);
}

/* fork(), with a pipe for what the child writes to standard error. */
static pid_t fork_with_pipe(int pipe_ends[2])
{
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    (void)fflush(NULL);
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(pipe_ends[1], STDERR_FILENO);
    }
    return child;
}

/* Isolation */

static int run_here(const struct isolated_test *test)
{
    const struct CMUnitTest unit_test = {.name = test->name, .test_func = test->run};

    return _cmocka_run_group_tests(test->name, &unit_test, 1, NULL, NULL);
}

static void run_in_child(void **state)
{
    const struct isolated_test *test = (const struct isolated_test *)*state;
    struct child_end end;
    int pipe_ends[2];
    pid_t child = fork_with_pipe(pipe_ends);

    if (child == 0) {
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        /* Not _exit(): the sanitizers report at the end of a process. */
        exit(run_here(test) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    follow(child, pipe_ends, &end);
    if (end.status != 0) {
        print_error("%s", end.text);
        fail_msg("the child ended with wait status %#x", (unsigned)end.status);
    }
}

/* The C library's malloc grows by the break too. Room for all that it will need lets it leave the
 * break alone from here on. */
static void settle_c_library(void)
{
    (void)mallopt(M_TOP_PAD, (int)(4 * MIB));
    (void)mallopt(M_TRIM_THRESHOLD, (int)(64 * MIB));
    free(malloc(MIB / 2));
    free(malloc(1));
}

int run_isolated(const struct isolated_test *tests, size_t count)
{
    struct CMUnitTest unit_tests[count];

    settle_c_library();
    for (size_t i = 0; i < count; i++) {
        unit_tests[i] = (struct CMUnitTest){
            .name = tests[i].name,
            .test_func = run_in_child,
            .initial_state = (void *)(uintptr_t)&tests[i],
        };
    }
    return _cmocka_run_group_tests("unit", unit_tests, count, NULL, NULL);
}

/* Death */

static void become_mortal(void)
{
    static const int caught_by_cmocka[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS};
    const struct rlimit no_core = {0, 0};

    (void)setrlimit(RLIMIT_CORE, &no_core);
    for (size_t i = 0; i < ARRAY_SIZE(caught_by_cmocka); i++) {
        (void)signal(caught_by_cmocka[i], SIG_DFL);
    }
}

static void assert_dies_with_line(void (*act)(void *argument), void *argument, const char *line)
{
    struct child_end end;
    int pipe_ends[2];
    pid_t child = fork_with_pipe(pipe_ends);

    if (child == 0) {
        become_mortal();
        act(argument);
        _exit(EXIT_SUCCESS);
    }
    follow(child, pipe_ends, &end);
    assert_string_equal(end.text, line);
    assert_true(WIFSIGNALED(end.status));
    assert_int_equal(WTERMSIG(end.status), SIGABRT);
}

void assert_dies(void (*act)(void *argument), void *argument, const char *fault)
{
    char line[KIB];

    (void)snprintf(line, sizeof(line), "breakwater: %s\n", fault);
    assert_dies_with_line(act, argument, line);
}

void assert_dies_at(void (*act)(void *argument), void *argument, const char *fault,
                    uintptr_t address)
{
    char line[KIB];

    (void)snprintf(line, sizeof(line), "breakwater: %s 0x%" PRIxPTR "\n", fault, address);
    assert_dies_with_line(act, argument, line);
}

void assert_works_in_child(bool (*act)(void *argument), void *argument)
{
    struct child_end end;
    int pipe_ends[2];
    pid_t child = fork_with_pipe(pipe_ends);

    if (child == 0) {
        become_mortal();
        _exit(act(argument) ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    follow(child, pipe_ends, &end);
    assert_string_equal(end.text, "");
    assert_int_equal(end.status, 0);
}

void assert_child_succeeds(pid_t child)
{
    int status = 0;

    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

void assert_warns(void (*act)(void *argument), void *argument, const char *text)
{
    char written[TEXT_BYTES];
    int saved = dup(STDERR_FILENO);
    int file = memfd_create("stderr", MFD_CLOEXEC);

    assert_true(saved >= 0 && file >= 0);
    (void)dup2(file, STDERR_FILENO);
    act(argument);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    (void)lseek(file, 0, SEEK_SET);
    read_to_end(file, written);
    (void)close(file);
    assert_string_equal(written, text);
}

/* Threads */

void run_threads(unsigned count, void *(*body)(void *argument), void *argument)
{
    pthread_t threads[THREADS_MAX];

    assert_true(count <= THREADS_MAX);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, body, argument), 0);
    }
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

void let_ticks_pass(unsigned ticks)
{
    for (; ticks > 0; ticks--) {
        tick_advance();
        pass_advance_from(pass_now());
    }
}

/* The break */

uintptr_t current_break(void)
{
    return (uintptr_t)sbrk(0);
}

void move_break_to(uintptr_t address)
{
    assert_int_equal(brk((void *)address), 0);
}

static void *blocking_page;

void block_break(void)
{
    long page = sysconf(_SC_PAGESIZE);
    uintptr_t above = (current_break() + (uintptr_t)page - 1) & ~((uintptr_t)page - 1);

    blocking_page = mmap((void *)above, (size_t)page, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    assert_ptr_equal(blocking_page, (void *)above);
}

void unblock_break(void)
{
    assert_int_equal(munmap(blocking_page, (size_t)sysconf(_SC_PAGESIZE)), 0);
}

/* Memory */

size_t resident_pages(const void *start, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char states[PAGES_AT_ONCE];
    size_t resident = 0;

    for (size_t done = 0; done < bytes; done += PAGES_AT_ONCE * page) {
        char *first = (char *)(uintptr_t)start + done;
        size_t part = bytes - done < PAGES_AT_ONCE * page ? bytes - done : PAGES_AT_ONCE * page;

        if (mincore(first, part, states) != 0) {
            /* Some of them have been unmapped. */
            assert_int_equal(errno, ENOMEM);
            for (size_t i = 0; i < part / page; i++) {
                states[i] = 0;
                (void)mincore(first + i * page, page, &states[i]);
            }
        }
        for (size_t i = 0; i < part / page; i++) {
            resident += states[i] & 1U;
        }
    }
    return resident;
}

void filter_calls(struct sock_filter *filter, size_t length)
{
    struct sock_fprog program = {.len = (unsigned short)length, .filter = filter};

    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

void answer_call(uint32_t call, uint32_t error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    filter_calls(filter, ARRAY_SIZE(filter));
}

void set_pace(uint64_t page_ns)
{
    pace_note(PACE_BYTES_MOST, page_ns * (PACE_BYTES_MOST / 4096));
}

/* As before Linux 5.18. */
static void refuse_to_purge_locked_pages(void)
{
    enum { DONTNEED_LOCKED = 24 };
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DONTNEED_LOCKED, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    filter_calls(filter, ARRAY_SIZE(filter));
}

void lock_pages(void *start, size_t bytes)
{
    static bool refused;

    if (!refused) {
        refuse_to_purge_locked_pages();
        refused = true;
    }
    assert_int_equal(syscall(SYS_mlock, start, bytes), 0);
}

void unlock_pages(void *start, size_t bytes)
{
    assert_int_equal(syscall(SYS_munlock, start, bytes), 0);
}

bool kernel_populates(void)
{
    /* Of no bytes it does nothing, where it is known. */
    return madvise(NULL, 0, MADV_POPULATE_WRITE) == 0;
}

bool mapping_has_flag(const void *address, const char *flag)
{
    char line[512];
    bool inside = false;
    bool found = false;
    FILE *maps = fopen("/proc/self/smaps", "r");

    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        char *rest;
        uintptr_t start = strtoul(line, &rest, 16);

        if (*rest == '-') {
            inside =
                start <= (uintptr_t)address && (uintptr_t)address < strtoul(rest + 1, NULL, 16);
        } else if (inside && strncmp(line, "VmFlags:", strlen("VmFlags:")) == 0) {
            found = strstr(line, flag) != NULL;
        }
    }
    (void)fclose(maps);
    return found;
}

bool is_readable(const void *address)
{
    int pipe_ends[2];

    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    /* The call itself: a sanitizer would look at the address first. */
    bool readable = syscall(SYS_write, pipe_ends[1], address, (size_t)1) == 1;

    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
    return readable;
}

bool is_all(const void *start, size_t bytes, unsigned char value)
{
    const unsigned char *byte = (const unsigned char *)start;

    return bytes == 0 || (*byte == value && memcmp(byte, byte + 1, bytes - 1) == 0);
}

void write_file(const char *directory, const char *name, const char *text)
{
    char path[PATH_MAX];
    FILE *file;

    (void)stpcpy(stpcpy(stpcpy(path, directory), "/"), name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}
