#include "bliss/simulator/renderer.hpp"

#include "fast_math.hpp"
#include "noise.hpp"

#include <Kokkos_Core.hpp>
#include <omp.h>

namespace bliss::simulator {
namespace {

/// These images lie in the memory of the host, wherever Kokkos runs by default.
using Space = Kokkos::DefaultHostExecutionSpace;
using Images = Kokkos::View<float***, Kokkos::LayoutRight, Space, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;
template <class T>
using List = Kokkos::View<const T*, Kokkos::HostSpace, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;

/// Rows of one unit of work: small enough that a strip of a wide frame stays in the second-level cache.
constexpr int k_strip_rows = 16;
/// Fours of pixels of one unit of work of the noise.
constexpr std::int64_t k_quads_at_once = 1024;

/// Calls `work(k)` for k = 0 ... count - 1. Kokkos lets one thread in at a time: within a parallel region each does its own.
template <class Work>
void for_each(const char* name, std::int64_t count, const Work& work) {
    if (omp_in_parallel() != 0) {
        for (std::int64_t k = 0; k < count; ++k) work(k);
        return;
    }
    Kokkos::parallel_for(name, Kokkos::RangePolicy<Space, Kokkos::Schedule<Kokkos::Dynamic>>(0, count), work);
    Space().fence();
}

inline std::int64_t lesser(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
inline std::int64_t greater(std::int64_t a, std::int64_t b) { return a > b ? a : b; }

/// Adds one row of a Gaussian. The columns it reaches follow from a dx^2 + 2 b dx dy + c dy^2 <= reach.
inline void add_row(const Gaussian& g, std::int64_t row, float* pixels, std::int64_t width) {
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
    for_each("bliss::render", block.images * strips, [=](const std::int64_t work) {
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
}

void add_noise(NoiseKind kind, const ImageBlock& block, std::uint64_t seed, std::uint32_t step, std::uint32_t first_sample) {
    const std::int64_t pixels = block.height * block.width;
    float* const electrons = block.electrons;
    if (kind == NoiseKind::poisson) {
        for_each("bliss::poisson_noise", block.images * block.height, [=](const std::int64_t work) {
            const std::int64_t image = work / block.height;
            const std::int64_t row = work % block.height;
            RandomStream random{seed, StreamPurpose::noise, step, first_sample + static_cast<std::uint32_t>(image),
                                static_cast<std::uint32_t>(row)};
            float* const out = electrons + image * pixels + row * block.width;
            for (std::int64_t col = 0; col < block.width; ++col) out[col] = static_cast<float>(random.poisson(out[col]));
        });
        return;
    }
    const std::int64_t quads = (pixels + 3) / 4, parts = (quads + k_quads_at_once - 1) / k_quads_at_once;
    const NoiseKey key{seed, step, first_sample};
    for_each("bliss::normal_noise", block.images * parts, [=](const std::int64_t work) {
        const std::int64_t image = work / parts, begin = work % parts * k_quads_at_once, end = lesser(quads, begin + k_quads_at_once);
        for (std::int64_t quad = begin; quad < end; ++quad) {
            float normals[4];
            four_normals(key, static_cast<std::uint32_t>(image), static_cast<std::uint32_t>(quad), normals);
            float* const out = electrons + image * pixels + 4 * quad;
            const int count = static_cast<int>(lesser(4, pixels - 4 * quad));
            for (int k = 0; k < count; ++k) out[k] += std::sqrt(out[k]) * normals[k];
        }
    });
}

}  // namespace bliss::simulator
