#include "bliss/inference/candidates.hpp"

#include "bliss/encoder/distributions.hpp"
#include "bliss/encoder/slot_moments.hpp"
#include "bliss/tile/one_thread.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace bliss::inference {
namespace {

/// Two tiles speak of one source where their locations differ by at most this many standard deviations of the difference,
/// plus a tenth of a tile for what truncation at the border hides.
constexpr double k_join_sigmas = 3;
constexpr double k_join_tiles = 0.1;

/// Probabilities of a Normal at its mean and one standard deviation below and above it.
constexpr double k_below = 0.15865525393145707, k_above = 1 - k_below;
/// Halvings of the interval a quantile is sought in: an interval of some tiles comes down to less than 1e-4 px.
constexpr int k_halvings = 18;

/// Quantile of sorted values, between them by lines.
double quantile(const std::vector<double>& sorted, double p) {
    const double at = std::clamp(p * static_cast<double>(sorted.size()) - 0.5, 0.0, static_cast<double>(sorted.size()) - 1.0);
    const auto below = static_cast<std::size_t>(at);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

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

/// Of a location along one axis, pixels. @param index, mean, sd of a part: its tile's row or column, its Normal
Marginal marginal_px(const Candidate& candidate, std::int64_t tile_px, std::int32_t TileIndex::*index, double TilePart::*mean,
                     double TilePart::*sd) {
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
    const auto side = static_cast<double>(tile_px);
    const auto px = [&](double at) { return side * at - 0.5; };
    return {px(tiles.median), side * tiles.error, px(tiles.low), px(tiles.high)};
}

Marginal marginal_ln_flux(const Candidate& candidate) {
    constexpr double k_reach = 3;  // no quantile sought lies farther from all parts, in standard deviations
    struct Part {
        double weight;
        encoder::NormalAbove normal;
    };
    std::vector<Part> parts;
    parts.reserve(candidate.parts.size());
    double low = std::numeric_limits<double>::infinity(), high = -low, total = 0;
    for (const TilePart& part : candidate.parts) {
        parts.push_back({part.weight, {part.ln_flux_mean, part.ln_flux_sd, part.ln_flux_low}});
        low = std::min(low, std::max(part.ln_flux_low, part.ln_flux_mean - k_reach * part.ln_flux_sd));
        high = std::max(high, std::max(part.ln_flux_low, part.ln_flux_mean) + k_reach * part.ln_flux_sd);
        total += part.weight;
    }
    return marginal(low, high, [&](double at) {
        double below = 0;
        for (const Part& part : parts) below += part.weight * part.normal.cdf(at);
        return below / total;
    });
}

}  // namespace

Marginal marginal_of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return {quantile(values, 0.5), 0.5 * (quantile(values, k_above) - quantile(values, k_below)), quantile(values, 0.05),
            quantile(values, 0.95)};
}

TileReader::TileReader(const encoder::TilePosterior& q, std::int64_t tile_px) : tile_px_{tile_px} {
    // Elementwise functions round differently where a thread's share ends, so they run on one thread.
    tile::for_each_on_one_thread(1, [&](std::int64_t) {
        q_ = q.plain();
        probabilities_ = torch::softmax(q_.count_logits, 1);
    });
}

std::vector<double> TileReader::probabilities(std::int64_t k) const {
    const std::int64_t n = probabilities_.size(1);
    const float* const p = probabilities_.data_ptr<float>() + k * n;
    return {p, p + n};
}

TileCount TileReader::count(std::int64_t k) const {
    const std::int64_t counts = probabilities_.size(1);
    const float* const p = probabilities_.data_ptr<float>() + k * counts;
    TileCount out;
    double at_least = 0;
    for (std::int64_t n = counts - 1; n > 0; --n) {
        out.expected += static_cast<double>(n) * p[n];
        at_least += p[n];
        if (at_least >= 0.5 && out.likely < n) out.likely = n;
    }
    out.any = at_least;
    return out;
}

