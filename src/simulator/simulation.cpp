#include "bliss/simulator/simulation.hpp"

#include "bliss/core/error.hpp"
#include "bliss/simulator/image_plan.hpp"
#include "host_loop.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace bliss::simulator {
namespace {

/// Sources up to this far off the image still shine into it, and bright ones up to k_farthest_px.
constexpr double k_margin_px = 16;
constexpr double k_bright_e = 1e5;
/// The one more bright star of an image lies at most this far off it.
constexpr double k_bright_star_margin_px = 50;
/// A saturated star's charge bleeds along one axis: up to this many radii of the saturated core, and this thick.
constexpr double k_bleed_length = 3;
constexpr double k_bleed_thickness = 0.4;

/// Radius within which a star's light lies above `limit_e` electrons per pixel; 0 where it does nowhere.
double radius_above(const Source& star, const survey::Psf& psf, double limit_e) {
    double low = 0, high = 64;
    if (star.flux_e * psf.value(0) <= limit_e) return 0;
    for (int i = 0; i < 12; ++i) {
        const double middle = 0.5 * (low + high);
        (star.flux_e * psf.value(middle) > limit_e ? low : high) = middle;
    }
    return high;
}

/// Adds the trails of the saturated stars of an image, all along the same axis.
void append_bleeding(const ImageTruth& truth, std::int64_t height, std::int64_t width, RandomStream& random,
                     std::vector<BadRectangle>& bad) {
    const bool upright = random.uniform() < 0.5;
    for (const Source& star : truth.sources) {
        const double radius = star.is_star ? radius_above(star, truth.conditions.psf, truth.conditions.saturation_e) : 0;
        if (radius == 0) continue;
        const double length = radius * (1 + k_bleed_length * random.uniform()), thickness = radius * k_bleed_thickness;
        const auto span = [](double centre, double reach, std::int64_t side) {
            const auto first = std::clamp<std::int64_t>(std::lround(centre - reach), 0, side);
            return std::pair{first, std::clamp<std::int64_t>(std::lround(centre + reach) + 1, first, side) - first};
        };
        const auto [row, rows] = span(star.y_px, upright ? length : thickness, height);
        const auto [col, cols] = span(star.x_px, upright ? thickness : length, width);
        bad.push_back({row, col, rows, cols});
    }
}

/// Adds the one more bright star that some images get, keeping the order by flux.
void add_bright_star(const SimulatorConfig& config, std::int64_t rows, std::int64_t cols, RandomStream& random,
                     std::vector<Source>& sources) {
    if (random.uniform() >= config.conditions.bright_star_share) return;
    Source star;
    star.flux_e = random.log_uniform(config.conditions.bright_star_flux_e_low, config.prior.flux_max_e);
    const auto along = [&](std::int64_t side) {
        return random.uniform(-0.5 - k_bright_star_margin_px, static_cast<double>(side) - 0.5 + k_bright_star_margin_px);
    };
    star.x_px = along(cols);
    star.y_px = along(rows);
    const auto brighter = [](const Source& a, const Source& b) { return a.flux_e > b.flux_e; };
    sources.insert(std::upper_bound(sources.begin(), sources.end(), star, brighter), star);
}

std::vector<Source> draw_sources(const SimulatorConfig& config, const GalaxyDecoder* decoder, const Conditions& conditions,
                                 std::int64_t rows, std::int64_t cols, RandomStream random) {
    const auto width = static_cast<double>(cols), height = static_cast<double>(rows);
    const Area area{-0.5 - k_farthest_px, -0.5 - k_farthest_px, width + 2 * k_farthest_px, height + 2 * k_farthest_px};
    const double rate_per_px = conditions.sources_per_tile / (k_rate_tile_px * k_rate_tile_px);
    std::vector<Source> sources = draw_catalog(config.prior, decoder, rate_per_px, area, random);
    add_bright_star(config, rows, cols, random, sources);
    std::erase_if(sources, [&](const Source& source) {
        const double off =
            std::max(std::max(-0.5 - source.x_px, source.x_px - (width - 0.5)), std::max(-0.5 - source.y_px, source.y_px - (height - 0.5)));
        return !shines_into(source, off);
    });
    return sources;
}

bool has_clumps(const SimulatorConfig& config, const Source& source) {
    return config.conditions.clump_share_high > 0 && !source.is_star && source.flux_e >= k_clumps_from_e;
}

/// Everything but the truth, which is given.
void plan_pixels(const SimulatorConfig& config, const SampleRange& sample, std::int64_t height, std::int64_t width, ImagePlan& plan) {
    const Conditions& conditions = plan.truth.conditions;
    for (std::size_t k = 0; k < plan.truth.sources.size(); ++k) {
        const Source& source = plan.truth.sources[k];
        const auto append = [&](const Source& seen) {
            append_gaussians(seen, conditions.psf, config.tolerance_e, plan.light, conditions.ellipticity);
        };
        if (has_clumps(config, source)) {
            RandomStream random{sample.seed, StreamPurpose::clumps, sample.step, sample.first_sample, static_cast<std::uint32_t>(k)};
            Source clumpy = source;
            clumpy.light = with_clumps(source.light, random.uniform(0, config.conditions.clump_share_high), random);
            append(clumpy);
        } else {
            append(source);
        }
        if (source.is_star) append_scattered_light(source, conditions.scattered, config.tolerance_e, plan.light);
    }
    RandomStream random{sample.seed, StreamPurpose::mask, sample.step, sample.first_sample};
    plan.bad = draw_bad_pixels(config.conditions, height, width, random);
    append_bleeding(plan.truth, height, width, random, plan.bad);
}

ImageTruth draw_truth(const SimulatorConfig& config, const GalaxyDecoder* decoder, const SampleRange& sample, std::int64_t height,
                      std::int64_t width) {
    ImageTruth truth{conditions_of(config, sample), {}};
    const RandomStream random{sample.seed, StreamPurpose::catalog, sample.step, sample.first_sample};
    truth.sources = draw_sources(config, decoder, truth.conditions, height, width, random);
    return truth;
}

void mark_bad_pixels(std::span<const ImagePlan> plans, const SimulationTarget& target) {
    const ImageBlock& block = target.block;
    const std::int64_t pixels = block.height * block.width;
    for_each_on_host(block.images, [&](const std::int64_t image) {
        float* const electrons = block.electrons + image * pixels;
        std::uint8_t* const valid = target.valid + image * pixels;
        const ImagePlan& plan = plans[static_cast<std::size_t>(image)];
        const Conditions& conditions = plan.truth.conditions;
        for (std::int64_t k = 0; k < pixels; ++k) valid[k] = electrons[k] < conditions.saturation_e ? 1 : 0;
        for (const BadRectangle& bad : plan.bad) {
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
}

/// Makes planned images on the cores. @param target holds each image's background
void make_on_cores(const SimulatorConfig& config, std::span<const ImagePlan> plans, const SampleRange& range,
                   const SimulationTarget& target) {
    GaussianLists lists;
    for (const ImagePlan& plan : plans) {
        lists.gaussians.insert(lists.gaussians.end(), plan.light.begin(), plan.light.end());
        lists.first.push_back(static_cast<std::int64_t>(lists.gaussians.size()));
    }
    render(lists, target.block);
    add_noise(config.noise, target.block, range.seed, range.step, range.first_sample);
    mark_bad_pixels(plans, target);
}

void require_decoder(const SimulatorConfig& config, const GalaxyDecoder* decoder) {
    if (config.prior.galaxies == GalaxyModel::learnt && decoder == nullptr)
        throw ConfigError("simulator.prior.galaxies is \"learnt\", but no galaxy decoder was given");
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
    if (config.conditions.bright_star_share > 0 && config.conditions.bright_star_flux_e_low > config.prior.flux_max_e) {
        throw ConfigError(fmt::format("conditions: bright_star_flux_e_low ({}) is above flux_max_e of the prior ({})",
                                      config.conditions.bright_star_flux_e_low, config.prior.flux_max_e));
    }
}

Conditions conditions_of(const SimulatorConfig& config, const SampleRange& range) {
    RandomStream random{range.seed, StreamPurpose::conditions, range.step, range.first_sample};
    return draw_conditions(config.conditions, random);
}

double rate_of(const SimulatorConfig& config, const SampleRange& range) {
    RandomStream random{range.seed, StreamPurpose::conditions, range.step, range.first_sample};
    return draw_rate(config.conditions, random);  // what is drawn first
}

bool shines_into(const Source& source, double off_px) {
    return off_px <= k_margin_px || (source.flux_e >= k_bright_e && off_px <= k_farthest_px);
}

void observe(const SimulatorConfig& config, std::span<const ImageTruth> truths, const SampleRange& range, const SimulationTarget& target) {
    const ImageBlock& block = target.block;
    std::vector<ImagePlan> plans;
    plans.reserve(truths.size());
    for (const ImageTruth& truth : truths) plans.push_back({truth, {}, {}});
    for_each_on_host(block.images, [&](const std::int64_t i) {
        plan_pixels(config, range.from(i), block.height, block.width, plans[static_cast<std::size_t>(i)]);
    });
    make_on_cores(config, plans, range, target);
}

std::vector<ImageTruth> simulate(const SimulatorConfig& config, const GalaxyDecoder* decoder, const SampleRange& range,
                                 const SimulationTarget& target) {
    const ImageBlock& block = target.block;
    std::vector<ImagePlan> plans = plan_images(config, decoder, range, block.images, block.height, block.width);
    float* background = block.electrons;
    for (const ImagePlan& plan : plans) {
        background = std::fill_n(background, block.height * block.width, static_cast<float>(plan.truth.conditions.background_e));
    }
    make_on_cores(config, plans, range, target);
    std::vector<ImageTruth> truths;
    for (ImagePlan& plan : plans) truths.push_back(std::move(plan.truth));
    return truths;
}

std::vector<ImagePlan> plan_images(const SimulatorConfig& config, const GalaxyDecoder* decoder, const SampleRange& range,
                                   std::int64_t images, std::int64_t height, std::int64_t width) {
    require_decoder(config, decoder);
    std::vector<std::optional<ImagePlan>> drawn(static_cast<std::size_t>(images));
    for_each_on_host(images, [&](const std::int64_t k) {
        ImagePlan plan{draw_truth(config, decoder, range.from(k), height, width), {}, {}};
        plan_pixels(config, range.from(k), height, width, plan);
        drawn[static_cast<std::size_t>(k)] = std::move(plan);
    });
    std::vector<ImagePlan> plans;
    for (std::optional<ImagePlan>& plan : drawn) plans.push_back(std::move(*plan));
    return plans;
}

}  // namespace bliss::simulator
