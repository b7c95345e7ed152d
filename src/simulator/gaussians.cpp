#include "bliss/simulator/gaussians.hpp"

#include <array>
#include <cmath>
#include <numbers>
#include <span>

namespace bliss::simulator {
namespace {

/// One Gaussian of a galaxy profile: its share of the flux, and its width in half-light radii.
struct ProfileComponent {
    double weight;
    double sigma;
};

#include "profile_tables.inc"

/// Components much narrower than the PSF's core look alike behind it: below this ratio they are joined into one of the
/// same flux and second moment. The error is of fourth order in the ratio.
constexpr double k_join_ratio = 0.2;
/// Width of a diffraction spike or ray across, pixels.
constexpr double k_line_width_px = 1.5;

struct Covariance {
    double xx, xy, yy;
};

void append_one(const Source& source, double flux_e, const Covariance& cov, double tolerance_e, std::vector<Gaussian>& out) {
    const double determinant = cov.xx * cov.yy - cov.xy * cov.xy;
    const double amplitude = flux_e / (2 * std::numbers::pi * std::sqrt(determinant));
    if (amplitude <= tolerance_e) return;
    const double reach = std::log(amplitude / tolerance_e);
    const double col = std::round(source.x_px);
    const double row = std::round(source.y_px);
    Gaussian g;
    g.col = static_cast<std::int32_t>(col);
    g.row = static_cast<std::int32_t>(row);
    g.dx0 = static_cast<float>(source.x_px - col);
    g.dy0 = static_cast<float>(source.y_px - row);
    g.amplitude = static_cast<float>(amplitude);
    g.a = static_cast<float>(0.5 * cov.yy / determinant);
    g.b = static_cast<float>(-0.5 * cov.xy / determinant);
    g.c = static_cast<float>(0.5 * cov.xx / determinant);
    g.reach = static_cast<float>(reach);
    g.half_height = static_cast<std::int32_t>(std::ceil(std::sqrt(2 * reach * cov.yy))) + 1;
    out.push_back(g);
}

void append_profile(const Source& source, double flux_e, double major_px, double axis_ratio,
                    std::span<const ProfileComponent> profile, const survey::Psf& psf, double tolerance_e,
                    std::vector<Gaussian>& out) {
    const double cos = std::cos(source.shape.angle_rad);
    const double sin = std::sin(source.shape.angle_rad);
    const auto append_convolved = [&](double weight, double variance) {
        if (flux_e * weight <= tolerance_e) return;
        const double major = variance * major_px * major_px;
        const double minor = major * axis_ratio * axis_ratio;
        for (const auto& component : psf.components()) {
            const double round = component.sigma_px * component.sigma_px;
            append_one(source, flux_e * weight * component.weight,
                       {major * cos * cos + minor * sin * sin + round, (major - minor) * sin * cos,
                        major * sin * sin + minor * cos * cos + round},
                       tolerance_e, out);
        }
    };
    double core_px = psf.components().front().sigma_px;
    for (const auto& component : psf.components()) core_px = std::min(core_px, component.sigma_px);
    double joined_weight = 0;
    double joined_variance = 0;
    for (const auto& [weight, sigma] : profile) {
        if (sigma * major_px < k_join_ratio * core_px) {
            joined_weight += weight;
            joined_variance += weight * sigma * sigma;
        } else {
            append_convolved(weight, sigma * sigma);
        }
    }
    if (joined_weight > 0) append_convolved(joined_weight, joined_variance / joined_weight);
}

}  // namespace

void append_gaussians(const Source& source, const survey::Psf& psf, double tolerance_e, std::vector<Gaussian>& out) {
    if (source.is_star) {
        for (const auto& component : psf.components()) {
            const double variance = component.sigma_px * component.sigma_px;
            append_one(source, source.flux_e * component.weight, {variance, 0, variance}, tolerance_e, out);
        }
        return;
    }
    const GalaxyShape& shape = source.shape;
    append_profile(source, source.flux_e * shape.disk_fraction, shape.disk_major_px, shape.disk_axis_ratio, k_exponential, psf,
                   tolerance_e, out);
    append_profile(source, source.flux_e * (1 - shape.disk_fraction), shape.bulge_major_px, shape.bulge_axis_ratio,
                   k_de_vaucouleurs, psf, tolerance_e, out);
}

void append_scattered_light(const Source& star, const ScatteredLight& light, double tolerance_e, std::vector<Gaussian>& out) {
    const double halo = light.halo_sigma_px * light.halo_sigma_px;
    append_one(star, star.flux_e * light.halo_share, {halo, 0, halo}, tolerance_e, out);
    const auto append_line = [&](const Source& centre, double share, double sigma_px, double angle_rad) {
        const double along = sigma_px * sigma_px, across = k_line_width_px * k_line_width_px;
        const double cos = std::cos(angle_rad), sin = std::sin(angle_rad);
        const Covariance line{along * cos * cos + across * sin * sin, (along - across) * sin * cos, along * sin * sin + across * cos * cos};
        append_one(centre, star.flux_e * share, line, tolerance_e, out);
    };
    append_line(star, light.spike_share, light.spike_sigma_px, light.angle_rad);
    append_line(star, light.spike_share, light.spike_sigma_px, light.angle_rad + std::numbers::pi / 2);
    for (const auto& ray : light.rays) {
        Source centre = star;
        centre.x_px += ray.distance_px * std::cos(ray.angle_rad);
        centre.y_px += ray.distance_px * std::sin(ray.angle_rad);
        append_line(centre, ray.share, ray.sigma_px, ray.angle_rad);
    }
}

}  // namespace bliss::simulator
