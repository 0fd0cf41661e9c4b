/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test_gate.c - who closes the gate waits for those inside, and nobody else gets in: linked with
 * --wrap=os_sleep_us, which counts for how long. */
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gate.h"
#include "lock.h"

enum { THREADS = 4, ROUNDS = 3000, CLOSINGS = 300 };

/* More than anybody has patience for. */
enum { PAUSES_MANY = 400 };

static _Atomic unsigned pauses;

/* --wrap gives them these names. */
void __real_os_sleep_us(unsigned microseconds);
void __wrap_os_sleep_us(unsigned microseconds);

void __wrap_os_sleep_us(unsigned microseconds)
{
    atomic_fetch_add(&pauses, 1);
    __real_os_sleep_us(microseconds);
}

static void an_open_gate_lets_in_with_and_without_a_slot(void **state)
{
    static struct gate_slot slot;

    (void)state;
    gate_register(&slot);
    assert_true(gate_enter(&slot));
    assert_int_equal(slot.inside, 1);
    assert_true(gate_enter(NULL));
    gate_leave(NULL);
    gate_leave(&slot);
    assert_int_equal(slot.inside, 0);
    gate_close(NULL);
    gate_open();
    assert_true(gate_is_open());
}

static void a_closed_gate_refuses_and_leaves_the_caller_outside(void **state)
{
    static struct gate_slot slot;

    (void)state;
    gate_register(&slot);
    gate_close(NULL);
    assert_false(gate_enter(&slot));
    assert_false(gate_enter(NULL));
    assert_int_equal(slot.inside, 0);
    /* Were one of them still inside, this would wait for ever. */
    gate_close(NULL);
    gate_open();
    gate_open();
    assert_true(gate_is_open());
    assert_true(gate_enter(&slot));
    gate_leave(&slot);
}

static void the_gate_opens_when_the_last_who_closed_it_opens_it(void **state)
{
    (void)state;
    gate_close(NULL);
    gate_close(NULL);
    gate_close(NULL);
    gate_open();
    assert_false(gate_is_open());
    assert_false(gate_enter(NULL));
    gate_open();
    assert_false(gate_is_open());
    assert_false(gate_enter(NULL));
    gate_open();
    assert_true(gate_is_open());
    assert_true(gate_enter(NULL));
    gate_leave(NULL);
}

static void *close_and_open(void *closed)
{
    gate_close(NULL);
    atomic_store((_Atomic bool *)closed, true);
    gate_open();
    return NULL;
}

/* A thread that closes the gate does not get further while `slot` is inside. */
static void assert_closing_waits_for(struct gate_slot *slot)
{
    _Atomic bool closed = false;
    pthread_t closer;

    assert_true(gate_enter(slot));
    assert_int_equal(pthread_create(&closer, NULL, close_and_open, &closed), 0);
    /* The closer has come once the gate refuses; then it has every chance to go on too early. */
    while (gate_enter(NULL)) {
        gate_leave(NULL);
        (void)sched_yield();
    }
    for (int i = 0; i < 1000; i++) {
        (void)sched_yield();
        assert_false(atomic_load(&closed));
    }
    gate_leave(slot);
    assert_int_equal(pthread_join(closer, NULL), 0);
    assert_true(closed);
}

