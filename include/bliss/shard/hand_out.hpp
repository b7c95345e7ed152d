#pragma once

#include "bliss/comm/communicator.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace bliss::shard {

/// What a rank is to do next.
struct Work {
    std::int64_t index = 0;
    std::string text;  ///< what there is to know of it
};

/// What rank 0 knows of the whole run.
struct HandOutProgress {
    std::int64_t total = 0;
    std::int64_t handed_out = 0;
};

/// Rank 0 holds the list of what there is to do and hands it out piece by piece as ranks ask: a rank with a slow piece holds up no other.
/// On rank 0 a thread answers the others, so that its own work does not let them wait. Needs MPI_THREAD_MULTIPLE where there are several
/// ranks; the thread has a communicator of its own.
class HandOut {
public:
    /// Text of a piece of work; called on rank 0, from any thread but never from two at once.
    using Describe = std::function<std::string(std::int64_t index)>;

    /// @param todo on rank 0: indices, in the order in which they are handed out @param progress on rank 0: called after each that is
    /// handed out @throws Error on all ranks where rank 0 gets no thread @collective
    HandOut(const comm::Communicator& comm, std::vector<std::int64_t> todo, Describe describe,
            std::function<void(const HandOutProgress&)> progress = {});

    /// Waits, on rank 0, for every rank to have been told that there is no more; a rank that leaves earlier stops the run for all. Also
    /// while an exception unwinds: ranks that ask are answered, and no collective is called.
    ~HandOut();
    HandOut(const HandOut&) = delete;
    HandOut& operator=(const HandOut&) = delete;

    /// The next piece for this rank, nothing when there is no more or the run is to stop; then not to be called again. From one thread at a
    /// time. @throws MpiError
    [[nodiscard]] std::optional<Work> next();

    /// Nothing more is handed out to any rank from the time that rank 0 hears of it: at the next call of `next` by this rank.
    void stop() { stopping_ = true; }

private:
    [[nodiscard]] std::optional<Work> take();
    void serve();

    comm::Communicator comm_;
    std::mutex mutex_;  ///< of the list
    std::vector<std::int64_t> todo_;
    Describe describe_;
    std::function<void(const HandOutProgress&)> progress_;
    std::size_t next_ = 0;
    bool stopped_ = false;  ///< on rank 0: a rank asked for it
    std::atomic<bool> stopping_ = false;
    bool told_ = false;  ///< that there is no more
    std::thread server_;
};

}  // namespace bliss::shard
