#include "bliss/encoder/device.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/error.hpp"

#include <spdlog/spdlog.h>
#include <torch/torch.h>

#ifdef BLISS_LIBTORCH_CUDA
// LibTorch's CUDA part makes itself known when it is loaded: a symbol of it that is used keeps the linker from leaving it out.
namespace at::cuda {
int warp_size();
}
[[gnu::used]] static int (*const of_cuda_part)() = &at::cuda::warp_size;
#endif

namespace bliss::encoder {

void describe_device(ConfigVisitor& visitor, DeviceChoice& device) {
    visitor.choice("device", device, "where the networks compute; auto: on GPUs where every rank sees one, else on cores",
                   {Choice<DeviceChoice>{"auto", DeviceChoice::automatic}, Choice<DeviceChoice>{"cpu", DeviceChoice::cpu},
                    Choice<DeviceChoice>{"cuda", DeviceChoice::cuda}});
}

c10::Device choose_device(DeviceChoice asked, const comm::Communicator& comm) {
    if (asked == DeviceChoice::cpu) return torch::kCPU;
    const auto seen = static_cast<std::int64_t>(torch::cuda::is_available() ? torch::cuda::device_count() : 0);
    comm::agree_on(comm, [&] {
        if (asked != DeviceChoice::cuda || seen > 0) return;
        throw ConfigError(
            "device = \"cuda\": no GPU is seen; it takes a LibTorch with CUDA (tools/bootstrap.sh --cuda), a driver and, in a job, a GPU "
            "that was asked for; or use device = \"auto\"");
    });
    if (comm.all_reduce_min(seen) == 0) {
        if (comm.all_reduce_max(seen) > 0) spdlog::warn("some ranks see a GPU and others none: all compute on cores");
        return torch::kCPU;
    }
    // The same sums in the same order every time, in the precision that is said.
    at::globalContext().setDeterministicCuDNN(true);
    at::globalContext().setBenchmarkCuDNN(false);
    at::globalContext().setAllowTF32CuDNN(false);
    at::globalContext().setAllowTF32CuBLAS(false);
    const c10::Device device{torch::kCUDA, static_cast<c10::DeviceIndex>(comm.node().rank() % seen)};
    // LibTorch loads its linear algebra at the first call, and fails where two threads come first.
    (void)torch::linalg_solve_triangular(torch::eye(2, device), torch::ones({2, 1}, device), true);
    return device;
}

}  // namespace bliss::encoder
