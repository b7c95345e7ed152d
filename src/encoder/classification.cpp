#include "bliss/encoder/classification.hpp"

#include <torch/torch.h>

namespace bliss::encoder {

ClassificationEncoderImpl::ClassificationEncoderImpl(const EncoderConfig& config) {
    tower_ = register_module("tower", WindowTower(config, config.classifier_width));
    out_ = register_module("out", torch::nn::Linear(WindowTowerImpl::k_numbers, 1));
}

at::Tensor ClassificationEncoderImpl::forward(const SourceWindows& windows) {
    const at::Tensor h = tower_->forward(windows);
    const c10::impl::ExcludeDispatchKeyGuard single_precision{c10::autocast_dispatch_keyset};
    return out_->forward(h).squeeze(1);
}

}  // namespace bliss::encoder
