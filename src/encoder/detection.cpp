#include "bliss/encoder/detection.hpp"

#include "bliss/encoder/neighbours.hpp"
#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"
#include "layers.hpp"

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>

namespace bliss::encoder {
namespace {

constexpr std::int64_t k_context_hidden = 64;

/// The layers of the tower, in order.
enum Layer : std::size_t { to_half, half, to_quarter, block1_a, block1_b, block2_a, block2_b, close_up };
/// The numbers of one part of a slot's posterior, in order; a weight only where there are several parts. Of the flux's mean: what is
/// added to the anchor, and how much more or less than whole the anchor counts.
enum Number : std::int64_t { u_mean, v_mean, u_sd, v_sd, ln_flux_shift, anchor_gain, ln_flux_sd, weight };
std::int64_t numbers_of_part(std::int64_t components) { return components > 1 ? weight + 1 : weight; }
/// Side of what the close-up reads about a tile, pixels.
constexpr std::int64_t k_close_up_px = 8;
/// Noise-equivalent area of an SDSS PSF, pixels; what a sharper or wider one differs by, the head learns.
constexpr double k_typical_area_px = 33;
/// Pixels around the tile on each side that the anchor is looked for in.
constexpr std::int64_t k_anchor_reach_px = 1;
/// Brightness, ln of a flux against the noise of a pixel, as the correction of widths reads it: tanh((b - centre) / scale).
constexpr double k_brightness_centre = 6, k_brightness_scale = 2;
/// What width terms speak of, in order: ln of the location's and of the flux's widths, and a shift of the flux in units of its width.
enum WidthTerm : std::int64_t { location_width, flux_width, flux_shift, k_width_terms };
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

/// (B, channels, H, W) as rows (B, H, W, channels), for a layer whose weights are float.
at::Tensor rows_of(const at::Tensor& x) {
    return (at::autocast::is_autocast_enabled(x.device().type()) ? x : x.to(torch::kFloat)).permute({0, 2, 3, 1});
}

/// ln of a flux against the noise of a pixel for every tile, as if it held one star: the highest answer of the star's matched filter in and
/// around it. @param features (B, C, H, W) @return (B, T_h, T_w, 1)
at::Tensor anchors(const at::Tensor& features, std::int64_t filter_channel, std::int64_t tile_px) {
    const at::Tensor filtered = crop(features.slice(1, filter_channel, filter_channel + 1), tile::k_padding_px - k_anchor_reach_px);
    const at::Tensor highest = torch::max_pool2d(filtered.contiguous(), tile_px + 2 * k_anchor_reach_px, tile_px);
    // asinh(s / 3) of a signal-to-noise ratio s; a star's flux is s times the square root of the PSF's noise-equivalent area.
    return (highest + std::log(1.5 * std::sqrt(k_typical_area_px))).permute({0, 2, 3, 1});
}

}  // namespace

ImageConditions ImageConditions::repeated(std::int64_t n) const {
    return {numbers.expand({n, -1}), rate.expand({n, -1}), ln_noise.expand({n, -1})};
}

ImageConditions ImageConditions::to(c10::Device device) const {
    const auto moved = [&](const at::Tensor& t) { return t.defined() ? t.to(device) : t; };
    return {moved(numbers), moved(rate), moved(ln_noise)};
}

template <class Change>
TilePosterior TilePosterior::changed(const Change& change) const {
    TilePosterior out;
    for (const auto member : {&TilePosterior::count_logits, &TilePosterior::log_weight, &TilePosterior::u_mean, &TilePosterior::u_sd,
                              &TilePosterior::v_mean, &TilePosterior::v_sd, &TilePosterior::ln_flux_mean, &TilePosterior::ln_flux_sd}) {
        out.*member = change(this->*member);
    }
    out.ln_flux_low = ln_flux_low;
    return out;
}

TilePosterior TilePosterior::detached() const {
    return changed([](const at::Tensor& t) { return t.detach(); });
}

TilePosterior TilePosterior::plain() const {
    return changed([](const at::Tensor& t) { return t.detach().to(torch::kCPU).contiguous(); });
}

TilePosterior TilePosterior::of(const at::Tensor& tiles) const {
    const at::Tensor there = tiles.to(count_logits.device());
    return changed([&](const at::Tensor& t) { return t.index_select(0, there); });
}

DetectionEncoderImpl::DetectionEncoderImpl(const EncoderConfig& config)
    : max_sources_{config.max_sources}, components_{config.components}, tile_px_{config.tile_px},
      ln_flux_low_{config.flux_low_e > 0 ? std::log(config.flux_low_e) : -std::numeric_limits<double>::infinity()},
      filter_channel_{static_cast<std::int64_t>(config.compression_scales.size())} {
    const auto in = static_cast<std::int64_t>(config.bands.size()) * tile::feature_count(config.compression_scales.size());
    const std::int64_t w = config.width, hidden = config.head_width, split = tile::k_tile_px / tile_px_;
    const torch::nn::Conv2d layers[] = {
        conv(in, 2 * w, 4, 2),                                              // 42 pixels -> 20: half resolution
        conv(2 * w, 2 * w, 3),                                              // 18
        conv(2 * w, 4 * w, 2, 2),                                           // 9: quarter resolution
        conv(4 * w, 4 * w, 3), conv(4 * w, 4 * w, 3),                       // two residual blocks: 5,
        conv(4 * w, 4 * w, 3), conv(4 * w, 4 * w, 3),                       // 1: 4 x 4 pixels
        conv(in, 4 * w, k_close_up_px, tile_px_),                           // past the tower: the tile's own pixels
    };
    for (const auto& layer : layers) convs_.push_back(register_module("conv" + std::to_string(convs_.size()), layer));
    torch::nn::init::zeros_(convs_[block1_b]->weight);
    torch::nn::init::zeros_(convs_[block2_b]->weight);
    film_half_ = register_module("film_half", Film(k_condition_count, 2 * w));
    film_quarter_ = register_module("film_quarter", Film(k_condition_count, 4 * w));
    film_head_ = register_module("film_head", Film(1, hidden));
    from_tower_ = register_module("from_tower", linear(4 * w, hidden * split * split));
    from_close_up_ = register_module("from_close_up", linear(4 * w, hidden));
    if (config.reach > 0) {
        context_hidden_ = register_module("context_hidden", linear(context_length(config.reach, max_sources_), k_context_hidden));
        context_out_ = register_module("context_out", linear(k_context_hidden, hidden));
        torch::nn::init::zeros_(context_out_->weight);
    }
    head_hidden_ = register_module("head_hidden", linear(hidden, hidden));
    const std::int64_t m = max_sources_, c = components_, slots = slot_count(m);
    head_out_ = register_module("head_out", linear(hidden, m + 1 + numbers_of_part(c) * slots * c));
    if (config.width_terms > 0) width_terms_ = register_parameter("width_terms", torch::zeros({k_width_terms, config.width_terms}));
    // Every tile begins with the same, moderate answer; the parts with different widths, or they would stay alike.
    torch::nn::init::zeros_(head_out_->weight);
    const torch::NoGradGuard no_grad;
    const at::Tensor spread = torch::arange(c, torch::kFloat) - 0.5 * static_cast<double>(c - 1);  // (C)
    const at::Tensor bias = head_out_->bias.slice(0, m + 1).view({numbers_of_part(c), slots, c});
    for (const std::int64_t width : {u_sd, v_sd, ln_flux_sd}) bias[width].copy_(spread.expand({slots, c}));
}

at::Tensor DetectionEncoderImpl::conv_relu(std::size_t layer, const at::Tensor& x) {
    return rectify(convs_[layer]->forward(x));
}

at::Tensor DetectionEncoderImpl::trunk(const at::Tensor& x, const ImageConditions& conditions) {
    const at::Tensor pixels = x.to(convs_.front()->weight.scalar_type());
    const at::Tensor near = conv_relu(close_up, crop(pixels, tile::k_padding_px - (k_close_up_px - tile_px_) / 2));
    at::Tensor h = crop(pixels, k_filter_margin_px);
    h = rectify(film_half_->forward(convs_[to_half]->forward(h), conditions.numbers));
    h = conv_relu(half, h);
    h = rectify(film_quarter_->forward(convs_[to_quarter]->forward(h), conditions.numbers));
    h = rectify(crop(h, 2) + convs_[block1_b]->forward(conv_relu(block1_a, h)));
    h = rectify(crop(h, 2) + convs_[block2_b]->forward(conv_relu(block2_a, h)));
    at::Tensor tower = from_tower_->forward(rows_of(h));  // (B, T_h, T_w, hidden split^2)
    if (const std::int64_t split = tile::k_tile_px / tile_px_; split > 1) {
        tower = tower.unflatten(3, {split, split, -1}).permute({0, 1, 3, 2, 4, 5}).flatten(3, 4).flatten(1, 2);
    }
    const at::Tensor tiles = (tower + from_close_up_->forward(rows_of(near))).to(torch::kFloat);
    return torch::cat({tiles, anchors(x, filter_channel_, tile_px_)}, 3);
}

at::Tensor DetectionEncoderImpl::head(const at::Tensor& tiles, const at::Tensor& context, const ImageConditions& conditions) {
    const std::int64_t hidden = head_hidden_->options.in_features();
    at::Tensor h = tiles.slice(2, 0, hidden);
    if (context_hidden_) {
        const at::Tensor told = context.defined() ? context : torch::zeros({1, 1, context_hidden_->options.in_features()}, tiles.options());
        h = h + context_out_->forward(rectify(context_hidden_->forward(told)));
    }
    h = rectify(film_head_->forward(h, conditions.rate));
    h = rectify(head_hidden_->forward(h)).to(torch::kFloat);
    const c10::impl::ExcludeDispatchKeyGuard single_precision{c10::autocast_dispatch_keyset};
    return torch::cat({head_out_->forward(h), tiles.slice(2, hidden)}, 2);
}

TilePosterior DetectionEncoderImpl::posterior(const at::Tensor& raw, const ImageConditions& conditions) const {
    const std::int64_t m = max_sources_, c = components_;
    const at::Tensor parts = raw.slice(2, m + 1, raw.size(2) - 1).unflatten(2, {numbers_of_part(c), slot_count(m), c});  // (B, n, F, S, C)
    const at::Tensor anchor = raw.slice(2, raw.size(2) - 1).reshape({-1, 1, 1});
    const auto part = [&](std::int64_t k) { return parts.select(2, k).flatten(0, 1); };
    const at::Tensor ln_noise = conditions.ln_noise.expand({raw.size(0), raw.size(1)}).reshape({-1, 1, 1});
    TilePosterior q;
    q.count_logits = raw.slice(2, 0, m + 1).flatten(0, 1);
    q.log_weight = c > 1 ? torch::log_softmax(part(weight), 2) : torch::zeros_like(part(u_mean));
    q.u_mean = 0.5 + 1.5 * torch::tanh(part(u_mean));
    q.v_mean = 0.5 + 1.5 * torch::tanh(part(v_mean));
    q.u_sd = bounded_scale(part(u_sd), 0.002, 3.0);
    q.v_sd = bounded_scale(part(v_sd), 0.002, 3.0);
    q.ln_flux_mean = ln_noise + anchor + k_ln_flux_scale * part(ln_flux_shift) + part(anchor_gain) * (anchor - k_ln_flux_centre);
    q.ln_flux_sd = bounded_scale(part(ln_flux_sd), 0.003, 3.0);
    q.ln_flux_low = ln_flux_low_;
    if (width_terms_.defined()) correct_widths(q, ln_noise);
    return q;
}

void DetectionEncoderImpl::correct_widths(TilePosterior& q, const at::Tensor& ln_noise) const {
    const at::Tensor brightness = torch::tanh((q.ln_flux_mean.detach() - ln_noise - k_brightness_centre) / k_brightness_scale);
    const auto of = [&](WidthTerm which) {   // a polynomial of the brightness
        const auto terms = width_terms_.select(0, which).unbind(0);
        at::Tensor sum = terms.back() + torch::zeros_like(brightness);
        for (std::size_t k = terms.size() - 1; k-- > 0;) sum = sum * brightness + terms[k];
        return sum;
    };
    const at::Tensor of_location = torch::exp(of(location_width));
    q.u_sd = q.u_sd * of_location;
    q.v_sd = q.v_sd * of_location;
    q.ln_flux_sd = q.ln_flux_sd * torch::exp(of(flux_width));
    q.ln_flux_mean = q.ln_flux_mean + q.ln_flux_sd * of(flux_shift);
}

void DetectionEncoderImpl::use_bfloat16() {
    for (auto& layer : convs_) layer->to(torch::kBFloat16);
}

}  // namespace bliss::encoder
