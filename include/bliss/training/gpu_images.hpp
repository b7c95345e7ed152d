#pragma once

#include "bliss/simulator/image_plan.hpp"
#include "bliss/tile/features.hpp"

#include <c10/core/Device.h>

#include <span>

namespace bliss::training {

/// Makes the pixels of planned images on a GPU, the one that Kokkos runs on, in its memory; their background is left open. It comes back at
/// once, and what is asked of LibTorch's default stream after it waits for it. @param side of the images, pixels
[[nodiscard]] tile::PixelBlock make_on_gpu(std::span<const simulator::ImagePlan> plans, const simulator::SampleRange& range,
                                           std::int64_t side, c10::Device device);

}  // namespace bliss::training
