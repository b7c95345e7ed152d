#include "bliss/simulator/conditions.hpp"

#include "bliss/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bliss::simulator {
namespace {

// Mean pixels of one streak: its length is 1 to 12 and its width 1 or 2, both uniform.
constexpr double k_mean_streak_px = 6.5 * 1.5;
// An edge lies at most this deep in the image: half the receptive field and a tile.
constexpr int k_edge_depth_px = 28;
// Widths of scattered light.
constexpr Range k_halo_sigma_px{25, 40};
constexpr Range k_spike_sigma_px{30, 60};
constexpr Range k_ray_distance_px{8, 18};
constexpr Range k_ray_sigma_px{4, 8};

/// Integral of r^power from the lowest to the highest rate.
double integral(const ConditionsConfig& config, double power) {
    const double low = config.sources_per_tile_low, high = config.sources_per_tile_high;
    return power == -1 ? std::log(high / low) : (std::pow(high, power + 1) - std::pow(low, power + 1)) / (power + 1);
}

}  // namespace

double draw_rate(const ConditionsConfig& config, RandomStream& random) {
    const double low = config.sources_per_tile_low, high = config.sources_per_tile_high, power = config.sources_per_tile_power + 1;
    if (power == 0) return random.log_uniform(low, high);
    return std::pow(random.uniform(std::pow(low, power), std::pow(high, power)), 1 / power);
}

double mean_rate(const ConditionsConfig& config) {
    if (config.sources_per_tile_high <= config.sources_per_tile_low) return config.sources_per_tile_low;
    return integral(config, config.sources_per_tile_power + 1) / integral(config, config.sources_per_tile_power);
}

void describe(ConfigVisitor& visitor, ConditionsConfig& config) {
    visitor.field("sources_per_tile_low", config.sources_per_tile_low, "labelled sources per 4x4-pixel tile, lowest", k_positive);
    visitor.field("sources_per_tile_high", config.sources_per_tile_high, "labelled sources per 4x4-pixel tile, highest", k_positive);
    visitor.field("sources_per_tile_power", config.sources_per_tile_power,
                  "how frequent rates r between are: as r to this power; -1: log-uniform, 0: uniform", Range{-4, 4});
    visitor.field("background_e_low", config.background_e_low, "sky, electrons per pixel, lowest", k_positive);
    visitor.field("background_e_high", config.background_e_high, "sky, electrons per pixel, highest (log-uniform between)", k_positive);
    visitor.field("psf_sigma1_px_low", config.psf_sigma1_px_low, "PSF core, pixels, lowest", k_positive);
    visitor.field("psf_sigma1_px_high", config.psf_sigma1_px_high, "PSF core, pixels, highest (uniform between)", k_positive);
    visitor.field("psf_sigma2_px_low", config.psf_sigma2_px_low, "PSF second Gaussian, pixels, lowest", k_positive);
    visitor.field("psf_sigma2_px_high", config.psf_sigma2_px_high, "PSF second Gaussian, pixels, highest (uniform between)", k_positive);
    visitor.field("psf_b_high", config.psf_b_high, "peak of the second Gaussian against the core's, from 0 to this", k_not_negative);
    visitor.field("psf_sigma_p_px_low", config.psf_sigma_p_px_low, "PSF power-law wings, pixels, lowest", k_positive);
    visitor.field("psf_sigma_p_px_high", config.psf_sigma_p_px_high, "PSF power-law wings, pixels, highest (uniform between)", k_positive);
    visitor.field("psf_beta_low", config.psf_beta_low, "power-law exponent, lowest", Range{2.1, 20});
    visitor.field("psf_beta_high", config.psf_beta_high, "power-law exponent, highest (uniform between)", Range{2.1, 20});
    visitor.field("psf_p0_high", config.psf_p0_high, "peak of the wings against the core's, from 0 to this", k_not_negative);
    visitor.field("psf_ellipticity_high", config.psf_ellipticity_high,
                  "ellipticity (a^2 - b^2) / (a^2 + b^2) of the PSF, from 0 to this; the networks are told a round one of that area",
                  Range{0, 0.9});
    visitor.field("clump_share_high", config.clump_share_high,
                  fmt::format("share of the light of galaxies of {:.0f} electrons and more that lies in clumps, from 0 to this; their "
                              "place and shape are those of the rest",
                              k_clumps_from_e),
                  Range{0, 0.9});
    visitor.field("halo_share_high", config.halo_share_high, "share of a star's light in a wide halo, from 0 to this", k_unit_interval);
    visitor.field("spike_share_high", config.spike_share_high, "share of a star's light in each of two diffraction spikes, from 0 to this",
                  k_unit_interval);
    visitor.field("ray_share_high", config.ray_share_high, "share of a star's light in each of four short rays near it, from 0 to this",
                  k_unit_interval);
    visitor.field("bright_star_share", config.bright_star_share, "share of images that get one very bright star more, in or near them",
                  k_unit_interval);
    visitor.field("bright_star_flux_e_low", config.bright_star_flux_e_low,
                  "that star, electrons, lowest (log-uniform up to prior.flux_max_e)", k_positive);
    visitor.field("saturation_e_low", config.saturation_e_low, "electrons at which a pixel saturates, lowest", k_positive);
    visitor.field("saturation_e_high", config.saturation_e_high, "electrons at which a pixel saturates, highest (log-uniform between)",
                  k_positive);
    visitor.field("bad_pixel_share", config.bad_pixel_share, "share of pixels that are masked at random", k_unit_interval);
    visitor.field("edge_share", config.edge_share, "share of images that show an edge of the frame", k_unit_interval);
}

