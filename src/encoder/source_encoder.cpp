#include "bliss/encoder/source_encoder.hpp"

#include "layers.hpp"

#include <torch/torch.h>

namespace bliss::encoder {
namespace {

constexpr std::int64_t k_type_hidden = 64;

}  // namespace

SourcePosterior SourcePosterior::first(std::int64_t sources) const {
    SourcePosterior out{star_logits.slice(0, 0, sources), {}};
    if (shape) out.shape = shape->first(sources);
    return out;
}

SourceEncoderImpl::SourceEncoderImpl(const EncoderConfig& config, std::int64_t latents) {
    tower_ = register_module("tower", WindowTower(config, config.source_width));
    type_hidden_ = register_module("type_hidden", torch::nn::Linear(tower_->numbers(), k_type_hidden));
    type_ = register_module("type", torch::nn::Linear(k_type_hidden, 1));
    if (latents == 0) return;
    if (config.shape_width > 0) shape_tower_ = register_module("shape_tower", WindowTower(config, config.shape_width));
    shape_ = register_module("shape", ShapeHead(config, (shape_tower_ ? shape_tower_ : tower_)->numbers(), latents));
}

SourcePosterior SourceEncoderImpl::forward(const SourceWindows& windows) {
    const at::Tensor seen = tower_->forward(windows);
    const at::Tensor of_shapes = shape_tower_ ? shape_tower_->forward(windows) : seen;
    const c10::impl::ExcludeDispatchKeyGuard single_precision{c10::autocast_dispatch_keyset};
    SourcePosterior out{type_->forward(rectify(type_hidden_->forward(seen))).squeeze(1), {}};
    if (shape_) out.shape = shape_->forward(of_shapes);
    return out;
}

void SourceEncoderImpl::use_bfloat16() {
    tower_->use_bfloat16();
    if (shape_tower_) shape_tower_->use_bfloat16();
}

}  // namespace bliss::encoder
