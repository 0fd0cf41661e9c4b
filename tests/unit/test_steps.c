/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_steps.c - a handler of a signal forks after each instruction of a thread that enters the
 * gate without a slot, and leaves it. x86-64: the trap flag has the processor stop after each.
 */
#include "heap_support.h"

#include <signal.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unistd.h>

#include "breakwater/breakwater.h"
#include "gate.h"

#define TRAP_FLAG ((greg_t)0x100)

enum { HANGS_S = 60 };

static struct {
    bool is_child;
    bool has_come; /* to where it stops */
    unsigned forks;
} steps;

static void fork_here(int signal, siginfo_t *unused, void *context)
{
    greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];

    (void)signal;
    (void)unused;
    if (!steps.has_come) {
        (void)alarm(HANGS_S);
        pid_t child = fork();

        steps.is_child = child == 0;
        /* Nobody else ends a child that hangs. */
        (void)alarm(steps.is_child ? HANGS_S / 2 : HANGS_S);
        if (!steps.is_child) {
            assert_child_succeeds(child);
            steps.forks++;
        }
    }
    if (steps.has_come || steps.is_child) {
        *flags &= ~TRAP_FLAG;
    }
}

static void set_trap_flag(void)
{
    /* Not where the compiler may keep variables, below the stack's end. */
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\t"
                     "pushfq\n\t"
                     "orq %0, (%%rsp)\n\t"
                     "popfq\n\t"
                     "lea 128(%%rsp), %%rsp" ::"i"(TRAP_FLAG)
                     : "memory", "cc");
}

static void fork_and_use(void)
{
    pid_t child = fork();

    (void)alarm(HANGS_S / 2);
    bw_free(filled(100));
    if (child == 0) {
        _exit(EXIT_SUCCESS);
    }
    assert_child_succeeds(child);
}

static void a_fork_after_any_instruction_of_who_enters_and_leaves_ends(void **state)
{
    const struct sigaction action = {.sa_sigaction = fork_here, .sa_flags = SA_SIGINFO};
    bool entered;

    (void)state;
    bw_free(bw_malloc(100));
    assert_int_equal(sigaction(SIGTRAP, &action, NULL), 0);
    set_trap_flag();
    entered = gate_enter(NULL);
    if (entered) {
        gate_leave(NULL);
    }
    steps.has_come = true;
    /* The child's gate is closed until somebody enters. */
    fork_and_use();
    assert_true(gate_enter(NULL));
    gate_leave(NULL);
    gate_check();
    fork_and_use();
    if (steps.is_child) {
        _exit(EXIT_SUCCESS);
    }
    assert_true(entered);
    assert_true(steps.forks > 0);
    heap_check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(a_fork_after_any_instruction_of_who_enters_and_leaves_ends),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
