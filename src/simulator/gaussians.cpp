#include "bliss/simulator/gaussians.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bliss::simulator {
namespace {

/// Components much narrower than the PSF's core look alike behind it: below this ratio they are joined into one of the
/// same flux and moments. The error is of fourth order in the ratio.
constexpr double k_join_ratio = 0.2;
/// Width of a diffraction spike or ray across, pixels.
constexpr double k_line_width_px = 1.5;

struct Covariance {
    double xx, xy, yy;
};

/// Where a Gaussian lies on the image.
struct Place {
    double x_px, y_px;
};

void append_one(const Place& place, double flux_e, const Covariance& cov, double tolerance_e, std::vector<Gaussian>& out) {
    const double determinant = cov.xx * cov.yy - cov.xy * cov.xy;
    const double amplitude = flux_e / (2 * std::numbers::pi * std::sqrt(determinant));
    if (amplitude <= tolerance_e) return;
    const double reach = std::log(amplitude / tolerance_e);
    const double col = std::round(place.x_px);
    const double row = std::round(place.y_px);
    Gaussian g;
    g.col = static_cast<std::int32_t>(col);
    g.row = static_cast<std::int32_t>(row);
    g.dx0 = static_cast<float>(place.x_px - col);
    g.dy0 = static_cast<float>(place.y_px - row);
    g.amplitude = static_cast<float>(amplitude);
    g.a = static_cast<float>(0.5 * cov.yy / determinant);
    g.b = static_cast<float>(-0.5 * cov.xy / determinant);
    g.c = static_cast<float>(0.5 * cov.xx / determinant);
    g.reach = static_cast<float>(reach);
    g.half_height = static_cast<std::int32_t>(std::ceil(std::sqrt(2 * reach * cov.yy))) + 1;
    out.push_back(g);
}

/// A part of a PSF out of round, with the area of a round one.
Covariance of_psf(double sigma_px, const PsfEllipticity& e) {
    const double variance = sigma_px * sigma_px / std::sqrt(1 - e.e1 * e.e1 - e.e2 * e.e2);
    return {variance * (1 + e.e1), variance * e.e2, variance * (1 - e.e1)};
}

/// A galaxy's components, each convolved with each of the PSF's.
void append_light(const Source& galaxy, const survey::Psf& psf, double tolerance_e, std::vector<Gaussian>& out,
                  const PsfEllipticity& ellipticity) {
    const auto append_convolved = [&](const LightComponent& light) {
        if (galaxy.flux_e * light.weight <= tolerance_e) return;
        const Place place{galaxy.x_px + light.x_px, galaxy.y_px + light.y_px};
        for (const auto& component : psf.components()) {
            const Covariance blur = of_psf(component.sigma_px, ellipticity);
            append_one(place, galaxy.flux_e * light.weight * component.weight, {light.xx + blur.xx, light.xy + blur.xy, light.yy + blur.yy},
                       tolerance_e, out);
        }
    };
    double core_px = psf.components().front().sigma_px;
    for (const auto& component : psf.components()) core_px = std::min(core_px, component.sigma_px);
    const double narrow = std::pow(k_join_ratio * core_px, 2);
    LightComponent joined;  // sums of moments first
    for (const LightComponent& light : galaxy.light) {
        const bool central = std::max(std::abs(light.x_px), std::abs(light.y_px)) < k_join_ratio * core_px;
        const double major = 0.5 * (light.xx + light.yy) + std::hypot(0.5 * (light.xx - light.yy), light.xy);  // axis squared
        if (!central || major >= narrow) {
            append_convolved(light);
            continue;
        }
        joined.weight += light.weight;
        joined.x_px += light.weight * light.x_px;
        joined.y_px += light.weight * light.y_px;
        joined.xx += light.weight * (light.xx + light.x_px * light.x_px);
        joined.xy += light.weight * (light.xy + light.x_px * light.y_px);
        joined.yy += light.weight * (light.yy + light.y_px * light.y_px);
    }
    if (joined.weight <= 0) return;
    for (double* const moment : {&joined.x_px, &joined.y_px, &joined.xx, &joined.xy, &joined.yy}) *moment /= joined.weight;
    joined.xx -= joined.x_px * joined.x_px;
    joined.xy -= joined.x_px * joined.y_px;
    joined.yy -= joined.y_px * joined.y_px;
    append_convolved(joined);
}

}  // namespace

void append_gaussians(const Source& source, const survey::Psf& psf, double tolerance_e, std::vector<Gaussian>& out,
                      const PsfEllipticity& ellipticity) {
    if (source.is_star) {
        for (const auto& component : psf.components()) {
            append_one({source.x_px, source.y_px}, source.flux_e * component.weight, of_psf(component.sigma_px, ellipticity), tolerance_e,
                       out);
        }
        return;
    }
    append_light(source, psf, tolerance_e, out, ellipticity);
}

void append_scattered_light(const Source& star, const ScatteredLight& light, double tolerance_e, std::vector<Gaussian>& out) {
    const double halo = light.halo_sigma_px * light.halo_sigma_px;
    append_one({star.x_px, star.y_px}, star.flux_e * light.halo_share, {halo, 0, halo}, tolerance_e, out);
    const auto append_line = [&](const Place& centre, double share, double sigma_px, double angle_rad) {
        const double along = sigma_px * sigma_px, across = k_line_width_px * k_line_width_px;
        const double cos = std::cos(angle_rad), sin = std::sin(angle_rad);
        const Covariance line{along * cos * cos + across * sin * sin, (along - across) * sin * cos, along * sin * sin + across * cos * cos};
        append_one(centre, star.flux_e * share, line, tolerance_e, out);
    };
    append_line({star.x_px, star.y_px}, light.spike_share, light.spike_sigma_px, light.angle_rad);
    append_line({star.x_px, star.y_px}, light.spike_share, light.spike_sigma_px, light.angle_rad + std::numbers::pi / 2);
    for (const auto& ray : light.rays) {
        const Place centre{star.x_px + ray.distance_px * std::cos(ray.angle_rad), star.y_px + ray.distance_px * std::sin(ray.angle_rad)};
        append_line(centre, ray.share, ray.sigma_px, ray.angle_rad);
    }
}

}  // namespace bliss::simulator
