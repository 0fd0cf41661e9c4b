// SPDX-License-Identifier: LGPL-2.1-or-later
// cxx_program.cpp - threads, containers, exceptions, the forms of operator new and thread-local
// destructors, with output that does not depend on the run.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <future>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <queue>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace
{

constexpr int THREADS = 8;
constexpr int ROUNDS = 3000;

struct alignas(64) wide {
    char bytes[192];
};

// Frees after the thread's other work is done.
struct at_thread_exit {
    std::vector<std::unique_ptr<std::string>> strings;
    ~at_thread_exit()
    {
        strings.emplace_back(new std::string(1000, 'z'));
        strings.clear();
    }
};
thread_local at_thread_exit late;

struct failure : std::runtime_error {
    std::vector<int> payload;
    explicit failure(int n) : std::runtime_error("failure " + std::to_string(n)), payload(100, n)
    {
    }
};

int throws_on_odd(int n)
{
    std::vector<std::string> locals(10, std::string(50, 'a'));
    if (n % 2 != 0) {
        throw failure(n);
    }
    return static_cast<int>(locals.size());
}

std::uint64_t containers(int seed)
{
    std::map<std::string, std::list<int>> tree;
    std::unordered_map<int, std::deque<std::string>> table;
    std::priority_queue<int> queue;
    for (int i = 0; i < ROUNDS; i++) {
        tree["key" + std::to_string(i * seed % 997)].push_back(i);
        table[i % 61].emplace_back(static_cast<std::size_t>(i % 301), 'q');
        queue.push(i * 7919 % 10007);
        if (i % 5 == 0) {
            table[i % 61].pop_front();
        }
    }
    std::uint64_t sum = static_cast<std::uint64_t>(queue.top());
    for (auto &[key, values] : tree) {
        sum = sum * 31 + key.size() + std::accumulate(values.begin(), values.end(), 0U);
    }
    for (int i = 0; i < 61; i++) {
        for (auto &text : table[i]) {
            sum = sum * 33 + text.size();
        }
    }
    return sum;
}

std::uint64_t exceptions(int seed)
{
    std::uint64_t sum = 0;
    for (int i = 0; i < ROUNDS / 10; i++) {
        try {
            sum += static_cast<std::uint64_t>(throws_on_odd(i + seed));
        } catch (const failure &caught) {
            sum += caught.payload.size() + std::string(caught.what()).size();
        }
    }
    return sum;
}

std::uint64_t work(int seed)
{
    late.strings.emplace_back(new std::string(500, 'y'));
    std::vector<std::unique_ptr<wide>> wides;
    for (int i = 0; i < 200; i++) {
        wides.emplace_back(new wide);
        if (reinterpret_cast<std::uintptr_t>(wides.back().get()) % alignof(wide) != 0) {
            throw std::logic_error("misaligned");
        }
    }
    return containers(seed) ^ exceptions(seed);
}

const char *refusal_of_a_huge_size()
{
    volatile std::size_t size = std::numeric_limits<std::size_t>::max() / 2;
    std::unique_ptr<char[]> none(new (std::nothrow) char[size]);
    if (none) {
        return "nothrow new succeeded";
    }
    try {
        std::unique_ptr<char[]> some(new char[size]);
    } catch (const std::bad_alloc &) {
        return "bad_alloc";
    }
    return "new succeeded";
}

// Blocks allocated by one thread and freed by another.
std::size_t handed_over()
{
    std::mutex mutex;
    std::vector<std::shared_ptr<std::string>> shared;
    std::vector<std::thread> makers;
    for (int t = 0; t < THREADS; t++) {
        makers.emplace_back([&, t] {
            for (int i = 0; i < ROUNDS; i++) {
                auto made =
                    std::make_shared<std::string>(static_cast<std::size_t>(i % 700), 'a' + t);
                std::lock_guard<std::mutex> guard(mutex);
                shared.push_back(std::move(made));
            }
        });
    }
    for (auto &maker : makers) {
        maker.join();
    }
    std::size_t total = 0;
    std::for_each(shared.begin(), shared.end(), [&](auto &text) { total += text->size(); });
    return total;
}

} // namespace

int main()
{
    std::vector<std::future<std::uint64_t>> results;
    for (int t = 1; t <= THREADS; t++) {
        results.push_back(std::async(std::launch::async, work, t));
    }
    for (auto &result : results) {
        std::printf("%llu\n", static_cast<unsigned long long>(result.get()));
    }
    std::printf("%zu\n", handed_over());
    std::puts(refusal_of_a_huge_size());
    return 0;
}
