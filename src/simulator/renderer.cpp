#include "bliss/simulator/renderer.hpp"

#include "fast_math.hpp"

#include <Kokkos_Core.hpp>
#include <Random123/philox.h>

namespace bliss::simulator {
namespace {

using Space = Kokkos::DefaultExecutionSpace;
using Images = Kokkos::View<float***, Kokkos::LayoutRight, Space, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;
template <class T>
using List = Kokkos::View<const T*, Kokkos::HostSpace, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;

/// Rows of one unit of work: small enough that a strip of a wide frame stays in the second-level cache.
constexpr int k_strip_rows = 16;

KOKKOS_INLINE_FUNCTION std::int64_t lesser(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
KOKKOS_INLINE_FUNCTION std::int64_t greater(std::int64_t a, std::int64_t b) { return a > b ? a : b; }

/// Adds one row of a Gaussian. The columns it reaches follow from a dx^2 + 2 b dx dy + c dy^2 <= reach.
KOKKOS_INLINE_FUNCTION void add_row(const Gaussian& g, std::int64_t row, float* pixels, std::int64_t width) {
    const float dy = static_cast<float>(row - g.row) - g.dy0;
    const float discriminant = g.b * g.b * dy * dy - g.a * (g.c * dy * dy - g.reach);
    if (discriminant <= 0) return;
    const float centre = -g.b * dy / g.a + g.dx0;
    const float half = std::sqrt(discriminant) / g.a;
    const auto first = greater(0, g.col + static_cast<std::int64_t>(std::ceil(centre - half)));
    const auto last = lesser(width - 1, g.col + static_cast<std::int64_t>(std::floor(centre + half)));
    const float shift = static_cast<float>(first - g.col) - g.dx0;
    const float cross = 2 * g.b * dy;
    const float constant = g.c * dy * dy;
    const int count = static_cast<int>(last - first) + 1;
    float* const out = pixels + first;
#pragma omp simd
    for (int k = 0; k < count; ++k) {
        const float dx = static_cast<float>(k) + shift;
        out[k] += g.amplitude * fast_exp(-((g.a * dx + cross) * dx + constant));
    }
}

}  // namespace

void render(const GaussianLists& lists, const ImageBlock& block) {
    const Images images{block.electrons, static_cast<std::size_t>(block.images), static_cast<std::size_t>(block.height),
                        static_cast<std::size_t>(block.width)};
    const List<Gaussian> gaussians{lists.gaussians.data(), lists.gaussians.size()};
    const List<std::int64_t> first{lists.first.data(), lists.first.size()};
    const std::int64_t strips = (block.height + k_strip_rows - 1) / k_strip_rows;
    const std::int64_t height = block.height;
    const std::int64_t width = block.width;
    Kokkos::parallel_for(
        "bliss::render", Kokkos::RangePolicy<Space, Kokkos::Schedule<Kokkos::Dynamic>>(0, block.images * strips),
        KOKKOS_LAMBDA(const std::int64_t work) {
            const std::int64_t image = work / strips;
            const std::int64_t row_begin = work % strips * k_strip_rows;
            const std::int64_t row_end = lesser(height, row_begin + k_strip_rows);
            for (std::int64_t k = first(image); k < first(image + 1); ++k) {
                const Gaussian& g = gaussians(k);
                const std::int64_t begin = greater(row_begin, g.row - g.half_height);
                const std::int64_t end = lesser(row_end, g.row + g.half_height + 1);
                for (std::int64_t row = begin; row < end; ++row) add_row(g, row, &images(image, row, 0), width);
            }
        });
    Kokkos::fence();
}

namespace {

using Philox = r123::Philox4x32;

KOKKOS_INLINE_FUNCTION float unit_open(std::uint32_t bits) { return (static_cast<float>(bits >> 8) + 0.5f) * 0x1p-24f; }

/// Four standard Normal numbers of one counter (Box-Muller).
KOKKOS_INLINE_FUNCTION void four_normals(const Philox::ctr_type& bits, float* out) {
    for (int pair = 0; pair < 2; ++pair) {
        const float radius = std::sqrt(-2 * std::log(unit_open(bits[2 * pair])));
        const float angle = 6.283185307f * unit_open(bits[2 * pair + 1]);
        out[2 * pair] = radius * std::cos(angle);
        out[2 * pair + 1] = radius * std::sin(angle);
    }
}

}  // namespace

void add_noise(NoiseKind kind, const ImageBlock& block, std::uint64_t seed, std::uint32_t step, std::uint32_t first_sample) {
    const std::int64_t pixels = block.height * block.width;
    float* const electrons = block.electrons;
    if (kind == NoiseKind::poisson) {
        Kokkos::parallel_for(
            "bliss::poisson_noise",
            Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace>(0, block.images * block.height),
            [=](const std::int64_t work) {
                const std::int64_t image = work / block.height;
                const std::int64_t row = work % block.height;
                RandomStream random{seed, StreamPurpose::noise, step, first_sample + static_cast<std::uint32_t>(image),
                                    static_cast<std::uint32_t>(row)};
                float* const out = electrons + image * pixels + row * block.width;
                for (std::int64_t col = 0; col < block.width; ++col) out[col] = static_cast<float>(random.poisson(out[col]));
            });
        Kokkos::fence();
        return;
    }
    const std::int64_t quads = (pixels + 3) / 4;
    const Philox::key_type key{{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}};
    Kokkos::parallel_for(
        "bliss::normal_noise", Kokkos::RangePolicy<Space>(0, block.images * quads), KOKKOS_LAMBDA(const std::int64_t work) {
            const std::int64_t image = work / quads;
            const std::int64_t quad = work % quads;
            const Philox::ctr_type counter{{static_cast<std::uint32_t>(quad), static_cast<std::uint32_t>(StreamPurpose::noise),
                                            step, first_sample + static_cast<std::uint32_t>(image)}};
            float normals[4];
            four_normals(Philox{}(counter, key), normals);
            float* const out = electrons + image * pixels + 4 * quad;
            const int count = static_cast<int>(lesser(4, pixels - 4 * quad));
            for (int k = 0; k < count; ++k) out[k] += std::sqrt(out[k]) * normals[k];
        });
    Kokkos::fence();
}

}  // namespace bliss::simulator
