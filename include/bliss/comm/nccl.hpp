#pragma once

#include "bliss/comm/communicator.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace bliss::comm {

/// The ranks of a communicator with a GPU each, for sums of numbers in the memory of the GPUs (NCCL). The id of their meeting is made by
/// rank 0 and travels over MPI.
class NcclRanks {
public:
    /// Whether this program was built with NCCL.
    [[nodiscard]] static bool built();

    /// What tells a GPU from the others of its machine (its place on the bus); empty where the program was built without NCCL. @throws
    /// Error
    [[nodiscard]] static std::string identity(int device);

    /// @param device this rank's GPU, by CUDA's number @throws ConfigError where the program was built without NCCL, Error @collective
    NcclRanks(const Communicator& comm, int device);
    ~NcclRanks();
    NcclRanks(const NcclRanks&) = delete;
    NcclRanks& operator=(const NcclRanks&) = delete;

    /// Begins to replace integers in the GPU's memory by their sums over ranks, once the GPU has done what was asked of `stream` (a
    /// cudaStream_t) so far. It goes on beside what is asked of that stream next. @collective
    void begin_sum(std::int64_t* values, std::size_t count, void* stream);

    /// Waits for all sums begun. Where another rank fails, or none gets on for ten minutes, the meeting is broken up instead of waited for.
    /// @return seconds waited @throws Error
    double wait();

private:
    struct Handle;
    std::unique_ptr<Handle> handle_;
};

}  // namespace bliss::comm
