#include "worker.hpp"

#include "bliss/core/check.hpp"

#include <ATen/Parallel.h>
#include <omp.h>

#include <utility>

namespace bliss::training {

Worker::Worker(int threads) : thread_{[this, threads] { run(threads); }} {}

Worker::~Worker() {
    {
        const std::lock_guard lock{mutex_};
        ended_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

std::future<void> Worker::begin(std::function<void()> work) {
    std::packaged_task<void()> task{std::move(work)};
    std::future<void> done = task.get_future();
    {
        const std::lock_guard lock{mutex_};
        BLISS_EXPECT(!task_.valid(), "one piece of work at a time");
        task_ = std::move(task);
    }
    changed_.notify_one();
    return done;
}

void Worker::run(int threads) {
    (void)at::get_num_threads();  // LibTorch sets a thread's number when it is first asked
    omp_set_num_threads(threads);
    std::unique_lock lock{mutex_};
    while (true) {
        changed_.wait(lock, [&] { return task_.valid() || ended_; });
        if (!task_.valid()) return;
        std::packaged_task<void()> task = std::exchange(task_, {});
        lock.unlock();
        task();
        lock.lock();
    }
}

}  // namespace bliss::training
