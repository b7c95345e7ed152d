#include "bliss/encoder/galaxy_vae.hpp"

#include "bliss/tile/fast_asinh.hpp"
#include "layers.hpp"

#include <torch/torch.h>

#include <cmath>
#include <numbers>

namespace bliss::encoder {
namespace {

/// Scales of asinh(u / scale) channels of a stamp, u in units of the noise.
constexpr double k_stamp_scales[] = {2, 30};
/// Widths of the first Gaussians, from the narrowest to the widest, in size units.
constexpr double k_first_width = 0.05, k_last_width = 3;

simulator::DenseLayer exported(const torch::nn::Linear& linear) {
    const auto numbers = [](const at::Tensor& t) {
        const at::Tensor flat = t.detach().to(torch::kFloat).contiguous();
        return std::vector<float>(flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel());
    };
    return {numbers(linear->weight), numbers(linear->bias)};
}

}  // namespace

void describe(ConfigVisitor& visitor, GalaxyVaeConfig& config) {
    visitor.field("latents", config.latents, "numbers that describe a galaxy (D of equation 5), one of them its flux", Range{3, 64});
    visitor.field("gaussians", config.gaussians, "Gaussians of a decoded galaxy (J)", Range{1, 64});
    visitor.field("width", config.width, "hidden numbers of the decoder", Range{4, 1024});
    visitor.field("couplings", config.couplings, "affine couplings between Normal latents and the codes galaxies have", Range{0, 32});
}

GalaxyDecoderNetImpl::GalaxyDecoderNetImpl(const GalaxyVaeConfig& config) : gaussians_{config.gaussians} {
    const std::int64_t n = config.latents - 1, j = config.gaussians;
    couplings_ = AffineCouplings{*this, config.couplings, n};
    const std::int64_t sides[] = {n, config.width, config.width, static_cast<std::int64_t>(simulator::k_mixture_numbers) * j};
    for (std::size_t k = 0; k + 1 < std::size(sides); ++k) {
        layers_.push_back(register_module("layer" + std::to_string(k), torch::nn::Linear(sides[k], sides[k + 1])));
    }
    // A decoder begins with round concentric Gaussians of many widths.
    const torch::NoGradGuard no_grad;
    layers_.back()->weight.mul_(0.1);
    layers_.back()->bias.zero_();
    const at::Tensor bias = layers_.back()->bias.view({static_cast<std::int64_t>(simulator::k_mixture_numbers), j});
    const at::Tensor ln_width = torch::linspace(std::log(k_first_width), std::log(k_last_width), j);
    const at::Tensor number = torch::atanh((ln_width - simulator::k_ln_scale_centre) / simulator::k_ln_scale_reach);
    bias[simulator::k_ln_scale_x].copy_(number);
    bias[simulator::k_ln_scale_y].copy_(number);
}

at::Tensor GalaxyDecoderNetImpl::codes(const at::Tensor& latents) { return couplings_.forward(latents); }

at::Tensor GalaxyDecoderNetImpl::latents(const at::Tensor& codes) { return couplings_.inverse(codes).x; }

at::Tensor GalaxyDecoderNetImpl::log_density(const at::Tensor& codes) {
    const AffineCouplings::Inverse at = couplings_.inverse(codes);
    const double constant = 0.5 * static_cast<double>(codes.size(1)) * std::log(2 * std::numbers::pi);
    return -0.5 * (at.x * at.x).sum(1) - constant - at.log_determinant;
}

GaussianMixture GalaxyDecoderNetImpl::decode(const at::Tensor& codes) {
    at::Tensor x = codes;
    for (std::size_t k = 0; k < layers_.size(); ++k) {
        x = layers_[k]->forward(x);
        if (k + 1 < layers_.size()) x = torch::silu(x);
    }
    const auto number = x.view({x.size(0), static_cast<std::int64_t>(simulator::k_mixture_numbers), gaussians_}).unbind(1);
    const auto scale = [&](std::size_t k) {
        return torch::exp(simulator::k_ln_scale_centre + simulator::k_ln_scale_reach * torch::tanh(number[k]));
    };
    const at::Tensor first = scale(simulator::k_ln_scale_x), second = scale(simulator::k_ln_scale_y);
    const at::Tensor below = first * number[simulator::k_shear];
    GaussianMixture out{torch::softmax(number[simulator::k_log_weight], 1),
                        simulator::k_centre_reach * torch::tanh(number[simulator::k_centre_x]),
                        simulator::k_centre_reach * torch::tanh(number[simulator::k_centre_y]),
                        first * first,
                        first * below,
                        below * below + second * second};
    out.x = out.x - (out.weight * out.x).sum(1, true);
    out.y = out.y - (out.weight * out.y).sum(1, true);
    return out;
}

simulator::GalaxyDecoder GalaxyDecoderNetImpl::exported() const {
    std::vector<simulator::CouplingLayer> couplings;
    for (const AffineCouplings::Layer& layer : couplings_.layers()) {
        std::vector<char> moved;
        for (std::int64_t i = 0; i < layer.moved.numel(); ++i) moved.push_back(layer.moved.data_ptr<float>()[i] != 0 ? 1 : 0);
        couplings.push_back({moved, encoder::exported(layer.hidden), encoder::exported(layer.out)});
    }
    std::vector<simulator::DenseLayer> layers;
    for (const auto& layer : layers_) layers.push_back(encoder::exported(layer));
    return {std::move(couplings), std::move(layers)};
}

GalaxyVaeEncoderImpl::GalaxyVaeEncoderImpl(const GalaxyVaeConfig& config) {
    const torch::nn::Conv2d layers[] = {
        conv(static_cast<std::int64_t>(std::size(k_stamp_scales)), 24, 5, 2),  // 53 -> 25
        conv(24, 32, 3, 2),                                                      // 12
        conv(32, 48, 4, 2),                                                      // 5
        conv(48, 64, 3),                                                         // 3
    };
    for (const auto& layer : layers) convs_.push_back(register_module("conv" + std::to_string(convs_.size()), layer));
    film_ = register_module("film", Film(k_condition_count + 1, 24));
    hidden_ = register_module("hidden", torch::nn::Linear(64 * 3 * 3 + k_condition_count + 1, 128));
    out_ = register_module("out", torch::nn::Linear(128, 2 * (config.latents - 1)));
    torch::nn::init::zeros_(out_->bias);
}

GalaxyVaeEncoderImpl::Normal GalaxyVaeEncoderImpl::forward(const at::Tensor& stamps, const at::Tensor& conditions) {
    std::vector<at::Tensor> channels;
    for (const double scale : k_stamp_scales) channels.push_back(tile::fast_asinh(stamps / scale));
    at::Tensor h = torch::stack(channels, 1).contiguous(torch::MemoryFormat::ChannelsLast);
    h = rectify(film_->forward(convs_[0]->forward(h), conditions));
    for (std::size_t k = 1; k < convs_.size(); ++k) h = rectify(convs_[k]->forward(h));
    h = torch::cat({h.to(torch::kFloat).contiguous().flatten(1), conditions}, 1);
    const auto parts = out_->forward(rectify(hidden_->forward(h))).to(torch::kFloat).chunk(2, 1);
    return {parts[0], torch::exp(parts[1].clamp(-7, 3))};
}

}  // namespace bliss::encoder
