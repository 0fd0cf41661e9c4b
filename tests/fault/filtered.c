/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* filtered.c - fault: a filter kills the process for any system call that breakwater(7) does not
 * name (and libc does not need to end the process), from the start of main() to the end.
 *
 * Standard error is a device, which stdio asks for more than it asks a file. Asserts: the process
 * lives to its end.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault.h"

static const unsigned calls[] = {
    /* breakwater(7), SYSTEM CALLS */
    SYS_brk, SYS_mmap, SYS_mprotect, SYS_futex, SYS_clone, SYS_clone3, SYS_rseq,
    SYS_set_robust_list, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_exit, SYS_madvise, SYS_munmap,
    SYS_clock_gettime, SYS_sched_getaffinity, SYS_sched_yield, SYS_nanosleep, SYS_gettid,
    SYS_getpid, SYS_tgkill, SYS_sysinfo, SYS_prlimit64, SYS_openat, SYS_read, SYS_close, SYS_fcntl,
    SYS_fstat, SYS_newfstatat, SYS_write,
    /* libc */
    SYS_exit_group};

enum { CALLS = ARRAY_SIZE(calls), ROUNDS = 5, BLOCKS = 500 };

static void filter(void)
{
    struct sock_filter rules[CALLS + 3] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        [CALLS + 1] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        [CALLS + 2] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = ARRAY_SIZE(rules), .filter = rules};

    for (unsigned i = 0; i < CALLS; i++) {
        rules[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i],
                                                    (unsigned char)(CALLS - i), 0);
    }
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void *work(void *argument)
{
    static _Thread_local char *blocks[BLOCKS];

    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            blocks[i] = (char *)fault_block(i * i % 100000);
        }
        CHECK((blocks[0] = (char *)realloc(blocks[0], (4 + round) * MIB)) != NULL);
        memset(blocks[0], 0, (4 + round) * MIB);
        free(blocks[0]);
        /* Over memory that was used. */
        CHECK((blocks[0] = (char *)calloc(1, MIB)) != NULL);
        free(blocks[0]);
        for (size_t i = 1; i < BLOCKS; i++) {
            fault_free(blocks[i], i * i % 100000);
        }
        (void)malloc_trim(0);
    }
    return argument;
}

int main(int count, char **arguments)
{
    pthread_t id;

    fault_start();
    if (count == 1) {
        CHECK(dup2(open("/dev/null", O_WRONLY), STDERR_FILENO) == STDERR_FILENO);
        CHECK(execl("/proc/self/exe", arguments[0], "filtered", NULL) == 0);
    }
    filter();
    CHECK(pthread_create(&id, NULL, work, NULL) == 0);
    (void)work(NULL);
    CHECK(pthread_join(id, NULL) == 0);
    return EXIT_SUCCESS;
}
