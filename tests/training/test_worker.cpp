#include "worker.hpp"

#include <catch2/catch_test_macros.hpp>
#include <omp.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

using bliss::training::Worker;

TEST_CASE("a worker does one piece of work after the other, on a thread with threads of its own") {
    Worker worker{3};
    std::thread::id thread;
    int threads = 0;
    worker.begin([&] {
        thread = std::this_thread::get_id();
        threads = omp_get_max_threads();
    }).get();
    CHECK(thread != std::this_thread::get_id());
    CHECK(threads == 3);
    std::thread::id again;
    worker.begin([&] { again = std::this_thread::get_id(); }).get();
    CHECK(again == thread);
}

TEST_CASE("what its work throws is thrown to whoever waits, and it goes on") {
    Worker worker{1};
    auto done = worker.begin([] { throw std::runtime_error("no"); });
    CHECK_THROWS_AS(done.get(), std::runtime_error);
    bool worked = false;
    worker.begin([&] { worked = true; }).get();
    CHECK(worked);
}

TEST_CASE("its end waits for work that nobody waited for") {
    std::atomic<bool> worked = false;
    {
        Worker worker{1};
        (void)worker.begin([&] {
            std::this_thread::sleep_for(std::chrono::milliseconds{50});
            worked = true;
        });
    }
    CHECK(worked);
}
