#include "bliss/simulator/simulation.hpp"

#include <Kokkos_Core.hpp>

#include <algorithm>

namespace bliss::simulator {
namespace {

/// Sources up to this far off the image still shine into it.
constexpr double k_margin_px = 16;

ImageTruth draw_truth(const SimulatorConfig& config, const SampleRange& range, std::uint32_t sample, const ImageBlock& block) {
    RandomStream conditions_random{range.seed, StreamPurpose::conditions, range.step, sample};
    RandomStream catalog_random{range.seed, StreamPurpose::catalog, range.step, sample};
    ImageTruth truth{draw_conditions(config.conditions, conditions_random), {}};
    const Area area{-0.5 - k_margin_px, -0.5 - k_margin_px, static_cast<double>(block.width) + 2 * k_margin_px,
                    static_cast<double>(block.height) + 2 * k_margin_px};
    const double rate_per_px = truth.conditions.sources_per_tile / (k_rate_tile_px * k_rate_tile_px);
    truth.sources = draw_catalog(config.prior, rate_per_px, area, catalog_random);
    return truth;
}

GaussianLists expand(const SimulatorConfig& config, const std::vector<ImageTruth>& truths) {
    std::vector<std::vector<Gaussian>> per_image(truths.size());
    Kokkos::parallel_for(
        "bliss::expand",
        Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace, Kokkos::Schedule<Kokkos::Dynamic>>(0, truths.size()),
        [&](const std::size_t i) {
            for (const Source& source : truths[i].sources) {
                append_gaussians(source, truths[i].conditions.psf, config.tolerance_e, per_image[i]);
            }
        });
    Kokkos::fence();
    GaussianLists lists;
    for (const auto& list : per_image) {
        lists.gaussians.insert(lists.gaussians.end(), list.begin(), list.end());
        lists.first.push_back(static_cast<std::int64_t>(lists.gaussians.size()));
    }
    return lists;
}

void mark_bad_pixels(const SimulatorConfig& config, const SampleRange& range, const std::vector<ImageTruth>& truths,
                     const SimulationTarget& target) {
    const ImageBlock& block = target.block;
    const std::int64_t pixels = block.height * block.width;
    Kokkos::parallel_for(
        "bliss::bad_pixels", Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace>(0, block.images),
        [&](const std::int64_t image) {
            float* const electrons = block.electrons + image * pixels;
            std::uint8_t* const valid = target.valid + image * pixels;
            const Conditions& conditions = truths[static_cast<std::size_t>(image)].conditions;
            for (std::int64_t k = 0; k < pixels; ++k) valid[k] = electrons[k] < conditions.saturation_e ? 1 : 0;
            RandomStream random{range.seed, StreamPurpose::mask, range.step, range.first_sample + static_cast<std::uint32_t>(image)};
            for (const BadRectangle& bad : draw_bad_pixels(config.conditions, block.height, block.width, random)) {
                const std::int64_t row_end = std::min(block.height, bad.row + bad.rows);
                const std::int64_t col_end = std::min(block.width, bad.col + bad.cols);
                for (std::int64_t row = bad.row; row < row_end; ++row) {
                    std::fill(valid + row * block.width + bad.col, valid + row * block.width + col_end, std::uint8_t{0});
                }
            }
            for (std::int64_t k = 0; k < pixels; ++k) {
                if (!valid[k]) electrons[k] = static_cast<float>(conditions.background_e);
            }
        });
    Kokkos::fence();
}

}  // namespace

void describe(ConfigVisitor& visitor, SimulatorConfig& config) {
    visitor.choice("noise", config.noise, "noise of a pixel about its expected count",
                   {Choice<NoiseKind>{"normal", NoiseKind::normal}, Choice<NoiseKind>{"poisson", NoiseKind::poisson}});
    visitor.field("tolerance_e", config.tolerance_e, "light below this many electrons per pixel and Gaussian is left out",
                  k_positive);
    visitor.section("prior", config.prior);
    visitor.section("conditions", config.conditions);
}

void check_simulator(const SimulatorConfig& config) {
    check_prior(config.prior);
    check_conditions(config.conditions);
}

std::vector<ImageTruth> simulate(const SimulatorConfig& config, const SampleRange& range, const SimulationTarget& target) {
    const ImageBlock& block = target.block;
    std::vector<ImageTruth> truths;
    truths.reserve(static_cast<std::size_t>(block.images));
    for (std::int64_t i = 0; i < block.images; ++i) {
        truths.push_back(draw_truth(config, range, range.first_sample + static_cast<std::uint32_t>(i), block));
        const std::int64_t pixels = block.height * block.width;
        std::fill_n(block.electrons + i * pixels, pixels, static_cast<float>(truths.back().conditions.background_e));
    }
    render(expand(config, truths), block);
    add_noise(config.noise, block, range.seed, range.step, range.first_sample);
    mark_bad_pixels(config, range, truths, target);
    return truths;
}

}  // namespace bliss::simulator
