#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

namespace bliss::encoder {

/// Scales and shifts channels by what differs between fields; the identity when new.
class FilmImpl : public torch::nn::Module {
public:
    FilmImpl(std::int64_t conditions, std::int64_t channels);

    /// @param x (B, channels, H, W), or rows (B, n, channels) @param conditions (B, conditions)
    at::Tensor forward(const at::Tensor& x, const at::Tensor& conditions);

private:
    torch::nn::Linear hidden_{nullptr};
    torch::nn::Linear out_{nullptr};
    std::int64_t channels_;
};
TORCH_MODULE(Film);

}  // namespace bliss::encoder
