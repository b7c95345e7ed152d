#pragma once

#include "bliss/encoder/detection.hpp"
#include "bliss/encoder/shape_head.hpp"
#include "bliss/training/labels.hpp"

namespace bliss::training {

/// Sums over a batch of the exact negative log-likelihood -ln q(z | x), by factor, nats. Scalars, differentiable.
struct DetectionLoss {
    at::Tensor count;     ///< over tiles
    at::Tensor location;  ///< over labelled sources
    at::Tensor flux;      ///< over labelled sources
};

/// Forward amortized variational inference (paper section 3.2): the expected forward Kullback-Leibler divergence is, up to a
/// constant, the mean of -ln q(z | x) over simulated (z, x); q of a tile is told of what its neighbours hold. A tile with several
/// sources is a set: its likelihood is the sum over the orderings, divided by their number; `flux` is then 0 and `location` holds both
/// factors of such tiles.
[[nodiscard]] DetectionLoss detection_loss(const encoder::TilePosterior& q, const Labels& labels);

/// -ln q of the types of n sources, summed. @param logits (n) of a star @param is_star (n) 1 or 0
/// @param weight (n) how many sources each stands for
[[nodiscard]] at::Tensor type_loss(const at::Tensor& logits, const at::Tensor& is_star, const at::Tensor& weight);

/// -ln q of the shape latents of those of n sources that are galaxies, summed. @param latents (n, D - 1), of stars any finite numbers
[[nodiscard]] at::Tensor shape_loss(const encoder::ShapePosterior& q, const at::Tensor& latents, const at::Tensor& is_star,
                                    const at::Tensor& weight);

}  // namespace bliss::training
