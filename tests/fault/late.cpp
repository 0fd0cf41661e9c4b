/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* late.cpp - fault: C++ destructors that free and allocate when the thread's cache, or all of the
 * program but the allocator, is gone.
 *
 * thread_local objects of 2,000 threads, and a static object with a thread that still runs. The
 * heap must be the same size after the last thread as after the first hundred.
 */
#include <malloc.h>
#include <pthread.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace
{

constexpr int threads = 2000;
constexpr int warm_up = 1000;

struct holder {
    std::vector<std::string> strings;

    ~holder()
    {
        std::vector<std::string> copy = strings;

        strings.clear();
        copy.emplace_back(100000, 'z');
        if (copy.back().size() != 100000) {
            abort();
        }
    }
};

thread_local holder of_thread;
holder of_process;

void live()
{
    for (int i = 0; i < 50; i++) {
        of_thread.strings.emplace_back(static_cast<std::size_t>(i) * 37, 'x');
    }
}

std::size_t heap_bytes()
{
    struct mallinfo2 info = mallinfo2();

    return info.arena + info.hblkhd + info.uordblks;
}

} // namespace

int main()
{
    std::size_t heap = 0;

    for (int i = 0; i < threads; i++) {
        std::thread(live).join();
        if (i == warm_up) {
            heap = heap_bytes();
        }
    }
    if (heap_bytes() > heap) {
        std::fprintf(stderr, "late: FAILED: the heap went from %zu to %zu bytes\n", heap,
                     heap_bytes());
        return EXIT_FAILURE;
    }
    of_process.strings.assign(100, std::string(1000, 'y'));
    std::thread([] {
        for (;;) {
            live();
            of_thread.strings.clear();
        }
    }).detach();
    return EXIT_SUCCESS;
}
