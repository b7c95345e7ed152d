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
    /// Sources that are asked about at once, each as the only tile of an image of its own.
    struct Part {
        at::Tensor raw;                       ///< (n, 1, K) outputs of the head
        encoder::ImageConditions conditions;  ///< ln_noise alone
        Labels labels;
    };

    void close_part();

    encoder::DetectionEncoder network_;
    std::vector<at::Tensor> raw_, ln_noise_;  ///< of the batches of the next part: (n, K), (n, 1)
    std::vector<LabelledSource> sources_;     ///< theirs; the tile is the place among them
    std::vector<Part> parts_;
    double kept_ = 0;  ///< sources of all parts
};

}  // namespace bliss::training
