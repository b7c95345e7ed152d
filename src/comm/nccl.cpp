#include "bliss/comm/nccl.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/error.hpp"

#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <nccl.h>

#include <array>
#include <chrono>
#include <exception>
#include <thread>

namespace bliss::comm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds k_pause{20};
constexpr std::chrono::minutes k_patience{10};

void check(cudaError_t status, const char* what) {
    if (status != cudaSuccess) throw Error(fmt::format("{}: {}", what, cudaGetErrorString(status)));
}

void check(ncclResult_t status, const char* what) {
    if (status == ncclSuccess || status == ncclInProgress) return;
    throw Error(
        fmt::format("{}: {} ({}); gradient_sums = \"mpi\" does without NCCL", what, ncclGetErrorString(status), ncclGetLastError(nullptr)));
}

}  // namespace

struct NcclRanks::Handle {
    ncclComm_t ranks = nullptr;
    cudaStream_t stream = nullptr;  ///< of the sums
    cudaEvent_t asked = nullptr;    ///< what was asked of the other stream
    cudaEvent_t summed = nullptr;

    void abort() {
        if (ranks != nullptr) ncclCommAbort(ranks);
        ranks = nullptr;
    }

    /// Waits until `done()`, and looks for errors of other ranks meanwhile. @throws Error
    template <class Done>
    void wait_until(const Done& done, const char* what) {
        const auto start = Clock::now();
        for (;;) {
            ncclResult_t state = ncclSuccess;
            check(ncclCommGetAsyncError(ranks, &state), "ncclCommGetAsyncError");
            if (state == ncclSuccess && done()) return;
            const bool late = Clock::now() - start > k_patience;
            if (late || (state != ncclSuccess && state != ncclInProgress)) {
                abort();
                throw Error(fmt::format("{} over GPUs failed ({}); the last checkpoint is good", what,
                                        late ? "no progress for ten minutes" : ncclGetErrorString(state)));
            }
            std::this_thread::sleep_for(k_pause);
        }
    }

    ~Handle() {
        if (ranks != nullptr) ncclCommDestroy(ranks);
        if (summed != nullptr) cudaEventDestroy(summed);
        if (asked != nullptr) cudaEventDestroy(asked);
        if (stream != nullptr) cudaStreamDestroy(stream);
    }
};

bool NcclRanks::built() { return true; }

std::string NcclRanks::identity(int device) {
    std::array<char, 32> place{};
    check(cudaDeviceGetPCIBusId(place.data(), static_cast<int>(place.size()), device), "cudaDeviceGetPCIBusId");
    return place.data();
}

NcclRanks::NcclRanks(const Communicator& comm, int device) : handle_{std::make_unique<Handle>()} {
    ncclUniqueId id{};
    agree_on(comm, [&] {
        check(cudaSetDevice(device), "cudaSetDevice");
        check(cudaStreamCreateWithFlags(&handle_->stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
        check(cudaEventCreateWithFlags(&handle_->asked, cudaEventDisableTiming), "cudaEventCreateWithFlags");
        check(cudaEventCreateWithFlags(&handle_->summed, cudaEventDisableTiming), "cudaEventCreateWithFlags");
        if (comm.rank() == 0) check(ncclGetUniqueId(&id), "ncclGetUniqueId");
    });
    comm.broadcast(id);
    try {
        agree_on(comm, [&] {  // does not block: a rank that fails keeps nobody waiting for longer than the patience
            ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
            config.blocking = 0;
            check(ncclCommInitRankConfig(&handle_->ranks, comm.size(), id, comm.rank(), &config), "ncclCommInitRankConfig");
            handle_->wait_until([] { return true; }, "the meeting");
        });
    } catch (...) {
        handle_->abort();
        throw;
    }
}

NcclRanks::~NcclRanks() {
    if (std::uncaught_exceptions() > 0) handle_->abort();  // others may not come
}

void NcclRanks::begin_sum(std::int64_t* values, std::size_t count, void* stream) {
    check(cudaEventRecord(handle_->asked, static_cast<cudaStream_t>(stream)), "cudaEventRecord");
    check(cudaStreamWaitEvent(handle_->stream, handle_->asked, 0), "cudaStreamWaitEvent");
    check(ncclAllReduce(values, values, count, ncclInt64, ncclSum, handle_->ranks, handle_->stream), "ncclAllReduce");
    handle_->wait_until([] { return true; }, "the sum of gradients");  // until it has been asked of the GPU
    check(cudaEventRecord(handle_->summed, handle_->stream), "cudaEventRecord");
}

double NcclRanks::wait() {
    const auto start = Clock::now();
    const auto summed = [&] {
        const cudaError_t status = cudaEventQuery(handle_->summed);
        if (status != cudaErrorNotReady) check(status, "cudaEventQuery");
        return status == cudaSuccess;
    };
    handle_->wait_until(summed, "the sum of gradients");
    return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace bliss::comm