void check_conditions(const ConditionsConfig& config) {
    const auto ordered = [](std::string_view name, double low, double high) {
        if (low > high) throw ConfigError(fmt::format("conditions: {}_low ({}) is above {}_high ({})", name, low, name, high));
    };
    ordered("sources_per_tile", config.sources_per_tile_low, config.sources_per_tile_high);
    ordered("background_e", config.background_e_low, config.background_e_high);
    ordered("psf_sigma1_px", config.psf_sigma1_px_low, config.psf_sigma1_px_high);
    ordered("psf_sigma2_px", config.psf_sigma2_px_low, config.psf_sigma2_px_high);
    ordered("psf_sigma_p_px", config.psf_sigma_p_px_low, config.psf_sigma_p_px_high);
    ordered("psf_beta", config.psf_beta_low, config.psf_beta_high);
    ordered("saturation_e", config.saturation_e_low, config.saturation_e_high);
}

survey::Psf::SdssParameters draw_psf(const ConditionsConfig& config, RandomStream& random) {
    survey::Psf::SdssParameters psf;
    psf.sigma1_px = random.uniform(config.psf_sigma1_px_low, config.psf_sigma1_px_high);
    psf.sigma2_px = random.uniform(config.psf_sigma2_px_low, config.psf_sigma2_px_high);
    psf.b = random.uniform(0, config.psf_b_high);
    psf.sigma_p_px = random.uniform(config.psf_sigma_p_px_low, config.psf_sigma_p_px_high);
    psf.beta = random.uniform(config.psf_beta_low, config.psf_beta_high);
    psf.p0 = random.uniform(0, config.psf_p0_high);
    return psf;
}

ScatteredLight draw_scattered_light(const ConditionsConfig& config, RandomStream& random) {
    ScatteredLight scattered{.halo_share = random.uniform(0, config.halo_share_high),
                             .halo_sigma_px = random.uniform(k_halo_sigma_px.low, k_halo_sigma_px.high),
                             .spike_share = random.uniform(0, config.spike_share_high),
                             .spike_sigma_px = random.uniform(k_spike_sigma_px.low, k_spike_sigma_px.high),
                             .angle_rad = random.uniform(0, std::numbers::pi / 2)};
    for (auto& ray : scattered.rays) {
        ray.share = random.uniform(0, config.ray_share_high);
        ray.angle_rad = random.uniform(0, 2 * std::numbers::pi);
        ray.distance_px = random.uniform(k_ray_distance_px.low, k_ray_distance_px.high);
        ray.sigma_px = random.uniform(k_ray_sigma_px.low, k_ray_sigma_px.high);
    }
    return scattered;
}

Conditions draw_conditions(const ConditionsConfig& config, RandomStream& random) {
    const double rate = draw_rate(config, random);
    const double background = random.log_uniform(config.background_e_low, config.background_e_high);
    const double saturation = random.log_uniform(config.saturation_e_low, config.saturation_e_high);
    const survey::Psf psf = survey::Psf::from_sdss(draw_psf(config, random));
    const ScatteredLight scattered = draw_scattered_light(config, random);
    const double ellipticity = random.uniform(0, config.psf_ellipticity_high), angle_rad = random.uniform(0, std::numbers::pi);
    return {rate, background, saturation, psf, scattered, {ellipticity * std::cos(2 * angle_rad), ellipticity * std::sin(2 * angle_rad)}};
}

std::vector<BadRectangle> draw_bad_pixels(const ConditionsConfig& config, std::int64_t height, std::int64_t width, RandomStream& random) {
    std::vector<BadRectangle> bad;
    const double pixels = static_cast<double>(height * width);
    const std::int64_t streaks = random.poisson(config.bad_pixel_share * pixels / k_mean_streak_px);
    const auto below = [&](std::int64_t limit) {
        return std::min(limit - 1, static_cast<std::int64_t>(random.uniform() * static_cast<double>(limit)));
    };
    for (std::int64_t i = 0; i < streaks; ++i) {
        const std::int64_t length = 1 + below(12);
        const std::int64_t thickness = 1 + below(2);
        const bool upright = random.uniform() < 0.5;
        bad.push_back({below(height), below(width), upright ? length : thickness, upright ? thickness : length});
    }
    if (random.uniform() < config.edge_share) {
        const std::int64_t depth = std::min({1 + below(k_edge_depth_px), height, width});
        switch (below(4)) {
            case 0:
                bad.push_back({0, 0, depth, width});
                break;
            case 1:
                bad.push_back({height - depth, 0, depth, width});
                break;
            case 2:
                bad.push_back({0, 0, height, depth});
                break;
            default:
                bad.push_back({0, width - depth, height, depth});
                break;
        }
    }
    return bad;
}

}  // namespace bliss::simulator
