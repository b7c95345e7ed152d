#include "bliss/training/gpu_images.hpp"

#include "bliss/core/check.hpp"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/torch.h>

namespace bliss::training {

tile::PixelBlock make_on_gpu(std::span<const simulator::ImagePlan> plans, const simulator::SampleRange& range, std::int64_t side,
                             c10::Device device) {
    const c10::impl::VirtualGuardImpl cuda{device.type()};
    BLISS_EXPECT(device.index() == simulator::gpu() && cuda.getStreamNativeHandle(cuda.getStream(device)) == nullptr,
                 "Kokkos' GPU, and the stream that waits for Kokkos'");
    const simulator::PackedPlans packed{plans};
    auto* const bytes = const_cast<std::byte*>(packed.bytes().data());  // only copied from
    const at::Tensor there = torch::from_blob(bytes, {std::ssize(packed.bytes())}, torch::kUInt8).to(device);
    const auto options = torch::TensorOptions().device(device);
    const std::int64_t images = std::ssize(plans);
    tile::PixelBlock out{torch::empty({images, side, side}, options), {}, torch::empty({images, side, side}, options.dtype(torch::kUInt8))};
    simulator::make_images(packed, static_cast<const std::byte*>(there.data_ptr()), range,
                           {{out.electrons.data_ptr<float>(), images, side, side}, out.valid.data_ptr<std::uint8_t>()});
    return out;
}

}  // namespace bliss::training
