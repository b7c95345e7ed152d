#pragma once

#include "batch.hpp"
#include "bliss/training/losses.hpp"
#include "gradient_sums.hpp"

#include <span>
#include <vector>

namespace bliss::training {

/// Sums of losses over some images, nats, and what they are divided by.
struct LossSums {
    double count = 0, location = 0, flux = 0, type = 0, shape = 0;
    double tiles = 0, sources = 0, galaxies = 0;
    double not_finite = 0;  ///< 1 where a loss or a gradient was not finite: then the gradients are left out

    void add(const LossSums& other);
};

/// Images that are computed together, on one thread; what is known of them between the networks.
struct Piece {
    Batch batch;
    encoder::TilePosterior posterior;  ///< of the detection encoder, without gradients
    LossSums sums;
};

/// Gradients of a mean loss a tile are added up to multiples of 2^-40.
inline constexpr int k_gradient_bits = 40;

/// Each network by its place in lists of networks.
enum NetworkKind : std::size_t { detection_network, source_network };

/// The networks of one thread: the weights are those of all threads, the gradients its own. Not for two threads at once.
class Learner {
public:
    /// @param latents of the learnt galaxies, or 0 @param parameters of each network, by kind; where they are, all is computed
    Learner(const TrainingConfig& config, std::int64_t latents, std::span<const FlatParameters> parameters, bool bfloat16);

    /// What the sums of gradients are divided by: numbers of the whole step, not of a piece.
    struct Whole {
        double tiles = 1, sources = 1;
    };
    /// Both compute a piece's losses and, where `whole` is given, add the gradients of their part of the mean loss. First `detect`, then
    /// `describe_sources`: types and shapes.
    void detect(Piece& piece, const Whole* whole);
    void describe_sources(Piece& piece, const Whole* whole);

    /// Gradients since the last `clear`, of a network.
    [[nodiscard]] const GradientSums& gradients(NetworkKind kind) const { return gradients_[kind].sums(); }
    void clear();

private:
    /// Backward, and the gradients into their sum.
    void learn(NetworkKind kind, const at::Tensor& loss, Piece& piece);

    const TrainingConfig& config_;
    bool bfloat16_;
    c10::Device device_;
    encoder::DetectionEncoder detection_{nullptr};
    encoder::SourceEncoder sources_{nullptr};
    std::vector<ThreadGradients> gradients_;  ///< of each network
};

}  // namespace bliss::training
