#include "anchor.hpp"

#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"
#include "layers.hpp"

#include <torch/torch.h>

#include <cmath>
#include <numbers>

namespace bliss::encoder {
namespace {

/// Pixels around the tile on each side that the anchor is looked for in.
constexpr std::int64_t k_reach_px = 1;
/// What a pixel that is not the highest among its neighbours counts less than one that is: more than any answer.
constexpr double k_no_peak = 100;
/// The least bend of a parabola, and the least share of the product of two bends that a saddle leaves.
constexpr double k_least_bend = 1e-3, k_least_share = 0.1;
/// Farthest of a parabola's top from the pixel, along each axis.
constexpr double k_farthest_top_px = 0.6;
/// Below this answer, a signal-to-noise ratio of 3.5, an error of location means nothing.
constexpr double k_least_top = 1;
/// Answers are told of as (asinh(s / k_filtered_scale) - centre) / scale.
constexpr double k_answer_centre = 2, k_answer_scale = 2;

/// The matched filters' answers, asinh(s / k_filtered_scale) of signal-to-noise ratios s, in and around the tiles of B images.
struct Answers {
    at::Tensor of_filters;   ///< (B, k_filter_count, H, W), from 1 + k_reach_px pixels above and left of the first tile
    at::Tensor score;        ///< (B, 1, H - 2, W - 2) of the star's filter: as it is where it is a peak, else k_no_peak less
};

Answers answers_of(const at::Tensor& features, std::int64_t filter_channel) {
    const at::Tensor filtered = features.slice(1, filter_channel, filter_channel + tile::k_filter_count);
    Answers out{crop(filtered, tile::k_padding_px - k_reach_px - 1).contiguous(), {}};
    const at::Tensor of_star = out.of_filters.slice(1, 0, 1), inner = crop(of_star, 1);
    out.score = torch::where(inner >= torch::max_pool2d(of_star, 3, 1), inner, inner - k_no_peak).contiguous();
    return out;
}

/// One pixel of each tile, and the parabola about it. Each (B, T_h, T_w).
struct Peak {
    at::Tensor top;        ///< of the parabola
    at::Tensor x, y;       ///< of the top, pixels from the tile's left and upper border
    at::Tensor bend_x, bend_y;
    at::Tensor of_galaxies[tile::k_filter_count - 1];   ///< answers of the galaxies' filters above the star's
    at::Tensor is_peak;    ///< 1 or 0
};

/// The pixel of the highest score in each tile and `reach` pixels around it.
Peak highest_peak(const Answers& answers, std::int64_t tile_px, std::int64_t reach) {
    const at::Tensor scores = crop(answers.score, k_reach_px - reach).contiguous();
    const auto [score, index] = torch::max_pool2d_with_indices(scores, tile_px + 2 * reach, tile_px);  // (B, 1, T_h, T_w)
    const at::Tensor pixel_row = index.squeeze(1).div(scores.size(3), "floor"), pixel_col = index.squeeze(1).remainder(scores.size(3));
    const std::int64_t pitch = answers.of_filters.size(3), margin = 1 + k_reach_px - reach;
    const at::Tensor at = ((pixel_row + margin) * pitch + pixel_col + margin).flatten(1);
    const at::Tensor flat = answers.of_filters.flatten(2);
    const auto answer = [&](std::int64_t filter, std::int64_t rows, std::int64_t cols) {
        return flat.select(1, filter).gather(1, at + rows * pitch + cols).view_as(pixel_row);
    };
    const at::Tensor there = answer(0, 0, 0);
    const at::Tensor left = answer(0, 0, -1), right = answer(0, 0, 1), above = answer(0, -1, 0), below = answer(0, 1, 0);
    Peak peak;
    peak.bend_x = (2 * there - left - right).clamp_min(k_least_bend);
    peak.bend_y = (2 * there - above - below).clamp_min(k_least_bend);
    const at::Tensor slope_x = 0.5 * (right - left), slope_y = 0.5 * (below - above);
    const at::Tensor twist = 0.25 * (answer(0, 1, 1) + answer(0, -1, -1) - answer(0, 1, -1) - answer(0, -1, 1));
    const at::Tensor bends = peak.bend_x * peak.bend_y, determinant = torch::maximum(bends - twist.square(), k_least_share * bends);
    const auto within = [](const at::Tensor& shift) { return shift.clamp(-k_farthest_top_px, k_farthest_top_px); };
    const at::Tensor x = within((peak.bend_y * slope_x + twist * slope_y) / determinant);
    const at::Tensor y = within((peak.bend_x * slope_y + twist * slope_x) / determinant);
    peak.top = there + x * slope_x + y * slope_y + twist * x * y - 0.5 * (peak.bend_x * x.square() + peak.bend_y * y.square());
    const auto first_pixels = [&](std::int64_t tiles) { return torch::arange(tiles, index.options()) * tile_px + reach; };
    peak.x = (pixel_col - first_pixels(index.size(3))).to(torch::kFloat) + x + 0.5;
    peak.y = (pixel_row - first_pixels(index.size(2)).unsqueeze(1)).to(torch::kFloat) + y + 0.5;
    for (std::int64_t k = 1; k < tile::k_filter_count; ++k) peak.of_galaxies[k - 1] = answer(k, 0, 0) - there;
    peak.is_peak = (score.squeeze(1) > -0.5 * k_no_peak).to(torch::kFloat);
    return peak;
}

/// Each number of the one peak or the other. @param first (B, T_h, T_w)
Peak either(const at::Tensor& first, const Peak& a, const Peak& b) {
    const auto pick = [&](const at::Tensor& of_a, const at::Tensor& of_b) { return torch::where(first, of_a, of_b); };
    Peak out{pick(a.top, b.top), pick(a.x, b.x), pick(a.y, b.y), pick(a.bend_x, b.bend_x), pick(a.bend_y, b.bend_y), {}, {}};
    for (std::size_t k = 0; k < std::size(out.of_galaxies); ++k) out.of_galaxies[k] = pick(a.of_galaxies[k], b.of_galaxies[k]);
    out.is_peak = pick(a.is_peak, b.is_peak);
    return out;
}

}  // namespace

at::Tensor flux_anchors(const at::Tensor& features, std::int64_t filter_channel, std::int64_t tile_px) {
    const at::Tensor filtered = crop(features.slice(1, filter_channel, filter_channel + 1), tile::k_padding_px - k_reach_px);
    const at::Tensor highest = torch::max_pool2d(filtered.contiguous(), tile_px + 2 * k_reach_px, tile_px);
    return (highest + std::log(0.5 * tile::k_filtered_scale * std::sqrt(k_area_centre_px))).permute({0, 2, 3, 1});
}

Anchors find_anchors(const at::Tensor& features, const ImageConditions& conditions, std::int64_t filter_channel, std::int64_t tile_px) {
    const torch::NoGradGuard no_grad;
    const auto side = static_cast<double>(tile_px);
    // A star's flux is its signal-to-noise ratio times the square root of the PSF's noise-equivalent area A = 4 pi sigma^2 of a Gaussian
    // (King 1983, PASP 95, 163); the least error of its location along an axis is sqrt(2) sigma over that ratio (Cramer-Rao, white noise).
    const at::Tensor ln_area = (std::log(k_area_centre_px) + k_area_scale * conditions.numbers.select(1, 0)).view({-1, 1, 1});
    const auto error_px = [&](const Peak& peak) {
        const at::Tensor ratio = tile::k_filtered_scale * torch::sinh(peak.top.clamp_min(k_least_top));
        return torch::exp(0.5 * ln_area) / std::sqrt(2 * std::numbers::pi) / ratio;
    };
    // ln of a Normal density, but for a constant, of the place that lies nearest in the tile.
    const auto plausible = [&](const Peak& peak) {
        const auto outside = [&](const at::Tensor& x) { return (x - x.clamp(0, side)).square(); };
        return peak.top - k_no_peak * (1 - peak.is_peak) - 0.5 * (outside(peak.x) + outside(peak.y)) / error_px(peak).square();
    };
    const Answers answers = answers_of(features, filter_channel);
    const Peak own = highest_peak(answers, tile_px, 0), around = highest_peak(answers, tile_px, k_reach_px);
    const Peak peak = either(plausible(own) >= plausible(around), own, around);

    const at::Tensor error = error_px(peak), ln_flux = peak.top + std::log(tile::k_filtered_scale / 2) + 0.5 * ln_area;
    const auto beyond = [&](const at::Tensor& distance) { return torch::tanh(0.5 * distance / error); };
    const at::Tensor u = peak.x / side, v = peak.y / side;
    return {torch::stack({ln_flux, u, v}, 3),
            torch::stack({(peak.top - k_answer_centre) / k_answer_scale, peak.of_galaxies[0], peak.of_galaxies[1], peak.is_peak, u - 0.5,
                          v - 0.5, peak.bend_x, peak.bend_y, beyond(peak.x), beyond(side - peak.x), beyond(peak.y), beyond(side - peak.y)},
                         3)};
}

}  // namespace bliss::encoder
