#pragma once

#include "bliss/encoder/detection.hpp"
#include "bliss/training/labels.hpp"

namespace bliss::training {

/// Sums over a batch of the exact negative log-likelihood -ln q(z | x), by factor, nats. Scalars, differentiable.
struct DetectionLoss {
    at::Tensor count;     ///< over tiles
    at::Tensor location;  ///< over labelled sources
    at::Tensor flux;      ///< over labelled sources
};

/// Forward amortized variational inference (paper section 3.2): the expected forward Kullback-Leibler divergence is, up to a
/// constant, the mean of -ln q(z | x) over simulated (z, x); q of a tile is told of what its neighbours hold. A tile with several sources is a set: its likelihood is the sum
/// over the orderings, divided by their number; `flux` is then 0 and `location` holds both factors of such tiles.
[[nodiscard]] DetectionLoss detection_loss(const encoder::TilePosterior& q, const Labels& labels);

}  // namespace bliss::training