std::vector<TilePart> TileReader::parts(std::int64_t k, const TileIndex& tile, std::int64_t n, std::int64_t m) const {
    const std::int64_t slots = q_.u_mean.size(1), parts = q_.u_mean.size(2);
    const std::int64_t first = (k * slots + encoder::slot_index(n, m)) * parts;
    const auto at = [&](const at::Tensor& t, std::int64_t c) { return static_cast<double>(t.data_ptr<float>()[first + c]); };
    std::vector<TilePart> out;
    out.reserve(static_cast<std::size_t>(parts));
    for (std::int64_t c = 0; c < parts; ++c) {
        out.push_back({tile, std::exp(at(q_.log_weight, c)), at(q_.u_mean, c), at(q_.u_sd, c), at(q_.v_mean, c), at(q_.v_sd, c),
                       at(q_.ln_flux_mean, c), at(q_.ln_flux_sd, c), q_.ln_flux_low});
    }
    return out;
}

Candidate TileReader::claim(std::int64_t k, const TileIndex& tile, std::int64_t n, std::int64_t m, double p_source) const {
    Candidate c;
    c.tile = tile;
    c.slot = static_cast<std::int32_t>(m);
    c.p_source = p_source;
    c.parts = parts(k, tile, n, m);
    for (TilePart& part : c.parts) part.weight *= p_source;
    const encoder::SlotMoments of = encoder::slot_moments(q_, k, encoder::slot_index(n, m));
    const auto side = static_cast<double>(tile_px_);
    c.x_px = {side * (tile.col + of.u.mean) - 0.5, side * of.u.sd};
    c.y_px = {side * (tile.row + of.v.mean) - 0.5, side * of.v.sd};
    c.ln_flux_e = {of.ln_flux.mean, of.ln_flux.sd};
    c.multiple = n > 1;
    return c;
}

std::vector<Candidate> TileReader::claims(std::int64_t k, const TileIndex& tile) const {
    const std::vector<double> p = probabilities(k);
    const std::int64_t n = count(k).likely;
    std::vector<Candidate> out;
    double more = 1 - p[0];
    for (std::int64_t m = 0; m < n; ++m) {
        out.push_back(claim(k, tile, n, m, more));
        more -= p[static_cast<std::size_t>(m) + 1];
    }
    return out;
}

bool same_source(const Candidate& a, const Candidate& b, std::int64_t tile_px) {
    const double dx = a.x_px.mean - b.x_px.mean, dy = a.y_px.mean - b.y_px.mean;
    const double error = std::max(std::hypot(a.x_px.sd, b.x_px.sd), std::hypot(a.y_px.sd, b.y_px.sd));
    const auto side = static_cast<double>(tile_px);
    return std::hypot(dx, dy) <= std::min(k_join_tiles * side + k_join_sigmas * error, side);
}

void absorb(Candidate& into, const Candidate& other, double share) {
    for (TilePart part : other.parts) {
        part.weight *= share;
        into.parts.push_back(part);
    }
    into.p_source += share * other.p_source;
    ++into.tiles;
    into.multiple = into.multiple || other.multiple;
}

Source summarize(const Candidate& candidate, std::int64_t tile_px) {
    return {.tile = candidate.tile,
            .slot = candidate.slot,
            .p_source = candidate.p_source,
            .x_px = marginal_px(candidate, tile_px, &TileIndex::col, &TilePart::u_mean, &TilePart::u_sd),
            .y_px = marginal_px(candidate, tile_px, &TileIndex::row, &TilePart::v_mean, &TilePart::v_sd),
            .ln_flux_e = marginal_ln_flux(candidate),
            .tile_x_px = candidate.x_px,
            .tile_y_px = candidate.y_px,
            .tile_ln_flux_e = candidate.ln_flux_e,
            .merged = candidate.tiles > 1,
            .multiple = candidate.multiple};
}

}  // namespace bliss::inference
