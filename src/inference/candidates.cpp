#include "bliss/inference/candidates.hpp"

#include "bliss/encoder/distributions.hpp"
#include "bliss/inference/posterior.hpp"
#include "bliss/tile/grid.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
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
    const double dx = a.x_px - b.x_px;
    const double dy = a.y_px - b.y_px;
    const double limit = k_join_px + k_join_sigmas * std::sqrt(std::max(a.x_variance + b.x_variance, a.y_variance + b.y_variance));
    return std::hypot(dx, dy) <= std::min(limit, static_cast<double>(tile::k_tile_px));
}

/// The mixture of two posteriors by their probabilities; place and tile of the stronger stay.
void absorb(Candidate& into, const Candidate& other) {
    const double total = into.p_source + other.p_source;
    const double w = other.p_source / total;
    const auto mix = [w](double& mean, double& variance, double other_mean, double other_variance) {
        const double difference = other_mean - mean;
        variance = (1 - w) * variance + w * other_variance + w * (1 - w) * difference * difference;
        mean += w * difference;
    };
    mix(into.x_px, into.x_variance, other.x_px, other.x_variance);
    mix(into.y_px, into.y_variance, other.y_px, other.y_variance);
    mix(into.ln_flux_mean, into.ln_flux_variance, other.ln_flux_mean, other.ln_flux_variance);
    into.p_source = total;
    into.p_apart += other.p_apart;
    into.merged = true;
    into.multiple = into.multiple || other.multiple;
}

}  // namespace

double retarget(double p_source, double rate_ratio) { return rate_ratio * p_source / (1 - p_source + rate_ratio * p_source); }

Detections find_sources(const encoder::TilePosterior& posterior, double rate_ratio, double floor) {
    const double trained_floor = retarget(floor, 1 / rate_ratio);
    Detections found = list_candidates(posterior, rate_ratio, k_share_before_joining * trained_floor);
    found.candidates = join_across_borders(found.candidates, trained_floor);
    for (Candidate& candidate : found.candidates) {
        candidate.p_source = retarget(candidate.p_source, rate_ratio);
        found.expected_sources += candidate.p_source - candidate.p_apart;
    }
    return found;
}

Detections list_candidates(const encoder::TilePosterior& posterior, double rate_ratio, double floor) {
    const at::Tensor p = torch::softmax(posterior.count_logits[0], 0);  // (M + 1, T_h, T_w)
    const at::Tensor p_retargeted = torch::softmax(retarget_rate(posterior.count_logits, rate_ratio)[0], 0);
    const std::int64_t max_sources = p.size(0) - 1;
    const at::Tensor counts = torch::arange(max_sources + 1, torch::kFloat).view({-1, 1, 1});
    // P(count > m) for m = 0 ... M - 1: the probability that slot m holds a source.
    const at::Tensor exceed = (1 - torch::cumsum(p, 0)).slice(0, 0, max_sources).clamp(0, 1).contiguous();
    const at::Tensor mode = torch::argmax(p, 0).contiguous();

    Detections out;
    // Summed here, one after the other: a parallel sum depends on the number of threads.
    const at::Tensor per_tile = (p_retargeted * counts).sum(0).contiguous();
    for (std::int64_t k = 0; k < per_tile.numel(); ++k) out.expected_sources += per_tile.data_ptr<float>()[k];
    const auto prob = exceed.accessor<float, 3>();
    const auto mode_at = mode.accessor<std::int64_t, 2>();
    const auto at = [](const at::Tensor& t) { return t[0].contiguous(); };
    const at::Tensor u_mean = at(posterior.u_mean), u_sd = at(posterior.u_sd), v_mean = at(posterior.v_mean),
                     v_sd = at(posterior.v_sd), f_mean = at(posterior.ln_flux_mean), f_sd = at(posterior.ln_flux_sd);
    const auto um = u_mean.accessor<float, 3>(), us = u_sd.accessor<float, 3>(), vm = v_mean.accessor<float, 3>(),
               vs = v_sd.accessor<float, 3>(), fm = f_mean.accessor<float, 3>(), fs = f_sd.accessor<float, 3>();
    for (std::int64_t row = 0; row < p.size(1); ++row) {
        for (std::int64_t col = 0; col < p.size(2); ++col) {
            for (std::int64_t m = 0; m < max_sources; ++m) {
                if (prob[m][row][col] < floor) break;
                const auto u = encoder::truncated_normal_moments(um[m][row][col], us[m][row][col]);
                const auto v = encoder::truncated_normal_moments(vm[m][row][col], vs[m][row][col]);
                Candidate c;
                c.tile = {static_cast<std::int32_t>(row), static_cast<std::int32_t>(col)};
                c.slot = static_cast<std::int32_t>(m);
                c.p_source = prob[m][row][col];
                c.p_apart = retarget(c.p_source, rate_ratio);
                c.x_px = tile::x_of({c.tile, u.mean, v.mean});
                c.y_px = tile::y_of({c.tile, u.mean, v.mean});
                c.x_variance = u.variance * tile::k_tile_px * tile::k_tile_px;
                c.y_variance = v.variance * tile::k_tile_px * tile::k_tile_px;
                c.ln_flux_mean = fm[m][row][col];
                c.ln_flux_variance = static_cast<double>(fs[m][row][col]) * fs[m][row][col];
                c.multiple = mode_at[row][col] > 1;
                out.candidates.push_back(c);
            }
        }
    }
    return out;
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
                for (const std::size_t other : found->second) {
                    if (!taken[other] && same_source(source, candidates[other])) neighbours.push_back(other);
                }
            }
        }
        std::stable_sort(neighbours.begin(), neighbours.end(),
                         [&](std::size_t a, std::size_t b) { return candidates[a].p_source > candidates[b].p_source; });
        for (const std::size_t other : neighbours) {
            if (source.p_source + candidates[other].p_source > k_join_probability) continue;
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
