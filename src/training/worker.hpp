#pragma once

#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

namespace bliss::training {

/// One thread that does a piece of work while its owner goes on, with OpenMP threads of its own.
class Worker {
public:
    /// @param threads that parallel regions of its work may use
    explicit Worker(int threads);
    /// Waits for the work that was begun.
    ~Worker();

    /// Begins; what was begun before must have been waited for. @return to be waited for; throws what the work threw
    [[nodiscard]] std::future<void> begin(std::function<void()> work);

private:
    void run(int threads);

    std::mutex mutex_;
    std::condition_variable changed_;
    std::packaged_task<void()> task_;
    bool ended_ = false;
    std::thread thread_;  ///< last: it uses the others
};

}  // namespace bliss::training
