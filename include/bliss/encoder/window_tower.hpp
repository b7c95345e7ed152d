#pragma once

#include "bliss/encoder/film.hpp"
#include "bliss/encoder/settings.hpp"
#include "bliss/encoder/source_windows.hpp"

#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <vector>

namespace bliss::encoder {

/// Reads windows about single sources: valid convolutions down to 5 x 5, then one hidden layer. The encoders of a source's type and of
/// its shape each have one. Beside the image they see the PSF drawn at the given place and what a star of the given flux would leave:
/// what they have to judge is the difference.
class WindowTowerImpl : public torch::nn::Module {
public:
    /// Numbers it gives of each source.
    static constexpr std::int64_t k_numbers = 64;

    WindowTowerImpl(const EncoderConfig& config, std::int64_t width);

    /// @return (n, k_numbers) float, not negative
    at::Tensor forward(const SourceWindows& windows);

    /// Computes the convolutions in bfloat16 (parameters are converted).
    void use_bfloat16();

private:
    std::vector<torch::nn::Conv2d> convs_;
    Film film_{nullptr};
    torch::nn::Linear hidden_{nullptr};
};
TORCH_MODULE(WindowTower);

}  // namespace bliss::encoder
