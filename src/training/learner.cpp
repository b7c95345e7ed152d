#include "learner.hpp"

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include <cmath>

namespace bliss::training {
namespace {

/// Convolutions in bfloat16 while it lives, where asked for; weights and everything else stay float32.
class MixedPrecision {
public:
    MixedPrecision(bool on, c10::Device device) : on_{on}, device_{device.type()} {
        if (!on_) return;
        at::autocast::set_autocast_dtype(device_, at::kBFloat16);
        at::autocast::set_autocast_enabled(device_, true);
    }
    ~MixedPrecision() {
        if (!on_) return;
        at::autocast::set_autocast_enabled(device_, false);
        at::autocast::clear_cache();
    }
    MixedPrecision(const MixedPrecision&) = delete;
    MixedPrecision& operator=(const MixedPrecision&) = delete;

private:
    bool on_;
    c10::DeviceType device_;
};

}  // namespace

void LossSums::add(const LossSums& other) {
    count += other.count;
    location += other.location;
    flux += other.flux;
    type += other.type;
    shape += other.shape;
    tiles += other.tiles;
    sources += other.sources;
    galaxies += other.galaxies;
    not_finite += other.not_finite;
}

Learner::Learner(const TrainingConfig& config, std::int64_t latents, std::span<const FlatParameters> parameters, bool bfloat16)
    : config_{config}, bfloat16_{bfloat16}, device_{parameters.front().device()} {
    const auto bind = [&](torch::nn::Module& network) {
        network.to(device_);
        gradients_.emplace_back(parameters[gradients_.size()], network, k_gradient_bits);
    };
    detection_ = encoder::DetectionEncoder{config.encoder};
    bind(*detection_);
    sources_ = encoder::SourceEncoder{config.encoder, latents};
    bind(*sources_);
}

void Learner::clear() {
    for (ThreadGradients& of_network : gradients_) of_network.clear();
}

void Learner::learn(NetworkKind kind, const at::Tensor& loss, Piece& piece) {
    gradients_[kind].begin_piece();
    loss.backward();
    if (!gradients_[kind].end_piece()) piece.sums.not_finite = 1;
}

void Learner::detect(Piece& piece, const Whole* whole) {
    const torch::AutoGradMode with_gradients{whole != nullptr};
    const Batch& batch = piece.batch;
    at::Tensor raw;
    {
        const MixedPrecision mixed{bfloat16_, device_};
        const at::Tensor tiles = detection_->trunk(batch.features, batch.conditions).flatten(1, 2);
        raw = detection_->head(tiles, batch.context, batch.conditions);
    }
    const encoder::TilePosterior q = detection_->posterior(raw, batch.conditions);
    const DetectionLoss loss = detection_loss(q, batch.labels);
    if (whole) learn(detection_network, (loss.count + loss.location + loss.flux) / whole->tiles, piece);
    piece.posterior = q.detached();
    LossSums& sums = piece.sums;
    sums.count = loss.count.item<double>();
    sums.location = loss.location.item<double>();
    sums.flux = loss.flux.item<double>();
    sums.tiles = static_cast<double>(batch.labels.count.numel());
    sums.sources = static_cast<double>(batch.labels.sources.size());
    if (!std::isfinite(sums.count + sums.location + sums.flux)) sums.not_finite = 1;
}

void Learner::describe_sources(Piece& piece, const Whole* whole) {
    if (piece.batch.labels.sources.empty() || piece.sums.not_finite != 0) return;
    const torch::AutoGradMode with_gradients{whole != nullptr};
    const SourceBatch picked =
        pick_sources(piece.batch, piece.posterior, GivenAs::mixed, static_cast<std::size_t>(config_.sources_per_image));
    const encoder::SourcePosterior q = [&] {
        const MixedPrecision mixed{bfloat16_, device_};
        return sources_->forward(picked.windows).first(picked.is_star.size(0));
    }();
    at::Tensor loss = type_loss(q.star_logits, picked.is_star, picked.weight);
    piece.sums.type = loss.item<double>();
    if (q.shape) {
        const at::Tensor of_shapes = shape_loss(*q.shape, picked.shape_latents, picked.is_star, picked.weight);
        piece.sums.shape = of_shapes.item<double>();
        piece.sums.galaxies = (picked.weight * (1 - picked.is_star)).sum().item<double>();
        loss = loss + of_shapes;
    }
    if (whole) learn(source_network, loss / whole->sources, piece);
    if (!std::isfinite(piece.sums.type + piece.sums.shape)) piece.sums.not_finite = 1;
}

}  // namespace bliss::training
