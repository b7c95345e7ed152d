#include "bliss/stars/wings.hpp"
#include "parallel.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <iterator>

namespace bliss::stars {
namespace {

/// Light of the rays of SDSS 94-1-12 (simulator/conditions.hpp), shares of a star's flux a pixel. Stars have wings where it comes to
/// k_least_light of the noise of a pixel.
constexpr double k_ray_share = 2e-5, k_least_light = 0.1;
/// Standard deviation of the wings before the frame is seen: rays fill a sixteenth of the area. So one bright star in a crowded field,
/// whose neighbours are stars as well as rays, says little, and a hundred say all. It begins at k_inner PSF widths from the star and is
/// whole at k_outer.
constexpr double k_prior_share = k_ray_share / 4, k_inner = 2, k_outer = 4;
/// Steps of conjugate gradients, and the relative size of the residual at which they end sooner.
constexpr int k_most_steps = 25;
constexpr double k_enough = 1e-3;
/// Rows whose sums are taken together, whatever the threads.
constexpr std::int64_t k_band_px = 32;

double dot(std::span<const float> a, std::span<const float> b) {
    double sum = 0;
    for (std::size_t k = 0; k < a.size(); ++k) sum += static_cast<double>(a[k]) * static_cast<double>(b[k]);
    return sum;
}

}  // namespace

Wings::Wings(double psf_sigma_px, double noise_e) : least_flux_e_{k_least_light * noise_e / k_ray_share} {
    for (std::int64_t row = 0; row < k_nodes; ++row) {
        for (std::int64_t col = 0; col < k_nodes; ++col) {
            const double r =
                std::hypot(static_cast<double>(col * k_step_px - k_reach_px), static_cast<double>(row * k_step_px - k_reach_px));
            const double share = std::clamp((r / psf_sigma_px - k_inner) / (k_outer - k_inner), 0.0, 1.0);
            // The outermost nodes stay none, so that wings end without a step.
            const bool inside = r <= static_cast<double>(k_reach_px - k_step_px);
            prior_sd_[static_cast<std::size_t>(row * k_nodes + col)] = inside ? static_cast<float>(k_prior_share * share) : 0.0f;
        }
    }
}

template <class Visit>
void Wings::for_each_pixel(std::span<const LitStar> stars, std::int64_t row_begin, std::int64_t row_end, std::int64_t width,
                           const Visit& visit) {
    constexpr auto reach = static_cast<double>(k_reach_px), step = static_cast<double>(k_step_px);
    // A pixel on the last node takes no part in what lies beyond.
    constexpr double end = reach - 1e-6;
    for (const LitStar& lit : stars) {
        const auto begin = [&](double at) { return static_cast<std::int64_t>(std::ceil(at - end)); };
        const auto last = [&](double at) { return static_cast<std::int64_t>(std::floor(at + end)); };
        for (std::int64_t row = std::max(row_begin, begin(lit.star.y_px)); row <= std::min(row_end - 1, last(lit.star.y_px)); ++row) {
            const double v = (static_cast<double>(row) - lit.star.y_px + reach) / step;
            const auto node_row = static_cast<std::int64_t>(v);
            const auto down = static_cast<float>(v - static_cast<double>(node_row));
            for (std::int64_t col = std::max<std::int64_t>(0, begin(lit.star.x_px)); col <= std::min(width - 1, last(lit.star.x_px));
                 ++col) {
                const double u = (static_cast<double>(col) - lit.star.x_px + reach) / step;
                const auto node_col = static_cast<std::int64_t>(u);
                const auto right = static_cast<float>(u - static_cast<double>(node_col));
                const auto node = static_cast<std::size_t>(node_row * k_nodes + node_col);
                visit(row, col, node,
                      std::array{(1 - down) * (1 - right) * lit.flux_e, (1 - down) * right * lit.flux_e, down * (1 - right) * lit.flux_e,
                                 down * right * lit.flux_e});
            }
        }
    }
}

void Wings::add(const Nodes& nodes, std::span<const LitStar> stars, Image<float>& image) {
    const std::int64_t bands = (image.height() + k_band_px - 1) / k_band_px;
    parallel_for(bands, [&](std::int64_t band) {
        for_each_pixel(stars, band * k_band_px, std::min(image.height(), (band + 1) * k_band_px), image.width(),
                       [&](std::int64_t row, std::int64_t col, std::size_t node, const std::array<float, 4>& share) {
                           const auto below = node + static_cast<std::size_t>(k_nodes);
                           image(row, col) +=
                               share[0] * nodes[node] + share[1] * nodes[node + 1] + share[2] * nodes[below] + share[3] * nodes[below + 1];
                       });
    });
}

Wings::Nodes Wings::gathered(std::span<const LitStar> stars, const Image<float>& image) {
    const std::int64_t bands = (image.height() + k_band_px - 1) / k_band_px;
    std::vector<Nodes> of_band(static_cast<std::size_t>(bands));
    parallel_for(bands, [&](std::int64_t band) {
        Nodes& sums = of_band[static_cast<std::size_t>(band)];
        for_each_pixel(stars, band * k_band_px, std::min(image.height(), (band + 1) * k_band_px), image.width(),
                       [&](std::int64_t row, std::int64_t col, std::size_t node, const std::array<float, 4>& share) {
                           const auto below = node + static_cast<std::size_t>(k_nodes);
                           const float value = image(row, col);
                           sums[node] += share[0] * value;
                           sums[node + 1] += share[1] * value;
                           sums[below] += share[2] * value;
                           sums[below + 1] += share[3] * value;
                       });
    });
    Nodes out{};
    for (const Nodes& sums : of_band) {
        for (std::size_t k = 0; k < out.size(); ++k) out[k] += sums[k];
    }
    return out;
}

std::vector<LitStar> Wings::bright(std::span<const LitStar> stars) const {
    std::vector<LitStar> out;
    std::ranges::copy_if(stars, std::back_inserter(out),
                         [&](const LitStar& lit) { return static_cast<double>(lit.flux_e) >= least_flux_e_; });
    return out;
}

void Wings::add(std::span<const LitStar> stars, Image<float>& image) const { add(nodes_, bright(stars), image); }

void Wings::fit(std::span<const LitStar> stars, const Image<float>& rest_e, const Image<float>& precision) {
    const std::vector<LitStar> with_wings = bright(stars);
    const auto weigh = [&](Image<float>& image) {
        std::ranges::transform(image.pixels(), precision.pixels(), image.pixels().begin(), std::multiplies<>{});
    };
    const auto times_prior = [&](Nodes& nodes) {
        for (std::size_t k = 0; k < nodes.size(); ++k) nodes[k] *= prior_sd_[k];
    };
    // In units of the prior's widths, nodes = prior_sd w: (1 + S G^T P G S) w = S G^T P rest, by conjugate gradients.
    const auto applied = [&](const Nodes& w) {
        Nodes nodes = w;
        times_prior(nodes);
        Image<float> image{rest_e.height(), rest_e.width()};
        add(nodes, with_wings, image);
        weigh(image);
        Nodes out = gathered(with_wings, image);
        times_prior(out);
        for (std::size_t k = 0; k < out.size(); ++k) out[k] += w[k];
        return out;
    };
    Image<float> weighed = rest_e;
    weigh(weighed);
    Nodes w{}, residual = gathered(with_wings, weighed);
    times_prior(residual);
    Nodes direction = residual;
    double size = dot(residual, residual);
    const double enough = k_enough * k_enough * size;
    for (int step = 0; step < k_most_steps && size > enough; ++step) {
        const Nodes image_of = applied(direction);
        const double length = size / dot(direction, image_of);
        for (std::size_t k = 0; k < w.size(); ++k) {
            w[k] += static_cast<float>(length) * direction[k];
            residual[k] -= static_cast<float>(length) * image_of[k];
        }
        const double next = dot(residual, residual);
        for (std::size_t k = 0; k < w.size(); ++k) direction[k] = residual[k] + static_cast<float>(next / size) * direction[k];
        size = next;
    }
    nodes_ = w;
    times_prior(nodes_);
}

}  // namespace bliss::stars
