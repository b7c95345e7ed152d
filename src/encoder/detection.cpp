#include "bliss/encoder/detection.hpp"

#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"
#include "layers.hpp"

#include <torch/torch.h>

#include <cmath>

namespace bliss::encoder {
namespace {

constexpr std::int64_t k_film_hidden = 32;

/// The layers of the tower, in order.
enum Layer : std::size_t { to_half, half, to_quarter, block1_a, block1_b, block2_a, block2_b, close_up };
/// The numbers of one part of a slot's posterior, in order; a weight only where there are several parts.
enum Number : std::int64_t { u_mean, v_mean, u_sd, v_sd, ln_flux_mean, ln_flux_sd, weight };
std::int64_t numbers_of_part(std::int64_t components) { return components > 1 ? weight + 1 : weight; }
/// Side of what the close-up reads: the tile and 2 pixels around it.
constexpr std::int64_t k_close_up_px = tile::k_tile_px + 4;
/// Pixels at each side of the window that only the matched filters read.
constexpr std::int64_t k_filter_margin_px = tile::k_filter_px / 2;

/// The middle of x without `margin` pixels on each side.
at::Tensor crop(const at::Tensor& x, std::int64_t margin) {
    return x.slice(2, margin, x.size(2) - margin).slice(3, margin, x.size(3) - margin);
}

/// Maps any number into (low, high) on a logarithmic scale.
at::Tensor bounded_scale(const at::Tensor& raw, double low, double high) {
    const double span = std::log(high / low);
    return torch::exp(std::log(low) + span * torch::sigmoid(raw));
}

}  // namespace

ImageConditions ImageConditions::repeated(std::int64_t n) const {
    return {numbers.expand({n, -1}), rate.expand({n, -1}), ln_noise.expand({n, -1, -1, -1})};
}

FilmImpl::FilmImpl(std::int64_t conditions, std::int64_t channels) : channels_{channels} {
    hidden_ = register_module("hidden", torch::nn::Linear(conditions, k_film_hidden));
    out_ = register_module("out", torch::nn::Linear(k_film_hidden, 2 * channels));
    torch::nn::init::zeros_(out_->weight);
    torch::nn::init::zeros_(out_->bias);
}

at::Tensor FilmImpl::forward(const at::Tensor& x, const at::Tensor& conditions) {
    const at::Tensor out = out_->forward(torch::silu(hidden_->forward(conditions))).to(x.scalar_type());  // (B, 2 channels)
    const auto parts = out.view({out.size(0), 2, channels_, 1, 1}).unbind(1);
    return torch::addcmul(parts[1], x, 1 + parts[0]);
}

DetectionEncoderImpl::DetectionEncoderImpl(const EncoderConfig& config)
    : max_sources_{config.max_sources}, components_{config.components} {
    const auto in = static_cast<std::int64_t>(config.bands.size()) * tile::feature_count(config.compression_scales.size());
    const std::int64_t w = config.width;
    const torch::nn::Conv2d layers[] = {
        conv(in, 2 * w, 4, 2),                                              // 42 pixels -> 20: half resolution
        conv(2 * w, 2 * w, 3),                                              // 18
        conv(2 * w, 4 * w, 2, 2),                                           // 9: quarter resolution
        conv(4 * w, 4 * w, 3), conv(4 * w, 4 * w, 3),                       // two residual blocks: 5,
        conv(4 * w, 4 * w, 3), conv(4 * w, 4 * w, 3),                       // 1: one tile
        conv(in, 4 * w, k_close_up_px, tile::k_tile_px),                    // past the tower: the tile's own pixels
    };
    for (const auto& layer : layers) convs_.push_back(register_module("conv" + std::to_string(convs_.size()), layer));
    torch::nn::init::zeros_(convs_[block1_b]->weight);
    torch::nn::init::zeros_(convs_[block2_b]->weight);
    film_half_ = register_module("film_half", Film(k_condition_count, 2 * w));
    film_quarter_ = register_module("film_quarter", Film(k_condition_count, 4 * w));
    film_head_ = register_module("film_head", Film(1, config.head_width));
    head_hidden_ = register_module("head_hidden", conv(8 * w, config.head_width, 1));
    const std::int64_t m = max_sources_, c = components_;
    head_out_ = register_module("head_out", conv(config.head_width, m + 1 + numbers_of_part(c) * m * c, 1));
    // Every tile begins with the same, moderate answer; the parts with different widths, or they would stay alike.
    torch::nn::init::zeros_(head_out_->weight);
    const torch::NoGradGuard no_grad;
    const at::Tensor spread = torch::arange(c, torch::kFloat) - 0.5 * static_cast<double>(c - 1);  // (C)
    const at::Tensor bias = head_out_->bias.slice(0, m + 1).view({numbers_of_part(c), m, c});
    for (const std::int64_t width : {u_sd, v_sd, ln_flux_sd}) bias[width].copy_(spread.expand({m, c}));
}

at::Tensor DetectionEncoderImpl::conv_relu(std::size_t layer, const at::Tensor& x) {
    return rectify(convs_[layer]->forward(x));
}

at::Tensor DetectionEncoderImpl::forward(const at::Tensor& x, const ImageConditions& conditions) {
    const at::Tensor pixels = x.to(convs_.front()->weight.scalar_type());
    const at::Tensor near = conv_relu(close_up, crop(pixels, tile::k_padding_px - (k_close_up_px - tile::k_tile_px) / 2));
    at::Tensor h = crop(pixels, k_filter_margin_px);
    h = rectify(film_half_->forward(convs_[to_half]->forward(h), conditions.numbers));
    h = conv_relu(half, h);
    h = rectify(film_quarter_->forward(convs_[to_quarter]->forward(h), conditions.numbers));
    h = rectify(crop(h, 2) + convs_[block1_b]->forward(conv_relu(block1_a, h)));
    h = rectify(crop(h, 2) + convs_[block2_b]->forward(conv_relu(block2_a, h)));
    const c10::impl::ExcludeDispatchKeyGuard single_precision{c10::autocast_dispatch_keyset};
    h = rectify(film_head_->forward(head_hidden_->forward(torch::cat({h, near}, 1).to(torch::kFloat)), conditions.rate));
    return head_out_->forward(h).to(torch::kFloat);
}

TilePosterior DetectionEncoderImpl::posterior(const at::Tensor& raw, const ImageConditions& conditions) const {
    const std::int64_t m = max_sources_, c = components_;
    const at::Tensor slots = raw.slice(1, m + 1).unflatten(1, {numbers_of_part(c), m, c});  // (B, F, M, C, T_h, T_w)
    const auto part = [&](std::int64_t k) { return slots.select(1, k); };
    const at::Tensor ln_noise = conditions.ln_noise.unsqueeze(1);
    TilePosterior q;
    q.count_logits = raw.slice(1, 0, m + 1);
    q.log_weight = c > 1 ? torch::log_softmax(part(weight), 2) : torch::zeros_like(part(u_mean));
    q.u_mean = 0.5 + 1.5 * torch::tanh(part(u_mean));
    q.v_mean = 0.5 + 1.5 * torch::tanh(part(v_mean));
    q.u_sd = bounded_scale(part(u_sd), 0.002, 3.0);
    q.v_sd = bounded_scale(part(v_sd), 0.002, 3.0);
    q.ln_flux_mean = ln_noise + 4 + 2 * part(ln_flux_mean);  // a source at the limit of detection has about e^4 times the noise
    q.ln_flux_sd = bounded_scale(part(ln_flux_sd), 0.003, 3.0);
    return q;
}

void DetectionEncoderImpl::use_bfloat16() {
    for (auto& layer : convs_) layer->to(torch::kBFloat16);
}

}  // namespace bliss::encoder
