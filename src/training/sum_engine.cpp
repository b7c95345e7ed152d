#include "sum_engine.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/comm/nccl.hpp"
#include "bliss/comm/pending_sum.hpp"
#include "bliss/core/error.hpp"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace bliss::training {
namespace {

/// On the host; integers of a GPU go there and back.
class ByMpi : public SumEngine {
public:
    explicit ByMpi(const comm::Communicator& comm) : comm_{comm} {}

    std::unique_ptr<PendingGradients> begin(GradientSums& sums) override { return std::make_unique<Pending>(sums, comm_); }

private:
    class Pending : public PendingGradients {
    public:
        Pending(GradientSums& sums, const comm::Communicator& comm)
            : device_{comm.size() > 1 ? sums.on_device() : at::Tensor{}},
              host_{device_.defined() ? device_.cpu() : at::Tensor{}},
              sum_{comm, integers(sums)} {}

        double wait() override {
            const double waited = sum_.wait();
            if (device_.defined()) device_.copy_(host_);
            return waited;
        }
        [[nodiscard]] double took_s() const override { return sum_.took_s(); }

    private:
        std::span<std::int64_t> integers(GradientSums& sums) const {
            if (sums.on_device().defined() && !host_.defined()) return {};  // one rank
            if (!host_.defined()) return sums.on_host();
            return {host_.data_ptr<std::int64_t>(), static_cast<std::size_t>(host_.numel())};
        }

        at::Tensor device_, host_;
        comm::PendingSum sum_;
    };

    const comm::Communicator& comm_;
};

/// On the GPUs.
class ByNccl : public SumEngine {
public:
    ByNccl(const comm::Communicator& comm, c10::Device device) : device_{device}, ranks_{comm, device.index()} {}

    std::unique_ptr<PendingGradients> begin(GradientSums& sums) override {
        const at::Tensor integers = sums.on_device();
        const c10::impl::VirtualGuardImpl cuda{device_.type()};
        ranks_.begin_sum(integers.data_ptr<std::int64_t>(), static_cast<std::size_t>(integers.numel()),
                         cuda.getStreamNativeHandle(cuda.getStream(device_)));
        return std::make_unique<Pending>(ranks_);
    }

private:
    class Pending : public PendingGradients {
    public:
        explicit Pending(comm::NcclRanks& ranks) : ranks_{ranks} {}

        double wait() override { return took_s_ = ranks_.wait(); }
        [[nodiscard]] double took_s() const override { return took_s_; }

    private:
        comm::NcclRanks& ranks_;
        double took_s_ = 0;
    };

    c10::Device device_;
    comm::NcclRanks ranks_;
};

/// Whether no two ranks of a machine share a GPU, which NCCL refuses. @collective
bool have_gpus_apart(c10::Device device, const comm::Communicator& comm) {
    std::array<char, 32> mine{};
    comm::agree_on(comm, [&] {
        if (!device.is_cuda()) return;
        const std::string identity = comm::NcclRanks::identity(device.index());
        std::copy_n(identity.begin(), std::min(identity.size(), mine.size()), mine.begin());
    });
    std::vector<std::array<char, 32>> all = comm.node().all_gather(mine);
    std::ranges::sort(all);
    return comm.all_reduce_min(std::int64_t{std::ranges::adjacent_find(all) == all.end()}) == 1;
}

}  // namespace

bool sums_by_nccl(Summing asked, c10::Device device, const comm::Communicator& comm) {
    const bool apart = have_gpus_apart(device, comm);
    comm::agree_on(comm, [&] {
        if (asked != Summing::nccl) return;
        if (!device.is_cuda()) throw ConfigError("gradient_sums = \"nccl\": the networks compute on cores; use \"mpi\" or \"auto\"");
        if (!comm::NcclRanks::built())
            throw ConfigError("gradient_sums = \"nccl\": this program was built without NCCL; use \"mpi\" or \"auto\"");
        if (!apart) throw ConfigError("gradient_sums = \"nccl\": several ranks share a GPU; use one rank a GPU, \"mpi\" or \"auto\"");
    });
    return asked == Summing::nccl || (asked == Summing::automatic && device.is_cuda() && comm::NcclRanks::built() && apart);
}

std::unique_ptr<SumEngine> make_sum_engine(Summing asked, c10::Device device, const comm::Communicator& comm) {
    if (sums_by_nccl(asked, device, comm)) return std::make_unique<ByNccl>(comm, device);
    return std::make_unique<ByMpi>(comm);
}

}  // namespace bliss::training
