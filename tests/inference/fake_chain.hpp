#pragma once

#include "bliss/inference/turns.hpp"

#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <limits>

namespace bliss::test {

/// What one tile says: probabilities of its counts, and where and how bright a source is.
struct Says {
    std::vector<double> counts;
    double u = 0.5, v = 0.5, sd = 0.05;
    double ln_flux = 8;
    double u_step = 0;  ///< each slot's place is this much to the right of the one before, through the slots of all counts
};

/// Standard deviation of ln flux, whatever it says.
constexpr double k_ln_flux_sd = 0.1;

/// A chain that answers by a rule in place of a network.
class FakeChain : public inference::TileChain {
public:
    /// @param told sources of a tile's neighbour at (row, col) offset, if it is of an earlier turn and holds any
    struct Told {
        const float* context;
        std::int64_t reach, max_sources;

        /// Whether a neighbour's turn was earlier.
        [[nodiscard]] bool known(std::int64_t row, std::int64_t col) const { return at(row, col)[0] != 0; }
        /// Whether it holds a source.
        [[nodiscard]] bool source(std::int64_t row, std::int64_t col) const { return at(row, col)[1] != 0; }

    private:
        [[nodiscard]] const float* at(std::int64_t row, std::int64_t col) const {
            const std::int64_t side = 2 * reach + 1, place = (row + reach) * side + col + reach;
            return context + (place > side * side / 2 ? place - 1 : place) * (1 + 4 * max_sources);
        }
    };
    using Rule = std::function<Says(const TileIndex&, const Told&)>;

    FakeChain(const Shape& shape, Rule rule, double ln_flux_low = -std::numeric_limits<double>::infinity(), std::vector<char> seen = {})
        : TileChain{shape, std::move(seen)}, rule_{std::move(rule)}, ln_flux_low_{ln_flux_low} {}

    using TileChain::ask;
    [[nodiscard]] inference::TileReader ask(const std::vector<TileIndex>& tiles, const std::vector<float>& contexts) const override {
        const std::int64_t n = std::ssize(tiles), m = shape().max_sources, slots = encoder::slot_count(m);
        const std::int64_t length = encoder::context_length(shape().reach, m);
        encoder::TilePosterior q;
        q.count_logits = torch::empty({n, m + 1});
        for (at::Tensor* const t : {&q.log_weight, &q.u_mean, &q.u_sd, &q.v_mean, &q.v_sd, &q.ln_flux_mean, &q.ln_flux_sd}) {
            *t = torch::zeros({n, slots, 1});
        }
        for (std::int64_t k = 0; k < n; ++k) {
            const Says says = rule_(tiles[static_cast<std::size_t>(k)], {contexts.data() + k * length, shape().reach, m});
            for (std::int64_t c = 0; c <= m; ++c) q.count_logits[k][c] = std::log(says.counts[static_cast<std::size_t>(c)]);
            for (std::int64_t slot = 0; slot < slots; ++slot) q.u_mean[k][slot] = says.u + says.u_step * static_cast<double>(slot);
            q.v_mean[k].fill_(says.v);
            q.u_sd[k].fill_(says.sd);
            q.v_sd[k].fill_(says.sd);
            q.ln_flux_mean[k].fill_(says.ln_flux);
            q.ln_flux_sd[k].fill_(k_ln_flux_sd);
        }
        q.ln_flux_low = ln_flux_low_;
        return {q, shape().tile_px};
    }

private:
    Rule rule_;
    double ln_flux_low_;
};

}  // namespace bliss::test
