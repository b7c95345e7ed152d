#include "bliss/training/losses.hpp"

#include "bliss/encoder/distributions.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <numeric>

namespace bliss::training {
namespace {

/// Sources of the tiles that hold exactly n: n columns of source numbers, one row a tile.
using TilesOfCount = std::vector<std::vector<std::size_t>>;

std::map<std::size_t, TilesOfCount> group_by_count(const Labels& labels) {
    std::map<std::int64_t, std::vector<std::size_t>> tiles;
    for (std::size_t k = 0; k < labels.sources.size(); ++k) tiles[labels.sources[k].tile].push_back(k);
    std::map<std::size_t, TilesOfCount> groups;
    for (auto& [tile, members] : tiles) groups[members.size()].push_back(std::move(members));
    return groups;
}

/// ln q of source s under slot m, for the sources named: of its location, and of its flux given the location. Each (n).
struct SlotLikelihood {
    at::Tensor location;
    at::Tensor flux;
};

/// @param slot place of the slot among those of all counts
SlotLikelihood slot_likelihood(const encoder::TilePosterior& q, const Labels& labels, const std::vector<std::size_t>& which,
                               std::int64_t slot) {
    const auto n = static_cast<std::int64_t>(which.size());
    at::Tensor tile = torch::empty({n}, torch::kLong);
    at::Tensor truth = torch::empty({3, n, 1});
    std::int64_t* const tile_at = tile.data_ptr<std::int64_t>();
    auto truth_at = truth.accessor<float, 3>();
    for (std::int64_t i = 0; i < n; ++i) {
        const LabelledSource& s = labels.sources[which[static_cast<std::size_t>(i)]];
        tile_at[i] = s.tile;
        truth_at[0][i][0] = s.u;
        truth_at[1][i][0] = s.v;
        truth_at[2][i][0] = s.ln_flux_e;
    }
    tile = tile.to(q.u_mean.device());
    truth = truth.to(q.u_mean.device());
    const auto pick = [&](const at::Tensor& parameter) { return parameter.select(1, slot).index_select(0, tile); };  // (n, C)
    const at::Tensor log_weight = pick(q.log_weight);
    const at::Tensor location = encoder::log_truncated_normal(truth[0], pick(q.u_mean), pick(q.u_sd)) +
                                encoder::log_truncated_normal(truth[1], pick(q.v_mean), pick(q.v_sd));
    const at::Tensor flux = encoder::log_normal_above(truth[2], pick(q.ln_flux_mean), pick(q.ln_flux_sd), q.ln_flux_low);
    const at::Tensor marginal = torch::logsumexp(log_weight + location, 1);
    return {marginal, torch::logsumexp(log_weight + location + flux, 1) - marginal};
}

std::vector<std::size_t> column(const TilesOfCount& tiles, std::size_t k) {
    std::vector<std::size_t> out;
    for (const auto& tile : tiles) out.push_back(tile[k]);
    return out;
}

/// ln of the mean over orderings of the product of slot likelihoods. @return (tiles)
at::Tensor log_likelihood_of_set(const encoder::TilePosterior& q, const Labels& labels, const TilesOfCount& tiles, std::size_t n) {
    std::vector<std::vector<at::Tensor>> of_source_in_slot(n);
    for (std::size_t source = 0; source < n; ++source) {
        for (std::size_t slot = 0; slot < n; ++slot) {
            const SlotLikelihood one = slot_likelihood(
                q, labels, column(tiles, source), encoder::slot_index(static_cast<std::int64_t>(n), static_cast<std::int64_t>(slot)));
            of_source_in_slot[source].push_back(one.location + one.flux);
        }
    }
    std::vector<std::size_t> order(n);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::vector<at::Tensor> orderings;
    do {
        at::Tensor product = of_source_in_slot[0][order[0]];
        for (std::size_t source = 1; source < n; ++source) product = product + of_source_in_slot[source][order[source]];
        orderings.push_back(product);
    } while (std::next_permutation(order.begin(), order.end()));
    return torch::logsumexp(torch::stack(orderings), 0) - std::log(static_cast<double>(orderings.size()));
}

}  // namespace

DetectionLoss detection_loss(const encoder::TilePosterior& q, const Labels& labels) {
    DetectionLoss loss;
    loss.count = torch::nn::functional::cross_entropy(q.count_logits, labels.count.to(q.count_logits.device()),
                                                      torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum));
    loss.location = torch::zeros({}, q.u_mean.options().requires_grad(false));
    loss.flux = torch::zeros_like(loss.location);
    for (const auto& [n, tiles] : group_by_count(labels)) {
        if (n == 1) {
            const SlotLikelihood one = slot_likelihood(q, labels, column(tiles, 0), encoder::slot_index(1, 0));
            loss.location = loss.location - one.location.sum();
            loss.flux = loss.flux - one.flux.sum();
        } else {
            loss.location = loss.location - log_likelihood_of_set(q, labels, tiles, n).sum();
        }
    }
    return loss;
}

at::Tensor type_loss(const at::Tensor& logits, const at::Tensor& is_star, const at::Tensor& weight) {
    return torch::binary_cross_entropy_with_logits(logits, is_star, weight, {}, at::Reduction::Sum);
}

at::Tensor shape_loss(const encoder::ShapePosterior& q, const at::Tensor& latents, const at::Tensor& is_star, const at::Tensor& weight) {
    return -(weight * (1 - is_star) * q.log_density(latents)).sum();
}

}  // namespace bliss::training
