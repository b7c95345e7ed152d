#pragma once

#include "bliss/encoder/film.hpp"
#include "bliss/encoder/settings.hpp"
#include "bliss/encoder/source_windows.hpp"

#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>

#include <vector>

namespace bliss::encoder {

/// Reads windows about single sources: valid convolutions down to 5 x 5. Beside the image they see the PSF drawn at the given place and
/// what a star of the given flux would leave: what they have to judge is the difference.
class WindowTowerImpl : public torch::nn::Module {
public:
    /// @param width half the channels of its first layers
    WindowTowerImpl(const EncoderConfig& config, std::int64_t width);

    /// What the last convolution sees, and what is told of the source and its image. @return (n, numbers()) float
    at::Tensor forward(const SourceWindows& windows);
    [[nodiscard]] std::int64_t numbers() const { return numbers_; }

    /// Computes the convolutions in bfloat16 (parameters are converted).
    void use_bfloat16();

private:
    std::vector<torch::nn::Conv2d> convs_;
    Film film_{nullptr};
    std::int64_t numbers_ = 0;
};
TORCH_MODULE(WindowTower);

}  // namespace bliss::encoder
