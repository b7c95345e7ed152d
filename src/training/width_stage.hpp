#pragma once

#include "batch.hpp"
#include "bliss/comm/communicator.hpp"
#include "bliss/training/trainer.hpp"

#include <vector>

namespace bliss::training {

/// Fits what corrects the widths of places and fluxes by brightness, and nothing else, by maximum likelihood on many simulated sources.
///
/// Training steps see few bright sources, and widths that are right for weights that jitter from step to step are too wide for their
/// average: here the averaged network is asked once, and its answers to all sources fit a handful of numbers.
class WidthStage {
public:
    explicit WidthStage(encoder::DetectionEncoder network) : network_{std::move(network)} {}

    /// Keeps what the network says of a batch's sources that are alone in their tile.
    void add(const Batch& batch);

    /// @collective
    WidthReport fit(const comm::Communicator& comm);

private:
    encoder::DetectionEncoder network_;
    std::vector<at::Tensor> raw_, ln_noise_;   ///< of each batch: (n, K) outputs of the head, (n, 1)
    std::vector<LabelledSource> sources_;      ///< in their order; the tile is the place among them
};

}  // namespace bliss::training
