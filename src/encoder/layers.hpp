#pragma once

#include <torch/torch.h>

namespace bliss::encoder {

/// A valid convolution before a rectifier: He initialisation, no bias at first, weights channels last.
inline torch::nn::Conv2d conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1) {
    torch::nn::Conv2d layer{torch::nn::Conv2dOptions(in, out, kernel).stride(stride)};
    torch::nn::init::kaiming_normal_(layer->weight, 0, torch::kFanIn, torch::kReLU);
    torch::nn::init::zeros_(layer->bias);
    layer->weight.set_data(layer->weight.contiguous(torch::MemoryFormat::ChannelsLast));
    return layer;
}

/// A linear layer before a rectifier, initialised alike.
inline torch::nn::Linear linear(std::int64_t in, std::int64_t out) {
    torch::nn::Linear layer{in, out};
    torch::nn::init::kaiming_normal_(layer->weight, 0, torch::kFanIn, torch::kReLU);
    torch::nn::init::zeros_(layer->bias);
    return layer;
}

/// max(x, 0), in x's own memory.
inline at::Tensor rectify(at::Tensor x) { return x.relu_(); }

/// The middle of x (B, C, H, W) without `margin` pixels on each side.
inline at::Tensor crop(const at::Tensor& x, std::int64_t margin) {
    return x.slice(2, margin, x.size(2) - margin).slice(3, margin, x.size(3) - margin);
}

}  // namespace bliss::encoder