static void closing_waits_for_a_thread_inside_with_a_slot(void **state)
{
    static struct gate_slot slots[3];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(slots); i++) {
        gate_register(&slots[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(slots); i++) {
        assert_closing_waits_for(&slots[i]);
    }
}

static void closing_waits_for_a_thread_inside_without_a_slot(void **state)
{
    (void)state;
    assert_closing_waits_for(NULL);
}

static void *enter_patiently(void *entered)
{
    /* On a busy machine the gate may stay closed for longer than patience lasts. */
    while (!gate_enter_patiently(NULL)) {
    }
    atomic_store((_Atomic bool *)entered, true);
    gate_leave(NULL);
    return NULL;
}

static void who_is_patient_gets_in_once_the_gate_opens(void **state)
{
    _Atomic bool entered = false;
    pthread_t thread;

    (void)state;
    gate_close(NULL);
    assert_int_equal(pthread_create(&thread, NULL, enter_patiently, &entered), 0);
    for (int i = 0; i < 100; i++) {
        (void)sched_yield();
    }
    assert_false(entered);
    gate_open();
    assert_true(gate_is_open());
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(entered);
}

static void patience_ends(void **state)
{
    static struct gate_slot slot;

    (void)state;
    gate_register(&slot);
    gate_close(&slot);
    assert_false(gate_enter_patiently(&slot));
    atomic_store(&pauses, 0);
    assert_false(gate_enter_patiently(NULL));
    assert_in_range(pauses, 1, PAUSES_MANY - 1);
    gate_open();
    assert_true(gate_is_open());
}

static void who_closes_the_gate_does_not_wait_for_itself(void **state)
{
    static struct gate_slot slot;

    (void)state;
    gate_register(&slot);
    assert_false(gate_has_caller(&slot));
    assert_true(gate_enter(&slot));
    assert_true(gate_has_caller(&slot));
    assert_false(gate_has_caller(NULL));
    gate_close(&slot);
    /* As in a handler: the gate is closed for it, and it stays inside. */
    assert_false(gate_enter(&slot));
    assert_true(gate_has_caller(&slot));
    gate_open();
    assert_true(gate_is_open());
    gate_leave(&slot);
    assert_true(gate_enter(NULL));
    assert_true(gate_has_caller(NULL));
    gate_close(&slot);
    gate_open();
    assert_true(gate_is_open());
    gate_leave(NULL);
    assert_false(gate_has_caller(&slot));
}

/* The gate of a child that was forked inside opens when the thread comes again from outside. */
static void assert_opens_when_left(struct gate_slot *slot, struct gate_slot *inside_with)
{
    assert_true(gate_enter(inside_with));
    gate_close(slot);
    gate_reset_in_child(slot);
    assert_false(gate_is_open());
    assert_false(gate_enter(slot));
    assert_false(gate_enter(NULL));
    assert_true(gate_has_caller(slot));
    gate_leave(inside_with);
    assert_false(gate_is_open());
    assert_true(gate_enter(slot));
    assert_true(gate_is_open());
    gate_leave(slot);
    assert_true(gate_enter(NULL));
    gate_leave(NULL);
    /* Once: that of its own fork stays closed. */
    gate_close(slot);
    assert_false(gate_enter(slot));
    assert_false(gate_enter(NULL));
    gate_open();
    assert_true(gate_is_open());
    gate_check();
}

static void the_gate_of_a_child_forked_inside_opens_when_it_is_left(void **state)
{
    static struct gate_slot slot;

    (void)state;
    gate_register(&slot);
    assert_opens_when_left(&slot, &slot);
    assert_opens_when_left(&slot, NULL);
    assert_opens_when_left(NULL, NULL);
}

/* A handler of a fork that forks: its child is in the outer fork still. */
static void the_child_of_a_fork_in_a_fork_opens_the_gate_after_both(void **state)
{
    (void)state;
    gate_close(NULL);
    gate_close(NULL);
    gate_reset_in_child(NULL);
    assert_false(gate_is_open());
    assert_false(gate_enter(NULL));
    gate_open();
    assert_true(gate_is_open());
    gate_check();
    /* Or the outer one has a child too. */
    gate_close(NULL);
    gate_close(NULL);
    gate_reset_in_child(NULL);
    gate_reset_in_child(NULL);
    gate_check();
}

static _Atomic bool is_inside;
static struct lock held = LOCK_INITIALIZER(LOCK_RANK_BIN);

static void wait_for_held(void *unused)
{
    (void)unused;
    lock_wait(&held);
}

/* Who is inside itself may be what others wait for in there, if it has a lock. */
static void who_is_inside_with_a_lock_does_not_wait_for_ever_for_others(void **state)
{
    static struct gate_slot own;
    static struct gate_slot other;

    (void)state;
    gate_register(&own);
    gate_register(&other);
    assert_true(gate_enter(&other));
    assert_true(gate_enter(&own));
    lock_acquire(&held);
    gate_close(&own);
    gate_open();
    assert_true(gate_is_open());
    gate_close(&own);
    gate_reset_in_child(&own);
    gate_leave(&own);
    /* The other may have left anything behind in the child, locks as well. */
    assert_dies(wait_for_held, NULL,
                "fork in a signal handler left a lock without the thread that holds it");
    assert_false(gate_enter(&own));
    assert_false(gate_enter(NULL));
    assert_false(gate_is_open());
}

/* How often the thread gave its processor up by itself. */
static long sleeps(void)
{
    struct rusage usage;

    assert_int_equal(getrusage(RUSAGE_THREAD, &usage), 0);
    return usage.ru_nvcsw;
}

static void *is_refused_and_sleeps(void *slot)
{
    while (gate_is_open()) {
        (void)sched_yield();
    }
    long before = sleeps();

    /* Who closes the gate is about to wait, or waits. */
    while (sleeps() == before) {
        assert_false(gate_enter((struct gate_slot *)slot));
    }
    return NULL;
}

/* The one who is inside may be of lower priority: it has to get on. */
static void who_is_refused_makes_way_while_others_are_waited_for(void **state)
{
    static struct gate_slot own;
    static struct gate_slot other;
    _Atomic bool closed = false;
    pthread_t closing;
    pthread_t refused;

    (void)state;
    gate_register(&own);
    gate_register(&other);
    assert_true(gate_enter(&own));
    assert_int_equal(pthread_create(&refused, NULL, is_refused_and_sleeps, &other), 0);
    assert_int_equal(pthread_create(&closing, NULL, close_and_open, &closed), 0);
    assert_int_equal(pthread_join(refused, NULL), 0);
    gate_leave(&own);
    assert_int_equal(pthread_join(closing, NULL), 0);
    assert_true(gate_is_open());
    /* With nobody inside, nobody is waited for. */
    gate_close(NULL);
    long before = sleeps();

    for (int i = 0; i < ROUNDS; i++) {
        assert_false(gate_enter(&other));
    }
    assert_int_equal(sleeps(), before);
    gate_open();
}

static void *leave_late(void *slot)
{
    assert_true(gate_enter((struct gate_slot *)slot));
    atomic_store(&pauses, 0);
    atomic_store(&is_inside, true);
    while (atomic_load(&pauses) < PAUSES_MANY) {
        (void)sched_yield();
    }
    atomic_store(&is_inside, false);
    gate_leave((struct gate_slot *)slot);
    return NULL;
}

static void *close_inside(void *slot)
{
    assert_true(gate_enter((struct gate_slot *)slot));
    atomic_store(&is_inside, true);
    gate_close((struct gate_slot *)slot);
    gate_open();
    gate_leave((struct gate_slot *)slot);
    return NULL;
}

static struct gate_slot interrupted;
static pthread_t interrupted_thread;
static _Atomic bool has_forked;

static void fork_in_handler(int signal)
{
    (void)signal;
    lock_acquire(&held);
    gate_close(&interrupted);
    gate_open();
    lock_release(&held);
    atomic_store(&has_forked, true);
}

/* Has who waits for it fork in a handler meanwhile. */
static void *leave_after_fork(void *slot)
{
    assert_true(gate_enter((struct gate_slot *)slot));
    atomic_store(&pauses, 0);
    atomic_store(&is_inside, true);
    while (atomic_load(&pauses) == 0) {
        (void)sched_yield();
    }
    assert_int_equal(pthread_kill(interrupted_thread, SIGALRM), 0);
    while (!atomic_load(&has_forked)) {
        (void)sched_yield();
    }
    atomic_store(&is_inside, false);
    gate_leave((struct gate_slot *)slot);
    return NULL;
}

/* A handler that forks has interrupted another one's wait, and loses patience: not so the other. */
static void a_fork_in_the_midst_of_one_says_nothing_of_the_outer_one(void **state)
{
    static struct gate_slot other;
    const struct sigaction action = {.sa_handler = fork_in_handler};
    pthread_t thread;

    (void)state;
    gate_register(&interrupted);
    gate_register(&other);
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_true(gate_enter(&interrupted));
    interrupted_thread = pthread_self();
    assert_int_equal(pthread_create(&thread, NULL, leave_after_fork, &other), 0);
    while (!is_inside) {
        (void)sched_yield();
    }
    gate_close(&interrupted);
    assert_false(is_inside);
    assert_int_equal(pthread_join(thread, NULL), 0);
    gate_reset_in_child(&interrupted);
    gate_leave(&interrupted);
    assert_true(gate_enter(&interrupted));
    gate_leave(&interrupted);
    gate_check();
}

/* Close the gate inside, while another thread is as well. */
static void close_beside(void *(*act)(void *slot), bool waits)
{
    static struct gate_slot own;
    static struct gate_slot other;
    pthread_t thread;

    gate_register(&own);
    gate_register(&other);
    assert_true(gate_enter(&own));
    assert_int_equal(pthread_create(&thread, NULL, act, &other), 0);
    while (!is_inside) {
        (void)sched_yield();
    }
    gate_close(&own);
    assert_true(!waits || !is_inside);
    gate_open();
    gate_leave(&own);
    assert_int_equal(pthread_join(thread, NULL), 0);
    gate_check();
}

static void who_is_inside_without_a_lock_waits_for_others(void **state)
{
    (void)state;
    close_beside(leave_late, true);
}

static void two_who_close_the_gate_inside_do_not_wait_for_each_other(void **state)
{
    (void)state;
    close_beside(close_inside, false);
}

static void a_child_starts_with_an_open_gate_and_nobody_inside(void **state)
{
    static struct gate_slot own;
    static struct gate_slot of_a_dead_thread;

    (void)state;
    gate_register(&own);
    gate_register(&of_a_dead_thread);
    assert_true(gate_enter(&of_a_dead_thread));
    gate_reset_in_child(&own);
    assert_int_equal(own.inside, 0);
    assert_null(own.next);
    assert_true(gate_enter(&own));
    gate_leave(&own);
    /* Does not wait for the dead. */
    gate_close(NULL);
    gate_open();
    assert_true(gate_is_open());
    gate_reset_in_child(NULL);
    own.inside = 1;
    gate_close(NULL);
    gate_open();
    assert_true(gate_is_open());
}

/* After a fault, whatever the thread was in the middle of. */
static void a_gate_closed_for_good_lets_nobody_in_and_waits_for_nobody(void **state)
{
    static struct gate_slot own;
    static struct gate_slot of_another;

    (void)state;
    gate_register(&own);
    gate_register(&of_another);
    assert_true(gate_enter(&own));
    assert_true(gate_enter(&of_another));
    gate_close_for_good();
    gate_leave(&own);
    assert_false(gate_enter(&own));
    assert_false(gate_enter(NULL));
    assert_false(gate_is_open());
    /* As a fork does, by a thread without a slot. */
    gate_close(NULL);
    gate_open();
    assert_false(gate_is_open());
    gate_reset_in_child(NULL);
    assert_false(gate_enter(NULL));
    assert_false(gate_is_open());
}

static void *close_for_a_fork(void *unused)
{
    gate_close(NULL);
    return unused;
}

/* A thread that forks while another finds a fault: it may not wait for that one's handlers. */
static void who_waits_for_others_is_let_go_when_the_gate_closes_for_good(void **state)
{
    static struct gate_slot own;
    pthread_t closer;

    (void)state;
    gate_register(&own);
    assert_true(gate_enter(&own));
    assert_int_equal(pthread_create(&closer, NULL, close_for_a_fork, NULL), 0);
    while (gate_is_open()) {
        (void)sched_yield();
    }
    gate_close_for_good();
    assert_int_equal(pthread_join(closer, NULL), 0);
}

/* Threads */

struct guarded {
    uint64_t value; /* deliberately not atomic: only written inside, or with the gate closed */
    _Atomic unsigned next;
    _Atomic uint64_t inside_while_closed;
    _Atomic uint64_t refused;
    _Atomic bool closed;
};

static void *come_and_go(struct guarded *guarded, struct gate_slot *slot)
{
    for (int round = 0; round < ROUNDS; round++) {
        if (!gate_enter(slot)) {
            atomic_fetch_add(&guarded->refused, 1);
            (void)sched_yield();
            continue;
        }
        if (atomic_load(&guarded->closed)) {
            atomic_fetch_add(&guarded->inside_while_closed, 1);
        }
        gate_leave(slot);
    }
    return NULL;
}

static void *close_again_and_again(struct guarded *guarded)
{
    for (int closing = 0; closing < CLOSINGS; closing++) {
        gate_close(NULL);
        atomic_store(&guarded->closed, true);
        guarded->value++;
        (void)sched_yield();
        atomic_store(&guarded->closed, false);
        gate_open();
        (void)sched_yield();
    }
    return NULL;
}

static void *come_go_or_close(void *argument)
{
    static struct gate_slot slots[THREADS];
    struct guarded *guarded = (struct guarded *)argument;
    unsigned self = atomic_fetch_add(&guarded->next, 1);

    if (self == 0) {
        return close_again_and_again(guarded);
    }
    if (self == 1) {
        return come_and_go(guarded, NULL);
    }
    gate_register(&slots[self]);
    return come_and_go(guarded, &slots[self]);
}

static void nobody_is_inside_while_the_gate_is_closed(void **state)
{
    static struct guarded guarded;

    (void)state;
    run_threads(THREADS, come_go_or_close, &guarded);
    assert_int_equal(guarded.inside_while_closed, 0);
    assert_int_equal(guarded.value, CLOSINGS);
}

static void check(void *unused)
{
    (void)unused;
    gate_check();
}

static void the_check_sees_who_is_inside_and_a_closed_gate(void **state)
{
    static const char fault[] = "gate: closed, or somebody inside, where all should be at rest";
    static struct gate_slot slot;

    (void)state;
    gate_register(&slot);
    gate_check();
    assert_true(gate_enter(&slot));
    assert_dies(check, NULL, fault);
    gate_leave(&slot);
    assert_true(gate_enter(NULL));
    assert_dies(check, NULL, fault);
    gate_leave(NULL);
    gate_close(NULL);
    assert_dies(check, NULL, fault);
    gate_open();
    assert_true(gate_is_open());
    gate_check();
}

int main(void)
{
    static const struct isolated_test tests[] = {
        ISOLATED(an_open_gate_lets_in_with_and_without_a_slot),
        ISOLATED(a_closed_gate_refuses_and_leaves_the_caller_outside),
        ISOLATED(the_gate_opens_when_the_last_who_closed_it_opens_it),
        ISOLATED(closing_waits_for_a_thread_inside_with_a_slot),
        ISOLATED(closing_waits_for_a_thread_inside_without_a_slot),
        ISOLATED(who_is_patient_gets_in_once_the_gate_opens),
        ISOLATED(patience_ends),
        ISOLATED(who_closes_the_gate_does_not_wait_for_itself),
        ISOLATED(the_gate_of_a_child_forked_inside_opens_when_it_is_left),
        ISOLATED(the_child_of_a_fork_in_a_fork_opens_the_gate_after_both),
        ISOLATED(who_is_refused_makes_way_while_others_are_waited_for),
        ISOLATED(a_fork_in_the_midst_of_one_says_nothing_of_the_outer_one),
        ISOLATED(who_is_inside_with_a_lock_does_not_wait_for_ever_for_others),
        ISOLATED(who_is_inside_without_a_lock_waits_for_others),
        ISOLATED(two_who_close_the_gate_inside_do_not_wait_for_each_other),
        ISOLATED(a_child_starts_with_an_open_gate_and_nobody_inside),
        ISOLATED(a_gate_closed_for_good_lets_nobody_in_and_waits_for_nobody),
        ISOLATED(who_waits_for_others_is_let_go_when_the_gate_closes_for_good),
        ISOLATED(nobody_is_inside_while_the_gate_is_closed),
        ISOLATED(the_check_sees_who_is_inside_and_a_closed_gate),
    };

    return run_isolated(tests, ARRAY_SIZE(tests));
}
