#pragma once

#include "bliss/core/random.hpp"
#include "bliss/simulator/gaussians.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace bliss::simulator {

/// B images of H x W pixels in one block of memory, row-major (B, H, W).
struct ImageBlock {
    float* electrons = nullptr;
    std::int64_t images = 0;
    std::int64_t height = 0;
    std::int64_t width = 0;
};

/// Which Gaussians belong to which image: those of image i are gaussians[first[i]] to gaussians[first[i + 1] - 1].
struct GaussianLists {
    std::vector<Gaussian> gaussians;
    std::vector<std::int64_t> first{0};
};

/// Adds the Gaussians to the images, with Kokkos. Each pixel sums its Gaussians in list order in single precision,
/// so the result does not depend on the number of threads.
void render(const GaussianLists& lists, const ImageBlock& block);

enum class NoiseKind {
    normal,   ///< x ~ Normal(m, m) (paper, equation 6)
    poisson,  ///< x ~ Poisson(m)
};

/// Replaces each expected count m > 0 by a draw. The draw of pixel n of image i depends only on
/// (seed, step, first_sample + i, n).
void add_noise(NoiseKind kind, const ImageBlock& block, std::uint64_t seed, std::uint32_t step, std::uint32_t first_sample);

}  // namespace bliss::simulator
