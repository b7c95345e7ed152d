#include "bliss/encoder/affine_couplings.hpp"

#include "bliss/simulator/galaxy_decoder.hpp"

#include <torch/torch.h>

#include <string>

namespace bliss::encoder {
namespace {

constexpr std::int64_t k_width = 64;

}  // namespace

AffineCouplings::AffineCouplings(torch::nn::Module& parent, std::int64_t couplings, std::int64_t numbers, std::int64_t context) {
    for (std::int64_t k = 0; k < couplings; ++k) {
        const std::string number = std::to_string(k);
        Layer layer;
        layer.moved = parent.register_buffer("coupling_moved" + number, torch::zeros({numbers}));
        for (std::int64_t i = 0; i < numbers; ++i) layer.moved[i] = (i + k) % 2 == 0 ? 1.0 : 0.0;
        layer.hidden = parent.register_module("coupling_hidden" + number, torch::nn::Linear(numbers, k_width));
        layer.out = parent.register_module("coupling_out" + number, torch::nn::Linear(k_width, 2 * numbers));
        torch::nn::init::zeros_(layer.out->weight);
        torch::nn::init::zeros_(layer.out->bias);
        if (context > 0) layer.context = parent.register_module("coupling_context" + number, torch::nn::Linear(context, k_width));
        layers_.push_back(std::move(layer));
    }
}

std::pair<at::Tensor, at::Tensor> AffineCouplings::scale_and_shift(const Layer& layer, const at::Tensor& x, const at::Tensor& context) {
    torch::nn::Linear hidden = layer.hidden, out = layer.out, told = layer.context;   // handles: asking does not change them
    at::Tensor h = hidden->forward(x * (1 - layer.moved));
    if (told) h = h + (x.dim() == 3 ? told->forward(context).unsqueeze(1) : told->forward(context));
    const auto parts = out->forward(torch::silu(h)).chunk(2, -1);
    return {simulator::k_coupling_reach * torch::tanh(parts[0]) * layer.moved, parts[1] * layer.moved};
}

at::Tensor AffineCouplings::forward(at::Tensor x, const at::Tensor& context) const {
    for (const Layer& layer : layers_) {
        const auto [ln_scale, shift] = scale_and_shift(layer, x, context);
        x = x * torch::exp(ln_scale) + shift;
    }
    return x;
}

AffineCouplings::Inverse AffineCouplings::inverse(const at::Tensor& y, const at::Tensor& context) const {
    Inverse out{y, torch::zeros({y.size(0)}, y.options())};
    for (std::size_t k = layers_.size(); k-- > 0;) {
        const auto [ln_scale, shift] = scale_and_shift(layers_[k], out.x, context);
        out.x = (out.x - shift) * torch::exp(-ln_scale);
        out.log_determinant = out.log_determinant + ln_scale.sum(1);
    }
    return out;
}

}  // namespace bliss::encoder
