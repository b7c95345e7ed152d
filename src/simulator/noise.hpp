#pragma once

#include "bliss/core/random.hpp"

#include <Random123/philox.h>
#include <Kokkos_Macros.hpp>

#include <cmath>
#include <cstdint>

namespace bliss::simulator {

/// What the noise of some images depends on.
struct NoiseKey {
    std::uint64_t seed;
    std::uint32_t step;
    std::uint32_t first_sample;
};

/// Standard Normal numbers of pixels 4 quad ... 4 quad + 3 of an image (Box-Muller).
KOKKOS_INLINE_FUNCTION void four_normals(const NoiseKey& key, std::uint32_t image, std::uint32_t quad, float* out) {
    const r123::Philox4x32::key_type seed{{static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32)}};
    const r123::Philox4x32::ctr_type counter{{quad, static_cast<std::uint32_t>(StreamPurpose::noise), key.step, key.first_sample + image}};
    const r123::Philox4x32::ctr_type bits = r123::Philox4x32{}(counter, seed);
    const auto unit_open = [](std::uint32_t of) { return (static_cast<float>(of >> 8) + 0.5f) * 0x1p-24f; };
    for (int pair = 0; pair < 2; ++pair) {
        const float radius = std::sqrt(-2 * std::log(unit_open(bits[2 * pair])));
        const float angle = 6.283185307f * unit_open(bits[2 * pair + 1]);
        out[2 * pair] = radius * std::cos(angle);
        out[2 * pair + 1] = radius * std::sin(angle);
    }
}

}  // namespace bliss::simulator
