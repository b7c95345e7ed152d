#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/training/config.hpp"
#include "gradient_sums.hpp"

#include <memory>

namespace bliss::training {

/// A sum over ranks that goes on while this rank computes.
class PendingGradients {
public:
    virtual ~PendingGradients() = default;

    /// Waits for it. @return seconds waited @throws MpiError, Error
    virtual double wait() = 0;
    /// From the beginning to the end, to be asked after `wait`; as long as waited where nobody looked before, seconds.
    [[nodiscard]] virtual double took_s() const = 0;
};

/// What adds up gradients over the ranks of a training.
class SumEngine {
public:
    virtual ~SumEngine() = default;

    /// Begins; the sums belong to it until its end was waited for. All ranks begin in the same order. @collective
    [[nodiscard]] virtual std::unique_ptr<PendingGradients> begin(GradientSums& sums) = 0;
};

/// Whether gradients are added up by NCCL, else by MPI. @throws ConfigError on all ranks where NCCL is asked for and not to be had: without
/// GPUs, in a program built without it, for several ranks on one GPU. @collective
[[nodiscard]] bool sums_by_nccl(Summing asked, c10::Device device, const comm::Communicator& comm);

/// @param comm must outlive it @throws ConfigError, Error on all ranks. @collective
[[nodiscard]] std::unique_ptr<SumEngine> make_sum_engine(Summing asked, c10::Device device, const comm::Communicator& comm);

}  // namespace bliss::training
