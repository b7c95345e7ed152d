#pragma once

#include "bliss/comm/communicator.hpp"

#include <cstdint>
#include <exception>
#include <span>
#include <thread>

namespace bliss::comm {

/// A sum over ranks that goes on while this rank computes. A thread of its own moves it forward, asleep most of the time, so that it takes
/// next to nothing of a core. Several on one communicator are to be begun in the same order on all ranks.
class PendingSum {
public:
    /// Begins; the values belong to the sum until `wait` returns. @collective
    PendingSum(const Communicator& comm, std::span<std::int64_t> values);
    /// Waits.
    ~PendingSum();
    PendingSum(const PendingSum&) = delete;
    PendingSum& operator=(const PendingSum&) = delete;

    /// Waits until each value is its sum over ranks. @return seconds waited @throws MpiError
    double wait();

    /// From the beginning until all ranks' values were there; to be asked after `wait`, seconds.
    [[nodiscard]] double took_s() const { return took_s_; }

private:
    std::exception_ptr failure_;
    double took_s_ = 0;
    std::thread thread_;
};

}  // namespace bliss::comm
