#pragma once

#include "bliss/encoder/window_tower.hpp"

namespace bliss::encoder {

/// The classification encoder q(a_s | x, location, flux): probability that a source is a star (paper section 3.1).
class ClassificationEncoderImpl : public torch::nn::Module {
public:
    explicit ClassificationEncoderImpl(const EncoderConfig& config);

    /// @return (n) logits of "star"
    at::Tensor forward(const SourceWindows& windows);

    void use_bfloat16() { tower_->use_bfloat16(); }

private:
    WindowTower tower_{nullptr};
    torch::nn::Linear out_{nullptr};
};
TORCH_MODULE(ClassificationEncoder);

}  // namespace bliss::encoder
