#include "bliss/inference/candidates.hpp"

#include "bliss/encoder/distributions.hpp"
#include "bliss/inference/posterior.hpp"
#include "bliss/tile/grid.hpp"
#include "bliss/tile/one_thread.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <numeric>
#include <tuple>

namespace bliss::inference {
namespace {

/// Two tiles speak of one source where their locations differ by at most this many standard deviations of the difference,
/// plus a tenth of a tile for what truncation at the border hides.
constexpr double k_join_sigmas = 3;
constexpr double k_join_px = 0.4;
/// Together they may claim this much probability: a little above one, because each is estimated.
constexpr double k_join_probability = 1.3;
/// Unless they are this near: two sources would lie so near each other once in thousands, and could not be told apart.
constexpr double k_coincident_px = 0.4;
/// Sums of estimates can exceed one; nothing is more certain than this.
constexpr double k_certain = 0.9999;
/// Candidates of single tiles are kept down to this share of the floor, since several may join.
constexpr double k_share_before_joining = 0.25;

struct Grid {
    std::map<std::pair<std::int32_t, std::int32_t>, std::vector<std::size_t>> of_tile;

    explicit Grid(const std::vector<Candidate>& candidates) {
        for (std::size_t k = 0; k < candidates.size(); ++k) of_tile[{candidates[k].tile.row, candidates[k].tile.col}].push_back(k);
    }
};

bool same_source(const Candidate& a, const Candidate& b) {
    const double dx = a.x_px.mean - b.x_px.mean;
    const double dy = a.y_px.mean - b.y_px.mean;
    const double error = std::max(std::hypot(a.x_px.sd, b.x_px.sd), std::hypot(a.y_px.sd, b.y_px.sd));
    const double limit = k_join_px + k_join_sigmas * error;
    return std::hypot(dx, dy) <= std::min(limit, static_cast<double>(tile::k_tile_px));
}

/// Whether the place that a candidate's most probable tile gives could lie in another tile, within the same limits. Without it a
/// certain source would swallow a neighbour so faint that its own place is anywhere.
bool could_lie_in(const Candidate& candidate, const TileIndex& tile) {
    const auto near = [](const Moments& at_px, std::int32_t index) {
        const double low_px = tile::k_tile_px * index - 0.5, high_px = low_px + tile::k_tile_px;
        return std::max(low_px - at_px.mean, at_px.mean - high_px) <= k_join_px + k_join_sigmas * at_px.sd;
    };
    return near(candidate.x_px, tile.col) && near(candidate.y_px, tile.row);
}

bool coincide(const Candidate& a, const Candidate& b) {
    return std::hypot(a.x_px.mean - b.x_px.mean, a.y_px.mean - b.y_px.mean) <= k_coincident_px;
}

/// The mixture of two posteriors; the tile of the stronger stays.
void absorb(Candidate& into, const Candidate& other) {
    into.parts.insert(into.parts.end(), other.parts.begin(), other.parts.end());
    into.p_source += other.p_source;
    into.p_apart += other.p_apart;
    into.tiles += other.tiles;
    into.multiple = into.multiple || other.multiple;
}

/// Probabilities of a Normal at its mean and one standard deviation below and above it.
constexpr double k_below = 0.15865525393145707, k_above = 1 - k_below;
/// Quantile .95 of the standard Normal.
constexpr double k_normal_95 = 1.6448536269514722;
/// Halvings of the interval a quantile is sought in: an interval of some tiles comes down to less than 1e-4 px.
constexpr int k_halvings = 18;

/// Quantiles of a distribution that lies on [low, high], by bisection.
template <class Cdf>
Marginal marginal(double low, double high, const Cdf& cdf) {
    const auto quantile = [&](double p) {
        double below = low, above = high;
        for (int i = 0; i < k_halvings; ++i) {
            const double middle = 0.5 * (below + above);
            (cdf(middle) < p ? below : above) = middle;
        }
        return 0.5 * (below + above);
    };
    return {quantile(0.5), 0.5 * (quantile(k_above) - quantile(k_below)), quantile(0.05), quantile(0.95)};
}

/// Mean and standard deviation of a tile's location along one axis, pixels; parameters as of marginal_px.
Moments moments_px(const Candidate& candidate, std::int32_t TileIndex::*index, double TilePart::*mean, double TilePart::*sd) {
    double total = 0, first = 0, second = 0;
    for (const TilePart& part : candidate.parts) {
        const auto of_part = encoder::truncated_normal_moments(part.*mean, part.*sd);
        total += part.weight;
        first += part.weight * of_part.mean;
        second += part.weight * (of_part.variance + of_part.mean * of_part.mean);
    }
    const double centre = first / total;
    const double variance = std::max(1e-12, second / total - centre * centre);
    return {tile::k_tile_px * (candidate.tile.*index + centre) - 0.5, tile::k_tile_px * std::sqrt(variance)};
}

/// Of a location along one axis, pixels. @param index, mean, sd of a part: its tile's row or column, its Normal
Marginal marginal_px(const Candidate& candidate, std::int32_t TileIndex::*index, double TilePart::*mean, double TilePart::*sd) {
    const auto [first, last] = std::ranges::minmax(candidate.parts, {}, [&](const TilePart& part) { return part.tile.*index; });
    struct Part {
        double weight, tile;
        encoder::TruncatedNormalCdf cdf;
    };
    std::vector<Part> parts;
    parts.reserve(candidate.parts.size());
    double total = 0;
    for (const TilePart& part : candidate.parts) {
        parts.push_back({part.weight, static_cast<double>(part.tile.*index), {part.*mean, part.*sd}});
        total += part.weight;
    }
    const Marginal tiles = marginal(first.tile.*index, last.tile.*index + 1, [&](double at) {
        double below = 0;
        for (const Part& part : parts) below += part.weight * part.cdf(std::clamp(at - part.tile, 0.0, 1.0));
        return below / total;
    });
    const auto px = [](double at) { return tile::k_tile_px * at - 0.5; };
    return {px(tiles.median), tile::k_tile_px * tiles.error, px(tiles.low), px(tiles.high)};
}

Marginal marginal_ln_flux(const Candidate& candidate) {
    if (candidate.parts.size() == 1) {
        const double mean = candidate.parts[0].ln_flux_mean, sd = candidate.parts[0].ln_flux_sd;
        return {mean, sd, mean - k_normal_95 * sd, mean + k_normal_95 * sd};
    }
    constexpr double k_reach = 3;  // no quantile sought lies farther from all parts, in standard deviations
    double low = std::numeric_limits<double>::infinity(), high = -low, total = 0;
    for (const TilePart& part : candidate.parts) {
        low = std::min(low, part.ln_flux_mean - k_reach * part.ln_flux_sd);
        high = std::max(high, part.ln_flux_mean + k_reach * part.ln_flux_sd);
        total += part.weight;
    }
    return marginal(low, high, [&](double at) {
        double below = 0;
        for (const TilePart& part : candidate.parts) {
            below += 0.5 * part.weight * std::erfc((part.ln_flux_mean - at) / (part.ln_flux_sd * std::numbers::sqrt2));
        }
        return below / total;
    });
}

}  // namespace

double retarget(double p_source, double rate_ratio) { return rate_ratio * p_source / (1 - p_source + rate_ratio * p_source); }

FieldSources find_sources(const encoder::TilePosterior& posterior, double rate_ratio, double floor) {
    const double trained_floor = retarget(floor, 1 / rate_ratio);
    Detections found;
    // Elementwise functions round differently where a thread's share ends, so they run on one thread.
    tile::for_each_on_one_thread(
        1, [&](std::int64_t) { found = list_candidates(posterior, rate_ratio, k_share_before_joining * trained_floor); });
    const std::vector<Candidate> joined = join_across_borders(found.candidates, trained_floor);
    FieldSources field{std::vector<Source>(joined.size()), found.expected_sources};
    tile::for_each_on_one_thread(std::ssize(joined), [&](std::int64_t i) {
        const auto k = static_cast<std::size_t>(i);
        field.sources[k] = summarize(joined[k]);
        const bool alone = joined[k].tiles == 1;
        field.sources[k].p_source = alone ? std::min(joined[k].p_apart, k_certain) : retarget(joined[k].p_source, rate_ratio);
    });
    for (std::size_t k = 0; k < joined.size(); ++k) field.expected_sources += field.sources[k].p_source - joined[k].p_apart;
    return field;
}

Detections list_candidates(const encoder::TilePosterior& posterior, double rate_ratio, double floor) {
    const at::Tensor p = torch::softmax(posterior.count_logits[0], 0);  // (M + 1, T_h, T_w)
    const at::Tensor p_retargeted = torch::softmax(retarget_rate(posterior.count_logits, rate_ratio)[0], 0);
    const std::int64_t max_sources = p.size(0) - 1;
    const at::Tensor counts = torch::arange(max_sources + 1, torch::kFloat).view({-1, 1, 1});
    // P(count > m) for m = 0 ... M - 1: the probability that slot m holds a source.
    const auto exceedance = [&](const at::Tensor& of) {
        return (1 - torch::cumsum(of, 0)).slice(0, 0, max_sources).clamp(0, 1).contiguous();
    };
    const at::Tensor exceed = exceedance(p), exceed_retargeted = exceedance(p_retargeted);
    const at::Tensor mode = torch::argmax(p_retargeted, 0).contiguous();

    Detections out;
    // Summed here, one after the other: a parallel sum depends on the number of threads.
    const at::Tensor per_tile = (p_retargeted * counts).sum(0).contiguous();
    for (std::int64_t k = 0; k < per_tile.numel(); ++k) out.expected_sources += per_tile.data_ptr<float>()[k];
    const auto prob = exceed.accessor<float, 3>(), prob_retargeted = exceed_retargeted.accessor<float, 3>();
    const auto mode_at = mode.accessor<std::int64_t, 2>();
    const auto at = [](const at::Tensor& t) { return t[0].contiguous(); };
    const at::Tensor weight = at(posterior.log_weight).exp(), u_mean = at(posterior.u_mean), u_sd = at(posterior.u_sd),
                     v_mean = at(posterior.v_mean), v_sd = at(posterior.v_sd), f_mean = at(posterior.ln_flux_mean),
                     f_sd = at(posterior.ln_flux_sd);  // (M, C, T_h, T_w)
    const auto ws = weight.accessor<float, 4>(), um = u_mean.accessor<float, 4>(), us = u_sd.accessor<float, 4>(),
               vm = v_mean.accessor<float, 4>(), vs = v_sd.accessor<float, 4>(), fm = f_mean.accessor<float, 4>(),
               fs = f_sd.accessor<float, 4>();
    for (std::int64_t row = 0; row < p.size(1); ++row) {
        for (std::int64_t col = 0; col < p.size(2); ++col) {
            for (std::int64_t m = 0; m < max_sources; ++m) {
                if (!(prob[m][row][col] >= floor)) break;
                Candidate c;
                c.tile = {static_cast<std::int32_t>(row), static_cast<std::int32_t>(col)};
                c.slot = static_cast<std::int32_t>(m);
                c.p_source = prob[m][row][col];
                c.p_apart = prob_retargeted[m][row][col];
                for (std::int64_t k = 0; k < u_mean.size(1); ++k) {
                    c.parts.push_back({c.tile, c.p_source * ws[m][k][row][col], um[m][k][row][col], us[m][k][row][col], vm[m][k][row][col],
                                       vs[m][k][row][col], fm[m][k][row][col], fs[m][k][row][col]});
                }
                c.x_px = moments_px(c, &TileIndex::col, &TilePart::u_mean, &TilePart::u_sd);
                c.y_px = moments_px(c, &TileIndex::row, &TilePart::v_mean, &TilePart::v_sd);
                c.multiple = mode_at[row][col] > 1;
                out.candidates.push_back(c);
            }
        }
    }
    return out;
}

Source summarize(const Candidate& candidate) {
    return {.tile = candidate.tile,
            .slot = candidate.slot,
            .p_source = candidate.p_source,
            .x_px = marginal_px(candidate, &TileIndex::col, &TilePart::u_mean, &TilePart::u_sd),
            .y_px = marginal_px(candidate, &TileIndex::row, &TilePart::v_mean, &TilePart::v_sd),
            .ln_flux_e = marginal_ln_flux(candidate),
            .merged = candidate.tiles > 1,
            .multiple = candidate.multiple};
}

std::vector<Candidate> join_across_borders(const std::vector<Candidate>& candidates, double floor) {
    const Grid grid{candidates};
    std::vector<std::size_t> order(candidates.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return candidates[a].p_source > candidates[b].p_source; });
    std::vector<char> taken(candidates.size(), 0);
    std::vector<Candidate> joined;
    for (const std::size_t k : order) {
        if (taken[k]) continue;
        taken[k] = 1;
        Candidate source = candidates[k];
        std::vector<std::size_t> neighbours;
        for (std::int32_t row = source.tile.row - 1; row <= source.tile.row + 1; ++row) {
            for (std::int32_t col = source.tile.col - 1; col <= source.tile.col + 1; ++col) {
                const auto found = grid.of_tile.find({row, col});
                if (found == grid.of_tile.end() || (row == source.tile.row && col == source.tile.col)) continue;
                if (!could_lie_in(source, {row, col})) continue;
                for (const std::size_t other : found->second) {
                    if (!taken[other] && same_source(source, candidates[other])) neighbours.push_back(other);
                }
            }
        }
        std::stable_sort(neighbours.begin(), neighbours.end(),
                         [&](std::size_t a, std::size_t b) { return candidates[a].p_source > candidates[b].p_source; });
        for (const std::size_t other : neighbours) {
            const bool too_much = source.p_source + candidates[other].p_source > k_join_probability;
            if (too_much && !coincide(source, candidates[other])) continue;
            absorb(source, candidates[other]);
            taken[other] = 1;
        }
        source.p_source = std::min(source.p_source, k_certain);
        if (source.p_source >= floor) joined.push_back(source);
    }
    std::sort(joined.begin(), joined.end(), [](const Candidate& a, const Candidate& b) {
        return std::tie(a.tile, a.slot) < std::tie(b.tile, b.slot);
    });
    return joined;
}

}  // namespace bliss::inference
