#pragma once

#include "batch.hpp"
#include "bliss/comm/communicator.hpp"
#include "bliss/training/trainer.hpp"

#include <vector>

namespace bliss::training {

/// Fits what corrects the widths of places and fluxes by brightness, and nothing else, by maximum likelihood on many simulated sources.
///
/// Training steps see few bright sources, and widths that are right for weights that jitter from step to step are too wide for their
/// average: here the averaged network is asked once, and its answers to all sources fit a handful of numbers. Rank 0 fits, on one thread,
/// to the answers of all ranks in the order of the images: the bits do not depend on ranks and threads.
class WidthStage {
public:
    /// @param network whose widths are fitted, on any device
    WidthStage(encoder::DetectionEncoder network, const encoder::EncoderConfig& config);

    /// What the network says of some sources, those alone in their tile.
    struct Answers {
        std::vector<float> raw;       ///< of each source the outputs of the head
        std::vector<float> ln_noise;  ///< of its image
        std::vector<LabelledSource> sources;
    };
    [[nodiscard]] Answers ask(const Batch& batch) const;

    /// @param answers this rank's, by image; lower ranks have earlier images @collective
    WidthReport fit(const std::vector<Answers>& answers, const comm::Communicator& comm);

private:
    WidthReport search(const Answers& all);

    encoder::DetectionEncoder network_;
    encoder::DetectionEncoder on_host_;  ///< its width terms alone, for the search
};

}  // namespace bliss::training
