#include "bliss/training/losses.hpp"

#include "bliss/encoder/distributions.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <numeric>

namespace bliss::training {
namespace {

/// Sources of the tiles that hold exactly n: n source numbers for each tile.
using TilesOfCount = std::vector<std::vector<std::size_t>>;

std::map<std::size_t, TilesOfCount> group_by_count(const Labels& labels) {
    std::map<std::int64_t, std::vector<std::size_t>> tiles;
    for (std::size_t k = 0; k < labels.sources.size(); ++k) tiles[labels.sources[k].tile].push_back(k);
    std::map<std::size_t, TilesOfCount> groups;
    for (auto& [tile, members] : tiles) groups[members.size()].push_back(std::move(members));
    return groups;
}

/// ln q of each of a tile's n sources under each of the n slots of that count: of its location, and of location and flux. Each (tiles,
/// sources, slots).
struct SlotLikelihoods {
    at::Tensor location;
    at::Tensor both;
};

SlotLikelihoods slot_likelihoods(const encoder::TilePosterior& q, const Labels& labels, const TilesOfCount& tiles, std::size_t sources) {
    const std::int64_t count = std::ssize(tiles), n = static_cast<std::int64_t>(sources), first = encoder::slot_index(n, 0);
    at::Tensor tile = torch::empty({count}, torch::kLong);
    at::Tensor truth = torch::empty({3, count, n, 1, 1});  // u, v, ln flux of (tiles, sources), to be held against slots and their parts
    for (std::int64_t i = 0; i < count; ++i) {
        const std::vector<std::size_t>& members = tiles[static_cast<std::size_t>(i)];
        tile.data_ptr<std::int64_t>()[i] = labels.sources[members.front()].tile;
        for (std::int64_t k = 0; k < n; ++k) {
            const LabelledSource& s = labels.sources[members[static_cast<std::size_t>(k)]];
            const float numbers[] = {s.u, s.v, s.ln_flux_e};
            for (std::int64_t j = 0; j < 3; ++j) truth.data_ptr<float>()[(j * count + i) * n + k] = numbers[j];
        }
    }
    tile = tile.to(q.u_mean.device());
    truth = truth.to(q.u_mean.device());
    const auto pick = [&](const at::Tensor& parameter) {  // (tiles, 1, slots, C)
        return parameter.slice(1, first, first + n).index_select(0, tile).unsqueeze(1);
    };
    const at::Tensor log_weight = pick(q.log_weight);
    const at::Tensor location = encoder::log_truncated_normal(truth[0], pick(q.u_mean), pick(q.u_sd)) +
                                encoder::log_truncated_normal(truth[1], pick(q.v_mean), pick(q.v_sd)) + log_weight;
    const at::Tensor flux = encoder::log_normal_above(truth[2], pick(q.ln_flux_mean), pick(q.ln_flux_sd), q.ln_flux_low);
    return {torch::logsumexp(location, 3), torch::logsumexp(location + flux, 3)};
}

/// ln of the mean over orderings of the product of slot likelihoods. @param of_source_in_slot (tiles, n, n) @return (tiles)
at::Tensor log_likelihood_of_sets(const at::Tensor& of_source_in_slot) {
    const auto n = static_cast<std::size_t>(of_source_in_slot.size(1));
    std::vector<std::int64_t> order(n);
    std::iota(order.begin(), order.end(), std::int64_t{0});
    std::vector<at::Tensor> orderings;
    const std::vector<at::Tensor> of_source = of_source_in_slot.unbind(1);
    do {
        at::Tensor product = of_source[0].select(1, order[0]);
        for (std::size_t source = 1; source < n; ++source) product = product + of_source[source].select(1, order[source]);
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
        const SlotLikelihoods of = slot_likelihoods(q, labels, tiles, n);
        if (n == 1) {
            loss.location = loss.location - of.location.sum();
            loss.flux = loss.flux - (of.both - of.location).sum();
        } else {
            loss.location = loss.location - log_likelihood_of_sets(of.both).sum();
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
